/** Where a digit is drawn: the pad, its tools, test images to start from, and the image that the search gets. */
import { useSignal, type ReadonlySignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import { announce } from "../../kit/announce";
import { Button, bound, Field, indexed, named, Radios, Select, selectIndex, Slider } from "../../kit/controls";
import { parseColor } from "../../kit/format";
import { Image, newCanvas, PictureButton } from "../../kit/image";
import type { GanContent } from "../../kit/manifest";
import { size } from "../../kit/tensors";
import { Pad } from "./pad";
import { preprocess } from "./preprocess";
import { padSize, paint, type Color } from "./strokes";
import type { Change, DrawState, TestImages } from "./state";

/** Width of the pen, 255 for the side of the drawing, and what it is at first: as wide as the strokes of MNIST. */
const [BRUSH, BRUSH_WIDTH] = [{ min: 6, max: 60, step: 2 }, 22];
const TOOLS = named({ pen: "Pen", eraser: "Eraser" });

export const labelName = ({ labels, names }: TestImages, index: number) =>
  labels && (names?.[labels[index]] ?? String(labels[index]));

const isDigit = ({ imageShape, classifier }: GanContent) => imageShape[0] === 1 && classifier !== null;

/** Makes the image that the search gets, in [-1, 1]; null of an empty drawing. A test image without strokes stays as it is. */
export function prepare(content: GanContent, { images }: TestImages, { test, strokes }: DrawState) {
  const base = test.value === null ? null : images[test.value];
  if (!strokes.value.length) return base;
  const { width, height } = padSize(content.imageShape);
  const canvas = newCanvas(width, height);
  paint(canvas, base, content.imageShape, strokes.value);
  const drawing = canvas.getContext("2d")!.getImageData(0, 0, width, height);
  return preprocess(drawing, content.imageShape, isDigit(content));
}

interface DeskProps {
  content: GanContent;
  tests: TestImages;
  state: DrawState;
  target: ReadonlySignal<Float32Array | null>;
  change: (to: Change) => void;
  children: ComponentChildren; // What to do with the drawing
}

export function Desk({ content, tests, state, target, change, children }: DeskProps) {
  const { imageShape, numClasses, classNames } = content;
  const [channels, height, width] = imageShape;
  const tool = useSignal<"pen" | "eraser">("pen");
  const brush = useSignal(BRUSH_WIDTH);
  const color = useSignal("#ffffff");
  const black = useMemo(() => new Float32Array(size(imageShape)).fill(-1), []);
  const { test, strokes } = state;
  const isEmpty = test.value === null && !strokes.value.length;
  const undo = () => change(strokes.value.length ? { strokes: strokes.value.slice(0, -1) } : { test: null });
  const clear = () => {
    change({ test: null, strokes: [] });
    announce("Cleared.");
  };
  const startFrom = (index: number) => {
    change({ test: index, strokes: [], ...(numClasses && tests.labels && { class: tests.labels[index] }) });
    announce(`Started from test image ${index + 1}.`);
  };
  const chosenClass = bound(state.class.value, (index) => change({ class: index }));
  const pictures = tests.images.map((image, index) => {
    const label = labelName(tests, index);
    const name = `Test image ${index + 1}${label === null ? "" : `, label ${label}`}`;
    const text = { "aria-label": name, title: name };
    return <PictureButton key={index} pixels={image} shape={imageShape} {...text} onClick={() => startFrom(index)} />;
  });
  return (
    <section class="card columns" aria-label="Drawing">
      <Pad
        shape={imageShape}
        base={test.value === null ? null : tests.images[test.value]}
        of={strokes}
        pen={{ width: brush.value, color: parseColor(tool.value === "pen" ? color.value : "#000000") as Color }}
        onChange={(next) => change({ strokes: next })}
        onUndo={undo}
      />
      <div>
        {pictures.length ? (
          <fieldset class="field">
            <legend>Or start from a test image</legend>
            <div class="gallery test-picker" style={{ "--size": "2rem" }}>
              {pictures}
            </div>
          </fieldset>
        ) : (
          <p class="muted">This file has no test images to start from.</p>
        )}
        <Radios label="Tool" of={tool} choices={TOOLS} segmented />
        <Slider label="Width of the pen" of={brush} {...BRUSH} format={(units) => `${Math.round(units / 2.55)} %`} />
        {channels > 1 && (
          <Field label="Color of the pen">
            {(id) => (
              <input
                id={id}
                type="color"
                value={color}
                onInput={(event) => (color.value = event.currentTarget.value)}
              />
            )}
          </Field>
        )}
        <div class="row controls">
          <Button onClick={undo} disabled={isEmpty}>
            Undo
          </Button>
          <Button onClick={clear} disabled={isEmpty}>
            Clear
          </Button>
        </div>
        {numClasses > 0 && (
          <Select label="Class given to G" of={selectIndex(chosenClass)} choices={indexed(classNames)} />
        )}
      </div>
      <div>
        <figure class="draw-target">
          <Image pixels={target.value ?? black} shape={imageShape} />
          <figcaption>
            <strong>{`What the search gets: ${width} × ${height} pixels. `}</strong>
            {isDigit(content)
              ? "Prepared like the images of MNIST: scaled into a box of 20 × 20, with its center of mass in the middle."
              : "Your drawing, scaled."}
          </figcaption>
        </figure>
        {children}
      </div>
    </section>
  );
}
