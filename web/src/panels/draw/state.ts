/** State of the panel, and its form in the fragment. */
import { field, integer, optional, type State } from "../../kit/codec";
import type { GanContent } from "../../kit/manifest";
import { decodeStrokes, encodeStrokes, type Stroke } from "./strokes";

export interface TestImages {
  images: Float32Array[]; // Each [P]
  labels: Float32Array | null; // Class of each
  names: string[] | null; // Of the classes
}

export const fieldsOf = ({ numClasses }: GanContent, { images }: TestImages) => ({
  class: { ...integer(0, Math.max(numClasses - 1, 0)), write: (index: number) => (numClasses ? String(index) : null) },
  test: optional(integer(0, images.length - 1)),
  strokes: field<Stroke[]>([], decodeStrokes, (strokes) => (strokes.length ? encodeStrokes(strokes) : null)),
  search: field(
    false,
    (text) => text === "1",
    (found) => (found ? "1" : null),
  ),
});

export type DrawState = State<ReturnType<typeof fieldsOf>>;

/** What makes a drawing another one. */
export type Change = Partial<{ test: number | null; strokes: Stroke[]; class: number }>;
