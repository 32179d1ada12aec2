/** Panel "Map": the images of a plane in latent space. */
import { EndCard } from "../../gan/chooser";
import { loadGan } from "../../gan/gan";
import { lengthText, Readings } from "../../gan/frames";
import { encodeView, rounded } from "../../gan/view_code";
import { Button, KeyButton, Select, Slider } from "../../kit/controls";
import { downloadCanvas, fileName } from "../../kit/download";
import { precise } from "../../kit/format";
import { formatFragment } from "../../kit/codec";
import { Image } from "../../kit/image";
import { networkPanel, runPanel } from "../../page/panel";
import { ClassLegend } from "./picture";
import { MapView } from "./map";
import { KINDS, makeModel, MAX_COUNT, MIN_COUNT, type Model, pointText, SHOWS } from "./model";

const HELP =
  "Drag the map or use the arrow keys. Click an image to keep it. While the map has the focus, + and − and the wheel zoom, and Shift with an arrow key selects another image.";

export const LatentMap = ({ model }: { model: Model }) => (
  <div class="gan-main">
    <Setup model={model} />
    <Middle model={model} />
    <Detail model={model} />
  </div>
);

const Setup = ({ model: { latents, kind, choices, markers, thumbnails } }: { model: Model }) => (
  <div class="card">
    <Select label="Plane" of={kind} choices={KINDS} />
    <div class="stack">
      {markers.value.map(({ name }, n) => (
        <EndCard
          key={name}
          title={markers.value.length > 1 ? `Latent ${name}` : "Origin A"}
          pixels={thumbnails.value[n]}
          of={choices[n]}
          latents={latents}
        />
      ))}
    </div>
  </div>
);

function Middle({ model }: { model: Model }) {
  const { gan, show, count, move, zoom, reset, canvas } = model;
  const { classifier, name } = gan.content;
  const keys = [
    ["←", "Move left", () => move(-1, 0)],
    ["↑", "Move up", () => move(0, 1)],
    ["↓", "Move down", () => move(0, -1)],
    ["→", "Move right", () => move(1, 0)],
    ["+", "Zoom in", () => zoom(1)],
    ["−", "Zoom out", () => zoom(-1)],
  ] as const;
  return (
    <div class="card wide">
      <div class="row controls">
        {classifier && <Select label="Show" of={show} choices={SHOWS} />}
        <Slider label="Images in a row" of={count} min={MIN_COUNT} max={MAX_COUNT} step={2} />
      </div>
      <MapView model={model} />
      {classifier && <ClassLegend names={classifier.classNames} />}
      <div class="row">
        {keys.map(([sign, label, onClick]) => (
          <KeyButton key={sign} label={label} onClick={onClick}>
            {sign}
          </KeyButton>
        ))}
        <Button onClick={reset}>Reset</Button>
        <Button onClick={() => void downloadCanvas(fileName([name, "map"], ".png"), canvas.current!)}>
          Save map as PNG
        </Button>
      </div>
      <PathLink model={model} />
      <Extent model={model} />
      <p class="note">{HELP}</p>
    </div>
  );
}

function PathLink({ model: { gan, plane, frame } }: { model: Model }) {
  const [start, end] = [plane.value.origin, frame.value.latent].map(rounded);
  const code = encodeView({ path: "linear", steps: 7, start, end });
  return (
    <div>
      <a class="button" href={`#${formatFragment("latent", { run: gan.content.id, code })}`}>
        Interpolate from A to this image
      </a>
    </div>
  );
}

const Extent = ({ model: { center, state } }: { model: Model }) => (
  <p class="note">{`Middle: ${pointText(center())}. Width: ${precise(state.extent.value, 3)}.`}</p>
);

function Detail({ model: { gan, frame, point, text } }: { model: Model }) {
  const { content } = gan;
  const { pixels, latent } = frame.value;
  const where = pointText(point.value);
  const { length, typical } = lengthText(content, latent);
  return (
    <div class="card map-detail">
      <section class="current" aria-label="Enlarged image">
        <Image pixels={pixels} shape={content.imageShape} label={`Image at ${where}. ${text.value}`} />
        <p class="current-caption">{text}</p>
        <p class="note">{`${where}. Length of z: ${length}; random latents: about ${typical}.`}</p>
      </section>
      <Readings content={content} frame={frame.value} />
    </div>
  );
}

export const mapPanel = runPanel({
  ...networkPanel("gan"),
  id: "map",
  needs: ["generator", "discriminator", "classifier"],
  title: "Map",
  guide: {
    about: "Each place on this plane is a latent z, random numbers that the generator G turns into an image.",
    question: "How is the latent space ordered?",
    observe: "Move across the map. Where do the images change at once, and where do they become blurred?",
    caveat:
      "The map shows one plane of a space with many dimensions. Away from the chosen latents, z may be shorter or longer than any latent of the training.",
  },
  load: loadGan,
  open(gan, _, view) {
    const model = makeModel(gan, view);
    return { view: model.write, body: <LatentMap model={model} /> };
  },
});
