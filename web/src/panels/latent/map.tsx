/** The map: the images of a plane, each with its class, and the chosen one enlarged. */
import { EndCard } from "../../gan/chooser";
import { classText, frameText, lengthText } from "../../gan/frames";
import { Button, KeyButton, Select } from "../../kit/controls";
import { argmax } from "../../kit/format";
import { Image, PictureButton } from "../../kit/image";
import { Roving } from "../../kit/roving";
import { PLANES, type MapModel } from "./map_model";

/** Of the classes; text on each of them is black, contrast at least 7. No class is told by its color alone. */
const COLORS = [
  ...["#6fb7e6", "#f2a33a", "#7cc77c", "#ef8a86", "#bfa3e0"],
  ...["#c79f8c", "#eba3cf", "#b4b4b4", "#cfd04f", "#58c9cf"],
];

interface MapProps {
  map: MapModel;
  onEnd: (latent: Float32Array) => void; // Makes an image the end of the path
}

export const LatentMap = ({ map, onEnd }: MapProps) => (
  <section class="card">
    <h3>A map of the images around</h3>
    <div class="gan-main">
      <Field map={map} />
      <Chosen {...{ map, onEnd }} />
      <Setup map={map} />
    </div>
  </section>
);

function Setup({ map: { latents, plane, third, thumbnail, move, zoom, reset } }: { map: MapModel }) {
  const keys = [
    ["←", "Move left", () => move(-1, 0)],
    ["↑", "Move up", () => move(0, 1)],
    ["↓", "Move down", () => move(0, -1)],
    ["→", "Move right", () => move(1, 0)],
    ["+", "Zoom in", () => zoom(1)],
    ["−", "Zoom out", () => zoom(-1)],
  ] as const;
  return (
    <div class="stack">
      <Select label="Plane" of={plane} choices={PLANES} />
      {plane.value === "points" && (
        <EndCard title="Third latent C" pixels={thumbnail.value} of={third} latents={latents} />
      )}
      <div class="row">
        {keys.map(([sign, label, onClick]) => (
          <KeyButton key={sign} label={label} onClick={onClick}>
            {sign}
          </KeyButton>
        ))}
        <Button onClick={reset}>Reset</Button>
      </div>
      <p class="note">
        {plane.value === "points"
          ? "x goes from the start (0) to the end (1), y from the start to C."
          : "x and y go from the start along the two directions in which the images change most."}
      </p>
    </div>
  );
}

function Field({ map: { gan, side, frames, selected, select } }: { map: MapModel }) {
  const { classifier, imageShape } = gan.content;
  return (
    <Roving
      class="pictures latent-map wide"
      label="Images of the plane"
      stop={selected.value}
      onMove={select}
      style={{ "--columns": side }}
    >
      {frames.value.map(({ pixels, probabilities }, n) => {
        const index = probabilities ? argmax(probabilities) : -1;
        return (
          <PictureButton
            key={n}
            {...{ pixels, shape: imageShape }}
            aria-label={classText(gan.content, frames.value[n]) || `Image ${n + 1}`}
            aria-current={n === selected.value}
            style={{ "--class": COLORS[index % COLORS.length] }}
            onClick={() => select(n)}
          >
            {classifier && <strong>{classifier.classNames[index]}</strong>}
          </PictureButton>
        );
      })}
    </Roving>
  );
}

function Chosen({ map: { gan, frame, where }, onEnd }: MapProps) {
  const { pixels, latent } = frame.value;
  const { length, typical } = lengthText(gan.content, latent);
  return (
    <section class="stack current" aria-label="Chosen image of the map">
      <Image pixels={pixels} shape={gan.content.imageShape} label={`Image at ${where.value}`} />
      <p class="current-caption">{frameText(gan.content, frame.value)}</p>
      <p class="note">{`${where.value}. Length of z: ${length}; random latents: about ${typical}.`}</p>
      <Button onClick={() => onEnd(latent)}>Make it the end</Button>
    </section>
  );
}
