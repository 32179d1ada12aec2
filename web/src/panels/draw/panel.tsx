/**
 * Panel "Draw a digit": the latent whose image is nearest to a drawing.
 *
 * The fragment keeps `run`, `class`, the drawing as `test` (index of a test image) and `strokes`, the seed of the starts as
 * `seed`, and `search=1` once a search has been made.
 */
import { loadGan } from "../../gan/gan";
import { codec, field, integer, optional, type State } from "../../kit/codec";
import type { GanContent } from "../../kit/manifest";
import { readTensors, row, size, toPixels } from "../../kit/tensors";
import { runPanel } from "../../page/panel";
import { decodeStrokes, encodeStrokes, type Stroke } from "./strokes";
import { Draw } from "./view";

export const MAX_SEED = 999;

/** Real images that a drawing can start from. */
export interface TestImages {
  /** Each [P]. */
  images: Float32Array[];
  /** Class of each. */
  labels: Float32Array | null;
  /** Of the classes. */
  names: string[] | null;
}

async function loadTests({ test, imageShape, labelNames }: GanContent): Promise<TestImages> {
  if (!test) return { images: [], labels: null, names: null };
  const { images, labels } = await readTensors(test);
  const pixels = size(imageShape);
  const all = toPixels(images);
  const each = Array.from({ length: all.length / pixels }, (_, n) => row(all, n, pixels));
  return { images: each, labels: labels ?? null, names: labelNames };
}

/** What the fragment keeps of a run's panel. */
const fieldsOf = ({ numClasses }: GanContent, { images }: TestImages) => ({
  class: { ...integer(0, Math.max(numClasses - 1, 0)), write: (index: number) => (numClasses ? String(index) : null) },
  test: optional(integer(0, images.length - 1)),
  strokes: field<Stroke[]>([], decodeStrokes, (strokes) => (strokes.length ? encodeStrokes(strokes) : null)),
  seed: { ...integer(0, MAX_SEED), write: (seed: number) => (seed ? String(seed) : null) },
  search: field(
    false,
    (text) => text === "1",
    (found) => (found ? "1" : null),
  ),
});

export type DrawState = State<ReturnType<typeof fieldsOf>>;

export const drawPanel = runPanel({
  id: "draw",
  tutorial: "gan",
  needs: ["generator", "discriminator", "classifier", "training", "test"],
  title: "Draw a digit",
  question: "Can the generator make what you draw?",
  observe: "Draw a digit as in MNIST, then something else. Compare the errors with that of a real image.",
  limit: "The search may end in a local minimum. A large error does not prove that G cannot make the image.",
  none: "There is no GAN run in this file.",
  runs: ({ gans }) => gans,
  load: async (content) => ({ gan: await loadGan(content), tests: await loadTests(content) }),
  open({ gan, tests }, content, view) {
    const fields = codec(fieldsOf(content, tests));
    const state = fields.read(view);
    return { view: () => fields.write(state), body: <Draw {...{ gan, tests, state }} /> };
  },
});
