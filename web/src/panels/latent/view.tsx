/** The ends, the current image with what the networks make of it, and the strip. */
import { EndCard } from "../../gan/chooser";
import { lengthText } from "../../gan/frames";
import { Readings } from "../../gan/readings";
import { announceSoon } from "../../kit/announce";
import { Button, cell, Slider } from "../../kit/controls";
import { downloadCanvas, fileName } from "../../kit/download";
import { shortNumber } from "../../kit/format";
import { enlarge, Image, scaleTo } from "../../kit/image";
import { usePlayer, type Player } from "../../kit/player";
import type { Model } from "./model";
import { StripSection } from "./strip";

/** Milliseconds from one end to the other. */
const DURATION = 6000;
/** A longer gap between two frames, as after a change of the tab, counts as this many milliseconds. */
const MAX_GAP = 100;
/** Width of the saved current image in pixels, about. */
const SAVED_WIDTH = 560;

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
      <div class="gan-main latent-main">
        <Ends model={model} />
        <Current {...{ model, player, jumpTo }} />
        <CurrentReadings model={model} />
      </div>
      <StripSection model={model} onSelect={(index) => jumpTo(index / (steps.value + 1))} />
    </>
  );
}

const Ends = ({ model: { latents, ends, thumbnails, hasCode, swap } }: { model: Model }) => (
  <div class="card stack ends-column">
    <div class="stack ends">
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

interface CurrentProps {
  model: Model;
  player: Player;
  jumpTo: (t: number) => void;
}

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
    <section class="card stack current" aria-label="Current image">
      <Image pixels={pixels} shape={imageShape} label={`Image at ${words}`} />
      <p class="current-caption">{model.text}</p>
      <div class="position">
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
  <div class="card stack">
    <Readings content={gan.content} frame={frame.value} />
  </div>
);
