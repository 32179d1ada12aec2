/** Panel "Draw a digit": the latent whose image is nearest to a drawing. */
import { batch, useComputed, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Projection } from "../../compute/projection";
import { makeFrames } from "../../gan/frames";
import { type Gan, loadGan } from "../../gan/gan";
import { announce } from "../../kit/announce";
import { codec } from "../../kit/codec";
import { Button } from "../../kit/controls";
import { argmax } from "../../kit/format";
import type { GanContent } from "../../kit/manifest";
import { prefersStills } from "../../kit/player";
import { once } from "../../kit/runs";
import { readTensors, row, size, toPixels } from "../../kit/tensors";
import { networkPanel, runPanel } from "../../page/panel";
import { Desk, labelName, prepare } from "./desk";
import { formatError, type Found, Nearest, nearestOf, Result } from "./result";
import { type Progress, SearchView } from "./search_view";
import { type Change, fieldsOf, type DrawState, type TestImages } from "./state";

async function loadTests({ test, imageShape, labelNames }: GanContent): Promise<TestImages> {
  if (!test) return { images: [], labels: null, names: null };
  const { images, labels } = await readTensors(test);
  const pixels = size(imageShape);
  const all = toPixels(images);
  const each = Array.from({ length: all.length / pixels }, (_, n) => row(all, n, pixels));
  return { images: each, labels: labels ?? null, names: labelNames };
}

const BUDGET = 12; // Milliseconds of computing before a repaint

const loadTraining = once(
  async ({ training }: GanContent) => training && toPixels((await readTensors(training)).images),
);

/** Works on a projection, a little before every repaint, until it is done. Whoever prefers less motion sees only the end. */
const work = (projection: Projection, { signal }: AbortController, onFrame?: () => void) =>
  new Promise<void>((resolve) => {
    const advance = () => {
      if (signal.aborted) return;
      const done = projection.advance(BUDGET);
      if (done || !prefersStills()) onFrame?.();
      if (done) resolve();
      else requestAnimationFrame(advance);
    };
    requestAnimationFrame(advance);
  });

/** Index of the real image that is the baseline, if possible of a class; undefined if there is none. */
function chooseBaseline({ images, labels }: TestImages, except: number | null, classIndex: number): number | undefined {
  const others = [...images.keys()].filter((index) => index !== except);
  return others.find((index) => labels?.[index] === classIndex) ?? others[0];
}

export function Draw({ gan, tests, state }: { gan: Gan; tests: TestImages; state: DrawState }) {
  const { content } = gan;
  const progress = useSignal<Progress | null>(null);
  const found = useSignal<Found | null>(null);
  const running = useRef(new AbortController());
  const target = useComputed(() => prepare(content, tests, state));

  const restart = () => {
    running.current.abort();
    found.value = null;
    return (running.current = new AbortController());
  };
  /** The result of another drawing is none of this one. */
  const change = (to: Change) =>
    batch(() => {
      restart();
      progress.value = null;
      state.search.value = false;
      for (const [name, value] of Object.entries(to)) state[name as keyof Change].value = value as never;
    });
  const find = async () => {
    const image = target.value;
    if (!image) return;
    const run = restart();
    announce("Searching.");
    const options = { class: state.class.value };
    const projection = gan.project(image, options);
    const show = () => (progress.value = { projection });
    show();
    await work(projection, run, show);
    const training = await loadTraining(content);
    if (run.signal.aborted) return;
    const { latent, error } = projection.result;
    const [frame] = makeFrames(gan, latent);
    const probabilities = gan.classify(image);
    const [logit] = gan.discriminate(image, content.numClasses ? [options.class] : null);
    const original = { latent, pixels: image, logit, probabilities };
    const test = state.strokes.value.length ? null : state.test.value;
    const name = test === null ? "your drawing" : "the test image";
    found.value = { name, error, frame, original, nearest: training && nearestOf(frame.pixels, training) };
    state.search.value = true;
    announce(`Found an image of G with an error of ${formatError(error)}.`);

    const predicted = content.numClasses ? options.class : probabilities ? argmax(probabilities) : -1;
    const index = chooseBaseline(tests, test, predicted);
    if (index === undefined) return void (found.value = { ...found.value, baseline: null });
    const classIndex = content.numClasses && tests.labels ? tests.labels[index] : options.class;
    const other = gan.project(tests.images[index], { ...options, class: classIndex });
    await work(other, run);
    const { result } = other;
    const baseline = { original: tests.images[index], label: labelName(tests, index), ...result };
    found.value = { ...found.value, baseline };
    progress.value = { projection, baseline: result.error };
  };
  useEffect(() => {
    const wasFound = state.search.value;
    state.search.value = false;
    if (wasFound) void find();
    return () => running.current.abort();
  }, []);

  return (
    <>
      <Desk {...{ content, tests, state, target, change }}>
        <Button class="primary" disabled={!target.value} onClick={() => void find()}>
          Find the nearest image of G
        </Button>
        {found.value && <Nearest shape={content.imageShape} found={found.value} />}
      </Desk>
      <SearchView shape={content.imageShape} of={progress} />
      {found.value && <Result gan={gan} found={found.value} />}
    </>
  );
}

export const drawPanel = runPanel({
  ...networkPanel("gan"),
  id: "draw",
  needs: ["generator", "discriminator", "classifier", "training", "test"],
  title: "Draw a digit",
  guide: {
    about: "Draw a digit. The page searches the random numbers of which the generator G makes the most similar image.",
    question: "Can the generator make what you draw?",
    observe: "Draw a digit as in MNIST, then something else. Compare the errors with that of a real image.",
    caveat: "The search may end in a local minimum. A large error does not prove that G cannot make the image.",
  },
  load: async (content) => ({ gan: await loadGan(content), tests: await loadTests(content) }),
  open({ gan, tests }, content, view) {
    const fields = codec(fieldsOf(content, tests));
    const state = fields.read(view);
    return { view: () => fields.write(state), body: <Draw {...{ gan, tests, state }} /> };
  },
});
