/** A GAN that learns in view as soon as the page is idle, with a sentence that follows it; "Keep this one" takes it to Train. */
import { useEffect, useMemo } from "preact/hooks";
import { formatFragment, openPanel } from "../../kit/codec";
import { Button } from "../../kit/controls";
import { formatNumber, percent } from "../../kit/format";
import { Image } from "../../kit/image";
import type { Manifest } from "../../kit/manifest";
import { prefersStills } from "../../kit/player";
import { row } from "../../kit/tensors";
import type { GanSettings } from "../../train/protocol";
import type { Seen } from "../train/branch";
import { imagesOf } from "../train/model";
import { session as ofTrain } from "../train/panel";
import { Session } from "../train/session";
import { openState, settingsOf, writeState } from "../train/settings";

const COUNT = 25; // Images of the grid
const QUICK_IMAGES = 30_000; // On which the preset has as many updates as it should
/** Classes of noise are all the same; digits can be read once none of them has more than this part of the latest images. */
const [MAX_PART, LATEST] = [0.5, 30];

const session = new Session(true);
let isWanted = true; // Until a visitor presses Pause, or takes it to Train

/** The settings of the preset, for as many updates as with all of its images. */
function openLive(manifest: Manifest) {
  const images = imagesOf(manifest);
  if (!images) return null;
  session.images = images.load;
  const state = openState(new URLSearchParams("net=gan"));
  const { epochs } = state.settings.gan;
  if (images.count < QUICK_IMAGES) epochs.value = Math.round((Number(epochs.value) * QUICK_IMAGES) / images.count);
  return { settings: settingsOf(state) as GanSettings, fragment: formatFragment("train", writeState(state)) };
}

export function Live({ manifest }: { manifest: Manifest }) {
  const live = useMemo(() => openLive(manifest), []);
  const seen = session.lines.value.at(-1)?.seen;
  const start = () => live && void session.start(live.settings);
  useEffect(() => {
    if (!live) return;
    let isShown = true;
    const goOn = () => {
      if (document.hidden) session.pause();
      else if (isShown && isWanted && !prefersStills()) start();
    };
    void session.open("gan", live.settings).then(() => setTimeout(goOn, 0)); // the noise is drawn first
    document.addEventListener("visibilitychange", goOn);
    return () => {
      isShown = false;
      document.removeEventListener("visibilitychange", goOn);
      session.pause();
    };
  }, []);
  if (!live) return null;
  const isRunning = session.isRunning.value;
  const toggle = () => {
    isWanted = !isRunning;
    if (isRunning) session.pause();
    else start();
  };
  const keep = async () => {
    isWanted = false;
    if (await ofTrain.adopt(session)) openPanel(live.fragment);
  };
  return (
    <section class="live" aria-label="A GAN that learns here">
      <Grid seen={seen} />
      <div class="stack">
        <h3>A network learns to write digits, here and now.</h3>
        <p class="live-news">{seen ? newsOf(seen) : "It begins in a moment."}</p>
        <p class="wrong" role="alert">
          {session.problem}
        </p>
        <div class="row">
          <Button disabled={seen?.status.isFinished} onClick={toggle}>
            {isRunning ? "Pause" : seen?.status.step ? "Go on" : "Start"}
          </Button>
          <Button class="primary" disabled={!seen?.status.step} onClick={() => void keep()}>
            Keep this one
          </Button>
        </div>
        <p>
          Train your own: <a href="#train?net=lstm">LSTM</a>, <a href="#train?net=gan">GAN</a>
        </p>
      </div>
    </section>
  );
}

function Grid({ seen }: { seen: Seen | undefined }) {
  const grid = seen?.grid;
  const pixels = grid ? grid.length / COUNT : 1;
  const side = Math.sqrt(pixels);
  const label = grid ? `25 images of the generator at update ${seen.status.step}` : "Images, soon";
  return (
    <div class="pictures" role="img" aria-label={label}>
      {Array.from({ length: COUNT }, (_, n) => (
        <Image key={n} pixels={grid ? row(grid, n, pixels) : null} shape={[1, side, side]} />
      ))}
    </div>
  );
}

/** What happens, in a sentence. */
function newsOf({ status: { step, isFinished }, classes, logits: { fake } }: Seen): string {
  if (!step) return "From random numbers, the generator makes noise.";
  const latest = classes.slice(-LATEST);
  const counts = [...Map.groupBy(latest, (found) => found).values()].map(({ length }) => length);
  const fooled = percent(fake.filter((logit) => logit > 0).length / fake.length);
  const when = `${isFinished ? "Finished after" : "After"} ${formatNumber(step)} updates`;
  if (classes.length && (latest.length < LATEST || Math.max(...counts) > MAX_PART * LATEST))
    return `${when}, strokes rise from the noise. The discriminator takes ${fooled} of these images for real.`;
  const kinds = classes.length ? `a classifier sees ${counts.length} different digits` : "shapes appear";
  return `${when}, ${kinds}, and the discriminator takes ${fooled} of the images for real.`;
}
