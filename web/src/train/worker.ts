/** The worker that trains: answers the calls of `Trainer`, one after the other. */
import { Classifier } from "../compute/classifier";
import { Memory } from "../compute/memory";
import { argmax } from "../kit/format";
import { row } from "../kit/tensors";
import { buffersOf } from "./caller";
import { Discriminator } from "./discriminator";
import { GanRun, type Images } from "./gan_run";
import { LstmRun } from "./lstm_run";
import { openRun, packRun } from "./folder";
import { GAN_ORIGINAL, LSTM_ORIGINAL, type GanSettings, type LstmSettings } from "./settings";
import { takeScript } from "./partner";
import type { Method, Methods, Opened, Progress, Request, Response, Run, Start, Status } from "./protocol";

let current: LstmRun | GanRun | null = null;
let classifier: Classifier | null = null;
let part: Discriminator | null = null; // If this is the second worker of a GAN

function present(): LstmRun | GanRun {
  if (!current) throw new Error("there is no run; start one first");
  return current;
}

function status(): Status {
  const { kind, settings, step, epoch, updatesPerEpoch, isFinished } = present();
  return { kind, settings, step, epoch, updatesPerEpoch, isFinished };
}

/** Makes updates until the run ends. */
async function train<U>(
  run: { isFinished: boolean; step: number; update: () => U | Promise<U> },
  count: number,
  lossOf: (update: U) => number,
) {
  const found: U[] = [];
  while (found.length < count && !run.isFinished) {
    found.push(await run.update());
    if (!Number.isFinite(lossOf(found.at(-1)!)))
      throw new Error(
        `the loss is not finite at update ${run.step}; rewind, or start again with a lower learning rate`,
      );
  }
  return found;
}

async function advanceLstm(run: LstmRun, { updates: count, trace }: Run): Promise<Progress["lstm"]> {
  const first = run.epochs.length;
  const updates = await train(run, count, ({ loss }) => loss);
  return { updates, epochs: run.epochs.slice(first), ...(trace?.length && { trace: run.trace(trace) }) };
}

async function advanceGan(run: GanRun, { updates: count, grid, classes = 0 }: Run): Promise<Progress["gan"]> {
  const first = run.log.lines.length;
  const found = await train(run, count, (update) => update.generatorLoss + update.discriminatorLoss);
  const updates = found.map(({ generatorLoss, discriminatorLoss }) => ({ generatorLoss, discriminatorLoss }));
  const none = new Float32Array();
  const { realLogits, fakeLogits } = found.at(-1) ?? { realLogits: none, fakeLogits: none };
  const classified = await classify(run, fakeLogits.length, classes);
  const shown = grid ? run.grid() : undefined;
  const spread = shown && run.spreadOf(shown);
  return {
    updates,
    realLogits,
    fakeLogits,
    classes: classified,
    lines: run.log.lines.slice(first),
    grid: shown,
    spread,
  };
}

/** Classes of some of the images that the last update, of N, has generated. */
async function classify(run: GanRun, N: number, count: number): Promise<number[] | undefined> {
  if (!classifier || !N || !count) return undefined;
  const { length: K } = classifier.spec.classNames;
  const probabilities = classifier.probabilities(await run.generated(count));
  return Array.from({ length: probabilities.length / K }, (_, n) => argmax(row(probabilities, n, K)));
}

async function advance(asked: Run): Promise<Progress> {
  const run = present();
  const [start, step] = [performance.now(), run.step];
  const results = run.kind === "lstm" ? { lstm: await advanceLstm(run, asked) } : { gan: await advanceGan(run, asked) };
  const milliseconds = performance.now() - start;
  run.seconds += milliseconds / 1000;
  return { status: status(), updates: run.step - step, milliseconds, ...results };
}

/** Begins, or goes on, with settings, of which those that are missing are the original's. */
async function begin({ kind, settings: given, saved, images, sequences }: Start): Promise<Status> {
  if (kind === "gan") {
    const settings: GanSettings = { ...GAN_ORIGINAL, ...given };
    classifier = await classifierOf(images!);
    current = await (saved?.kind === "gan"
      ? GanRun.restore({ ...saved, settings }, images!)
      : GanRun.create(settings, images!));
  } else {
    const settings: LstmSettings = { ...LSTM_ORIGINAL, ...given };
    current = await (saved?.kind === "lstm"
      ? LstmRun.restore({ ...saved, settings }, sequences)
      : LstmRun.create(settings, sequences));
  }
  return status();
}

const classifierOf = async ({ classifier: given }: Images) =>
  given ? new Classifier(given.spec, given.tensors, await Memory.create()) : null;

async function open({ file, python, ...known }: Methods["open"][0]): Promise<Opened> {
  const run = (current = await openRun(file, python, known));
  const found = { status: status(), epochs: [], lines: [], images: null, sequences: null };
  if (run instanceof LstmRun) return { ...found, epochs: [...run.epochs], sequences: structuredClone(run.own) };
  classifier = await classifierOf(run.images);
  return { ...found, lines: [...run.log.lines], images: structuredClone(run.images) }; // the worker keeps its own
}

const methods: Record<Method, (argument: any) => unknown> = {
  start: begin,
  run: advance,
  async change(changes: object) {
    current = await present().change(changes);
    return status();
  },
  save: () => present().save(),
  pack: ({ name, python }: Methods["pack"][0]) => packRun(present(), name, python),
  open,
  script: takeScript,
  async partner(start: Methods["partner"][0]) {
    part = await Discriminator.create(start);
  },
  part: ({ method, argument }: Methods["part"][0]) => (part as any)[method](argument),
};

const scope = globalThis as unknown as {
  onmessage: ((event: MessageEvent<Request>) => void) | null;
  postMessage: (message: Response, transfer: Transferable[]) => void;
};
let last: Promise<void> = Promise.resolve();

async function answer({ id, method, argument }: Request) {
  try {
    const result = await methods[method](argument);
    scope.postMessage({ id, result }, [...buffersOf(result)]);
  } catch (error) {
    scope.postMessage({ id, error: (error as Error).message }, []);
  }
}

scope.onmessage = ({ data }) => (last = last.then(() => answer(data)));
