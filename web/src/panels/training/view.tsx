/** The pictures of a moment, what D says of them, the curves, and one image through all moments. */
import { announce } from "../../kit/announce";
import { Button, cell, Slider } from "../../kit/controls";
import { clamp, formatNumber } from "../../kit/format";
import { PictureButton } from "../../kit/image";
import type { GanContent, SnapshotSpec } from "../../kit/manifest";
import { usePlayer } from "../../kit/player";
import { Roving } from "../../kit/roving";
import type { Snapshots } from "../../gan/snapshots";
import { TrainingCurves } from "./curves";
import { Filmstrip } from "./filmstrip";
import type { TrainingState } from "./panel";
import { Verdicts } from "./verdicts";

/** Milliseconds that playing all moments takes, and bounds of one moment. */
const [DURATION, SHORTEST, LONGEST] = [12_000, 200, 700];

/** Names a moment by updates and epochs. */
const describe = ({ label, epoch, step }: SnapshotSpec) =>
  label.startsWith("update") ? `${label} (epoch ${formatNumber(epoch)})` : `${label} (update ${formatNumber(step)})`;

/** Whether the pictures come from a moving average of the generator. */
const hasAverage = ({ facts }: GanContent) => Number(facts.config.find(({ label }) => label === "ema")?.value ?? 0) > 0;

export interface TrainingProps {
  snapshots: Snapshots;
  content: GanContent;
  state: TrainingState;
}

export function Training({ snapshots, content, state }: TrainingProps) {
  const { moments, shape, count } = snapshots;
  const last = moments.length - 1;
  const moment = state.moment.value;
  const player = usePlayer(clamp(DURATION / moments.length, SHORTEST, LONGEST), () => {
    if (state.moment.value === last) return false;
    state.moment.value += 1;
    return state.moment.value < last;
  });
  const stop = () => {
    if (player.playing.value) announce(`Stopped at ${moments[state.moment.value].label}.`);
    player.pause();
  };
  const choose = (next: number) => {
    stop();
    state.moment.value = clamp(next, 0, last);
  };
  const togglePlay = () => {
    if (player.playing.value) return stop();
    if (moment === last) state.moment.value = 0;
    player.play();
  };
  const follow = (n: number) => {
    state.image.value = state.image.value === n ? null : n;
    const isNone = state.image.value === null;
    announce(isNone ? "Following no image." : `Following image ${n + 1} through ${moments.length} moments.`);
  };
  const images = Array.from({ length: count }, (_, n) => (
    <PictureButton
      key={n}
      pixels={snapshots.image(moment, n)}
      shape={shape}
      label={`image ${n + 1}`}
      pressed={n === state.image.value}
      onClick={() => follow(n)}
    />
  ));
  return (
    <>
      <div class="row training-time">
        <Slider
          label="Moment of the training"
          of={cell(() => moment, choose)}
          {...{ min: 0, max: last, step: 1 }}
          format={(value) => describe(moments[value])}
        />
        <div class="row">
          <Button class="play" onClick={togglePlay}>
            {player.playing.value ? "Pause" : "Play"}
          </Button>
          <Button onClick={() => choose(moment - 1)} disabled={moment === 0}>
            Previous
          </Button>
          <Button onClick={() => choose(moment + 1)} disabled={moment === last}>
            Next
          </Button>
        </div>
      </div>
      <div class="columns training-columns">
        <div>
          <Roving class="pictures training-grid" label="Images of the same latents" stop={state.image.value ?? 0}>
            {images}
          </Roving>
          <p class="note">Choose an image to follow it alone.</p>
          <h3>What D says of each image</h3>
          <Verdicts moment={moments[moment]} isProbability={content.isLogOdds} />
          {hasAverage(content) && (
            <p class="note">
              The pictures come from the moving average of G's weights. D trains against the latest weights.
            </p>
          )}
        </div>
        <TrainingCurves {...{ snapshots, content, state }} onSelect={choose} />
      </div>
      {state.image.value !== null && (
        <Filmstrip
          {...{ snapshots, moment, image: state.image.value }}
          isProbability={content.isLogOdds}
          onSelect={choose}
        />
      )}
    </>
  );
}
