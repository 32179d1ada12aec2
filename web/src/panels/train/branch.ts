/** One line of training: a worker, and what the page has seen of it. */
import { sum } from "d3-array";
import { percent } from "../../kit/format";
import type { GanLine } from "../../train/gan_log";
import type { LstmEpoch, LstmSettings, LstmTrace, Progress, Run, Saved, Settings, Status } from "../../train/protocol";
import type { Data, Kind } from "../../train/protocol";
import type { Python } from "../../train/run_files";
import type { Values } from "../../train/settings";
import { Trainer } from "../../train/trainer";
import { jumpOf, type Jump, type Known } from "./jump";

/** Points of a curve of single updates at most; then those beside each other become one. */
const MAX_POINTS = 240;
/** Logits of D that its densities have. */
const MAX_LOGITS = 512;
/** Generated images that the histogram of their classes has. */
const MAX_CLASSES = 100;

/** Means over some updates: loss and accuracy of the LSTM, losses of the GAN, as `LstmEpoch` and `GanLine` name them. */
export interface Point {
  x: number; // In epochs
  step: number; // The last of the updates
  count: number;
  values: Record<string, number>;
}

/** What is on the page of a line of training; a new object after each change. */
export interface Seen {
  status: Status;
  epochStart: number; // Update at which the epoch began
  points: Point[];
  epochs: LstmEpoch[]; // Of the LSTM
  trace: LstmTrace | null;
  known: Known | null; // At the last end of an epoch
  jump: Jump | null; // The largest one so far
  lines: GanLine[]; // Of the GAN, and how far apart its samples are
  spread: number | null;
  grid: Float32Array | null; // Of the GAN: pictures of 25 latents [25, P], and the latest logits of D
  logits: { real: number[]; fake: number[] };
  classes: number[];
}

export interface Line {
  name: string;
  seen: Seen;
}

export interface Moment {
  name: string;
  settings: Settings;
  saved: Saved | null; // null at the start, which the settings give
  points: Point[];
}

const NOTHING = {
  points: [],
  epochs: [],
  trace: null,
  known: null,
  jump: null,
  lines: [],
  spread: null,
  grid: null,
  logits: { real: [], fake: [] },
  classes: [],
};

export class Branch {
  #trainer = new Trainer();
  seen: Seen | null = null;
  from = 0; // Update at which it began, or parted from another

  /** @param name how the curves name it; empty for the settings in which it differs from the others */
  constructor(
    public name: string,
    public data: Data,
  ) {}

  static async open(file: Blob, python: Python, known: Data): Promise<Branch> {
    const branch = new Branch("", known);
    const call = branch.#trainer.call("open", { file, python, ...known });
    const { status, epochs, lines, images, sequences } = await call.catch((error) => {
      branch.stop();
      throw error;
    });
    branch.data = { images, sequences };
    const epochStart = epochs.at(-1)?.step ?? startOf(status, 0);
    const recorded = [
      ...epochs.map(({ epoch: x, step, trainLoss, trainAccuracy }) => ({
        ...{ x, step, values: { trainLoss, trainAccuracy } },
      })),
      ...lines.map(({ epoch: x, step, generatorLoss, discriminatorLoss }) => ({
        ...{ x, step, values: { generatorLoss, discriminatorLoss } },
      })),
    ];
    const points = thin(recorded.map((one, k) => ({ ...one, count: one.step - (recorded[k - 1]?.step ?? 0) })));
    branch.seen = { ...NOTHING, status, epochStart, points, epochs, lines };
    branch.from = status.step;
    return branch;
  }

  start = (kind: Kind, settings: Settings) => this.#start({ kind, settings });

  /** Goes on from a moment of this line or another, with what changes. */
  async fork(saved: Saved, points: Point[], changes: Values = {}) {
    await this.#start({ kind: saved.kind, settings: saved.settings, saved });
    if (Object.keys(changes).length) await this.change(changes);
    this.seen!.points = points.filter(({ step }) => step <= saved.step);
    if (saved.kind === "lstm") this.seen!.epochs = saved.epochs;
    else this.seen!.lines = saved.log.lines;
    this.from = saved.step;
  }

  async change(changes: Values) {
    this.seen = { ...this.seen!, status: await this.#trainer.call("change", changes) };
  }

  async #start(from: { kind: Kind; settings: Settings; saved?: Saved }) {
    const status = await this.#trainer.call("start", { ...from, ...this.data });
    this.seen = { ...NOTHING, status, epochStart: startOf(status, 0) };
  }

  /** Makes some updates, and shows what the network then makes of what the reader has chosen. */
  async run(run: Run): Promise<Progress> {
    const progress = await this.#trainer.call("run", run);
    const { status, lstm, gan } = progress;
    const before = this.seen!;
    const epochs = [...before.epochs, ...(lstm?.epochs ?? [])];
    const epochStart = epochs.at(-1)?.step ?? startOf(status, before.epochStart);
    const values = lstm ? meansOf(lstm.updates) : lossesOf(gan!.updates);
    const { step } = status;
    const point = {
      x: status.epoch + (step - epochStart) / status.updatesPerEpoch,
      ...{ step, count: progress.updates, values },
    };
    const join = (known: number[], more: Float32Array) => [...known, ...more].slice(-MAX_LOGITS);
    const trace = lstm?.trace ?? before.trace;
    const known = lstm?.epochs.length && trace ? { epoch: epochs.at(-1)!, trace } : before.known;
    const jump =
      before.known && known !== before.known
        ? jumpOf((status.settings as LstmSettings).cell, before.known, known!)
        : null;
    this.seen = {
      ...{ status, epochStart, epochs, trace, known },
      jump: jump && jump.rise > (before.jump?.rise ?? 0) ? jump : before.jump,
      points: progress.updates ? thin([...before.points, point]) : before.points,
      lines: gan?.lines.length ? [...before.lines, ...gan.lines] : before.lines,
      spread: gan?.spread ?? before.spread,
      grid: gan?.grid ?? before.grid,
      logits: gan
        ? { real: join(before.logits.real, gan.realLogits), fake: join(before.logits.fake, gan.fakeLogits) }
        : before.logits,
      classes: [...before.classes, ...(gan?.classes ?? [])].slice(-MAX_CLASSES),
    };
    return progress;
  }

  /** Where it stands, for a screen reader. */
  where(): string {
    const { status, epochs } = this.seen!;
    const last = epochs.at(-1);
    const accuracy = last && `, accuracy ${percent(last.validationAccuracy)}`;
    return `epoch ${status.epoch} of ${status.settings.epochs}, update ${status.step}${accuracy ?? ""}`;
  }

  save = () => this.#trainer.call("save");

  pack = (name: string, python: Python) => this.#trainer.call("pack", { name, python });

  stop() {
    this.#trainer.stop();
  }
}

/** The update at which the epoch of a status began, from an earlier such update. */
const startOf = ({ step, updatesPerEpoch }: Status, from: number) =>
  from + Math.floor((step - from) / updatesPerEpoch) * updatesPerEpoch;

function meansOf(updates: { loss: number; correct: number; count: number }[]) {
  const count = sum(updates.map((one) => one.count));
  return {
    trainLoss: sum(updates.map((one) => one.loss * one.count)) / count,
    trainAccuracy: sum(updates.map(({ correct }) => correct)) / count,
  };
}

const lossesOf = (updates: { generatorLoss: number; discriminatorLoss: number }[]) => ({
  generatorLoss: sum(updates.map(({ generatorLoss }) => generatorLoss)) / updates.length,
  discriminatorLoss: sum(updates.map(({ discriminatorLoss }) => discriminatorLoss)) / updates.length,
});

/** Merges points of the same part of the run, once there are too many: parts of equal length, so that the start stays. */
function thin(points: Point[]): Point[] {
  if (points.length <= MAX_POINTS) return points;
  const part = points.at(-1)!.step / (MAX_POINTS / 2);
  const merged: Point[] = [];
  for (const point of points) {
    const last = merged.at(-1);
    if (last && Math.ceil(last.step / part) === Math.ceil(point.step / part))
      merged[merged.length - 1] = merge(last, point);
    else merged.push(point);
  }
  return merged;
}

function merge(a: Point, b: Point): Point {
  const count = a.count + b.count;
  const mean = (name: string) => (a.values[name] * a.count + b.values[name] * b.count) / count;
  return { ...b, count, values: Object.fromEntries(Object.keys(b.values).map((name) => [name, mean(name)])) };
}
