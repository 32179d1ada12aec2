/** Panel "Training time": the same latents through training, beside the curves. */
import { Distribution, scoreText } from "../../charts/distribution";
import { loadSnapshots } from "../../gan/gan";
import { announce } from "../../kit/announce";
import { codec } from "../../kit/codec";
import { Button, cell, Slider } from "../../kit/controls";
import { clamp, formatNumber } from "../../kit/format";
import { PictureButton } from "../../kit/image";
import type { RecordedGan, SnapshotSpec } from "../../kit/manifest";
import { usePlayer } from "../../kit/player";
import { Roving } from "../../kit/roving";
import { allGans, hasNetworks, RECORDED } from "../../kit/runs";
import { runPanel } from "../../page/panel";
import { fieldsOf, type MomentsProps, TrainingCurves, type TrainingProps } from "./curves";

/** Milliseconds that playing all moments takes, and bounds of one moment. */
const [DURATION, SHORTEST, LONGEST] = [12_000, 200, 700];

const describe = ({ label, epoch, step }: SnapshotSpec) =>
  label.startsWith("update") ? `${label} (epoch ${formatNumber(epoch)})` : `${label} (update ${formatNumber(step)})`;

/** Whether the pictures come from a moving average of the generator. */
const hasAverage = ({ facts }: RecordedGan) =>
  Number(facts.config.find(({ label }) => label === "ema")?.value ?? 0) > 0;

export function Training({ snapshots, content, state }: TrainingProps) {
  const { moments, shape, count } = snapshots;
  const last = moments.length - 1;
  const moment = state.moment.value;
  const { realLogits: real, fakeLogits: fake } = moments[moment];
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
      aria-label={`image ${n + 1}`}
      aria-pressed={n === state.image.value}
      onClick={() => follow(n)}
    />
  ));
  return (
    <>
      {!hasNetworks(content) && <p class="note">{RECORDED}</p>}
      <div class="row controls training-time">
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
      <div class="columns halves">
        <div>
          <Roving class="pictures training-grid" label="Images of the same latents" stop={state.image.value ?? 0}>
            {images}
          </Roving>
          <p class="note">Choose an image to follow it alone.</p>
          <h3>What D says of real images and of these pictures</h3>
          <Distribution
            context={{ real, fake, realSource: "training images" }}
            logit={null}
            isProbability={content.isLogOdds}
          />
          {!content.isLogOdds && (
            <p class="note">The loss of this run gives D a number without a unit, not a probability.</p>
          )}
          {hasAverage(content) && (
            <p class="note">
              The pictures come from the moving average of G's weights. D trains against the latest weights.
            </p>
          )}
        </div>
        <TrainingCurves {...{ snapshots, content, state }} onSelect={choose} />
      </div>
      <Filmstrip {...{ snapshots, content, state }} onSelect={choose} />
    </>
  );
}

function Filmstrip({ snapshots, content, state, onSelect }: MomentsProps) {
  const image = state.image.value;
  if (image === null) return null;
  return (
    <section>
      <h3>Image {image + 1} through training</h3>
      <Roving class="gallery filmstrip" label="Moments of this image" stop={state.moment.value}>
        {snapshots.moments.map(({ label, fakeLogits }, k) => (
          <PictureButton
            key={k}
            pixels={snapshots.image(k, image)}
            shape={snapshots.shape}
            aria-pressed={k === state.moment.value}
            onClick={() => onSelect(k)}
          >
            <small>{label}</small>
            <small>{` ${scoreText(fakeLogits[image], content.isLogOdds)}`}</small>
          </PictureButton>
        ))}
      </Roving>
    </section>
  );
}

export const trainingPanel = runPanel({
  id: "training",
  tutorial: "gan",
  needs: ["generator", "snapshots"],
  title: "Training time",
  group: "gan",
  guide: {
    about: "The same random numbers, turned into images by the generator at moments of its training.",
    question: "What does the generator learn first, and what last?",
    observe: "Choose one image and follow it. When does it look like a digit, and does it still become another one?",
    caveat:
      "25 images say little about quality or variety: that is what the scores are for. A falling loss does not mean better images, since each network trains against the other.",
  },
  none: "No GAN run in this file has pictures of its training.",
  runs: (manifest) => allGans(manifest).filter(({ snapshots }) => snapshots?.moments.length),
  load: loadSnapshots,
  open(snapshots, content, view) {
    const fields = codec(fieldsOf(snapshots));
    const state = fields.read(view);
    return { view: () => fields.write(state), body: <Training {...{ snapshots, content, state }} /> };
  },
});
