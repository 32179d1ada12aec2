/** Panel "Latent space": two ends, a path between them and what lies on it, and a map of what lies around. */
import { EndCard } from "../../gan/chooser";
import { loadGan } from "../../gan/gan";
import { lengthText, Readings } from "../../gan/frames";
import { announceSoon } from "../../kit/announce";
import { Button, cell, Slider } from "../../kit/controls";
import { downloadCanvas, fileName } from "../../kit/download";
import { shortNumber } from "../../kit/format";
import { enlarge, Image, scaleTo } from "../../kit/image";
import { type Player, usePlayer } from "../../kit/player";
import { networkPanel, runPanel } from "../../page/panel";
import { LatentMap } from "./map";
import { makeModel, type Model } from "./model";
import { StripSection } from "./strip";

const DURATION = 6000; // Milliseconds from one end to the other
/** A longer gap between two frames, as after a change of the tab, counts as this many milliseconds. */
const MAX_GAP = 100;
const SAVED_WIDTH = 560; // Width of the saved current image in pixels, about

/** Does not read t, so that only what shows the current image follows it while it plays. */
export function Latent({ model }: { model: Model }) {
  const { steps, text, advance } = model;
  const player = usePlayer(0, (elapsed, still) =>
    advance(still ? 1 / (steps.value + 1) : Math.min(elapsed, MAX_GAP) / DURATION),
  );
  const jumpTo = (t: number) => {
    player.pause();
    model.t.value = t;
    announceSoon(() => `t = ${shortNumber(t)}. ${text.value}`);
  };
  return (
    <>
      <div class="gan-main">
        <Ends model={model} />
        <Current {...{ model, player, jumpTo }} />
        <CurrentReadings model={model} />
      </div>
      <StripSection model={model} onSelect={(index) => jumpTo(index / (steps.value + 1))} />
      <LatentMap map={model.map} onEnd={model.endAt} />
    </>
  );
}

const Ends = ({ model: { latents, ends, thumbnails, hasCode, swap } }: { model: Model }) => (
  <div class="card">
    <div class="stack">
      {ends.map((of, n) => (
        <EndCard
          key={n}
          title={n ? "End, t = 1" : "Start, t = 0"}
          pixels={thumbnails.value[n]}
          {...{ latents, of, hasCode }}
        />
      ))}
    </div>
    <Button onClick={swap}>Swap start and end</Button>
  </div>
);

type CurrentProps = { model: Model; player: Player; jumpTo: (t: number) => void };

function Current({ model, player, jumpTo }: CurrentProps) {
  const { name, imageShape } = model.gan.content;
  const t = model.t.value;
  const { pixels, latent } = model.frame.value;
  const words = `t = ${shortNumber(t)}. ${model.text.value}`;
  const { length, typical } = lengthText(model.gan.content, latent);
  const save = () => {
    const file = fileName([name, `t${shortNumber(t)}`], ".png");
    return downloadCanvas(file, enlarge(pixels, imageShape, scaleTo(imageShape, SAVED_WIDTH)));
  };
  const isPlaying = player.playing.value;
  return (
    <section class="card current wide" aria-label="Current image">
      <Image pixels={pixels} shape={imageShape} label={`Image at ${words}`} />
      <p class="current-caption">{model.text}</p>
      <div class="row controls position">
        <Button class="play" onClick={() => (isPlaying ? jumpTo(t) : player.play())}>
          {isPlaying ? "Pause" : "Play"}
        </Button>
        <Slider
          label="Position t"
          of={cell(() => t, jumpTo)}
          {...{ min: 0, max: 1, step: 0.005 }}
          format={(value) => shortNumber(0.005 * Math.round(value / 0.005))}
          spoken={words}
        />
      </div>
      <p class="note">{`Length of z: ${length}. Random latents have about ${typical}.`}</p>
      <Button onClick={() => void save()}>Save image as PNG</Button>
    </section>
  );
}

const CurrentReadings = ({ model: { gan, frame } }: { model: Model }) => (
  <div class="card">
    <Readings content={gan.content} frame={frame.value} />
  </div>
);

export const latentPanel = runPanel({
  ...networkPanel("gan"),
  id: "latent",
  needs: ["generator", "discriminator", "classifier"],
  title: "Latent space",
  guide: {
    about:
      "The generator G turns random numbers, a latent z, into an image. Here z moves from a start (t = 0) to an end (t = 1); D, the discriminator, says how real it finds each image.",
    question: "What lies between two generated images, and around them?",
    observe:
      "Move t from 0 to 1. Find the place where one class becomes another. Does D notice it? Then move across the map: where do the images become blurred?",
    caveat:
      "D and the classifier do not know that the images belong together. The map shows one plane of a space with many dimensions; away from the chosen latents, z may be longer than any latent of the training.",
  },
  kept: ["start", "end", "t", "path", "steps", "plane", "c"],
  load: loadGan,
  open(gan, _, view) {
    const model = makeModel(gan, view);
    return { view: model.write, body: <Latent model={model} /> };
  },
});
