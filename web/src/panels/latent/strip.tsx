/** The path as a strip of images: the choice of the path, downloads, and the command that makes the same strip. */
import type { ReadonlySignal } from "@preact/signals";
import { useComputed } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { ClassColumns } from "../../charts/bars";
import { CompactDistribution } from "../../charts/distribution";
import { PATHS } from "../../compute/paths";
import { classText, dText, type Frame } from "../../gan/frames";
import { MAX_STEPS } from "../../gan/view_code";
import { Button, Select, Slider } from "../../kit/controls";
import { CopyField, quote } from "../../kit/copy";
import { downloadCanvas, fileName } from "../../kit/download";
import { shortNumber } from "../../kit/format";
import { enlarge, newCanvas, PictureButton, scaleTo } from "../../kit/image";
import type { GanContent } from "../../kit/manifest";
import { Roving } from "../../kit/roving";
import { useSize } from "../../kit/size";
import type { Model } from "./model";

const [MIN_WIDTH, GAP] = [5.25, 0.5]; // Width of a frame at least, and gap between two, in em

const label = (index: number, count: number) => `t = ${shortNumber(index / (count - 1))}`;

type StripProps = { model: Model; onSelect: (index: number) => void };

export function StripSection({ model, onSelect }: StripProps) {
  const { gan, path, steps } = model;
  const run = quote(gan.content.runArgument);
  return (
    <section class="strip-section card">
      <div class="row controls">
        <h3>The path in {steps.value + 2} images</h3>
        <Select label="Path" of={path} choices={PATHS.map((name) => [name, name])} />
        <Slider label="Images between the ends" of={steps} min={0} max={MAX_STEPS} step={1} />
      </div>
      <Strip model={model} onSelect={onSelect} />
      <div class="row controls">
        <Button onClick={() => void downloadCanvas(fileName([gan.content.name, "strip"], ".png"), draw(model))}>
          Save strip as PNG
        </Button>
        <CopyField
          label="Command that makes this strip as a PDF"
          copy="Copy command"
          text={`reviver gan interpolate ${run} --view ${model.code.value} --out interpolation.pdf`}
        />
      </div>
    </section>
  );
}

/** Rows of equal length, as few as there is room for. Another selection changes two cells only. */
function Strip({ model: { gan, frames, selected }, onSelect }: StripProps) {
  const { ref, width, em } = useSize();
  const all = frames.value;
  const cells = useMemo(
    () =>
      all.map((frame, k) => (
        <StripCell
          key={k}
          {...{ frame, selected, onSelect, content: gan.content, index: k, label: label(k, all.length) }}
        />
      )),
    [all],
  );
  const inRow = Math.max(Math.floor((width / em + GAP) / (MIN_WIDTH + GAP)), 1);
  const columns = Math.ceil(all.length / Math.ceil(all.length / inRow));
  return (
    <div ref={ref}>
      <Roving
        class="pictures strip"
        label="Images on the path; choose one to show it"
        stop={selected.value}
        onMove={onSelect}
        style={{ "--columns": columns }}
      >
        {cells}
      </Roving>
    </div>
  );
}

interface CellProps {
  content: GanContent;
  frame: Frame;
  index: number;
  label: string;
  selected: ReadonlySignal<number>;
  onSelect: (index: number) => void;
}

function StripCell({ content, frame, index, label, selected, onSelect }: CellProps) {
  const isCurrent = useComputed(() => selected.value === index);
  const { classifier, logits, isLogOdds } = content;
  const { probabilities, logit } = frame;
  const image = { pixels: frame.pixels, shape: content.imageShape };
  return (
    <div class="stack">
      <PictureButton
        {...image}
        class="picture-button frame"
        aria-current={isCurrent.value}
        onClick={() => onSelect(index)}
      >
        <small>{label}</small>
      </PictureButton>
      <small>{dText(content, frame)}</small>
      <CompactDistribution context={logits} logit={logit} isProbability={isLogOdds} />
      {classifier && <small>{classText(content, frame)}</small>}
      {classifier && probabilities && <ClassColumns names={classifier.classNames} probabilities={probabilities} />}
    </div>
  );
}

/** The images beside each other with their texts below, dark on white, for a file. */
function draw({ gan: { content }, frames: { value: frames } }: Model) {
  const [gap, line, size] = [24, 46, 34];
  const { imageShape: shape } = content;
  const scale = scaleTo(shape, 300);
  const [width, height] = [shape[2] * scale + gap, shape[1] * scale + 3 * line + gap];
  const columns = Math.min(frames.length, 13);
  const canvas = newCanvas(columns * width + gap, Math.ceil(frames.length / columns) * height + gap);
  const context = canvas.getContext("2d")!;
  Object.assign(context, { fillStyle: "#ffffff", font: `${size}px sans-serif`, textAlign: "center" });
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = "#1a1c20";
  frames.forEach((frame, n) => {
    const [x, y] = [gap + (n % columns) * width, gap + Math.floor(n / columns) * height];
    context.drawImage(enlarge(frame.pixels, shape, scale), x, y);
    [label(n, frames.length), classText(content, frame), dText(content, frame)].forEach((text, k) =>
      context.fillText(text, x + (width - gap) / 2, y + shape[1] * scale + (k + 1) * line),
    );
  });
  return canvas;
}
