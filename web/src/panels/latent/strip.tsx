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
import { download, downloadCanvas, fileName } from "../../kit/download";
import { shortNumber } from "../../kit/format";
import { PictureButton } from "../../kit/image";
import type { GanContent } from "../../kit/manifest";
import { Roving } from "../../kit/roving";
import { useSize } from "../../kit/size";
import type { Model } from "./model";
import { canvasOf, stripSvg } from "./strip_file";

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
        <Button onClick={() => void save(model, "png")}>Save strip as PNG</Button>
        <Button onClick={() => void save(model, "svg")}>Save strip as SVG</Button>
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

async function save({ gan: { content }, frames: { value: frames }, latents, ends, path }: Model, kind: "png" | "svg") {
  const [start, end] = ends.map(({ value }) => latents.name(value));
  const meanings = [
    content.classifier && "Class: by the classifier, with its probability.",
    content.isLogOdds ? "D: its probability that the image is real." : "D: its output, higher for real images.",
  ];
  const file = {
    title: `Latent interpolation of ${content.name}`,
    notes: [
      `From ${start} to ${end}. Path: ${path.value}. Updates: ${content.step}.`,
      meanings.filter(Boolean).join(" "),
    ],
    shape: content.imageShape,
    frames: frames.map((frame, n) => ({
      pixels: frame.pixels,
      lines: [label(n, frames.length), classText(content, frame), dText(content, frame)].filter(Boolean),
    })),
  };
  const name = fileName([content.name, "interpolation"], `.${kind}`);
  if (kind === "svg") download(name, stripSvg(file), "image/svg+xml");
  else await downloadCanvas(name, await canvasOf(stripSvg(file)));
}
