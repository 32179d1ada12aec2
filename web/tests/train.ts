/** What trains in the page, for tests/explorer/test_train_*.py, in Node.js. */
import { cpuUsage } from "node:process";
import { joinGates } from "../src/train/cells";
import { diagnoseGan, diagnoseLstm } from "../src/train/diagnosis";
import type { GanLine } from "../src/train/gan_log";
import { GanRun } from "../src/train/gan_run";
import { LstmRun, type LstmEpoch } from "../src/train/lstm_run";
import { openRun, packRun } from "../src/train/folder";
import type { Python } from "../src/train/run_files";
import type { Sequences } from "../src/train/palindromes";
import { readSequences, splitSequences, type SequenceData } from "../src/train/sequences";
import { makeRng, sha256Hex } from "../src/compute/random";
import { cropAndResize } from "../src/train/resize";
import {
  GAN_ORIGINAL,
  GAN_QUICK,
  LSTM_ORIGINAL,
  QUICK_DATA,
  type GanSettings,
  type LstmSettings,
} from "../src/train/settings";

interface Request {
  /** Seed and purpose of a generator, and what it draws. */
  random?: { seed: number; purpose: string; draws: [string, ...number[]][] };
  lstm?: Partial<LstmSettings>;
  /** Own sequences for it, in base64. */
  csv?: string;
  gan?: Partial<GanSettings>;
  /** In base64. */
  images?: string;
  /** Python's setting `data` for them. */
  source?: string | null;
  updates?: number;
  /** Update after which the run is saved and restored. */
  saveAt?: number;
  /** Asks for the preset quick, with the setting `data`. */
  quick?: true;
  /** What a run has recorded, to say what goes wrong. */
  diagnose?: { lines?: object[]; spread?: number; epochs?: object[] };
  /** A gray image in base64 to prepare. */
  gray?: string;
  width?: number;
  /** The zip of a run that goes on, in base64. */
  open?: string;
  /** For the run folder of then. */
  python?: Python;
}

function draw({ seed, purpose, draws }: NonNullable<Request["random"]>) {
  const rng = makeRng(seed, purpose);
  return draws.map(([kind, ...sizes]) => {
    if (kind === "bigInteger") return String(rng.bigInteger(2n ** 63n - 1n));
    if (kind === "linear") return Object.values(rng.linear(sizes[0], sizes[1])).map((values) => [...values]);
    return (rng as any)[kind](...sizes);
  });
}

const digest = (weights: Record<string, Float32Array>) =>
  Object.fromEntries(Object.entries(weights).map(([name, values]) => [name, sha256Hex(new Uint8Array(values.buffer))]));

const pack = async (run: LstmRun | GanRun, python?: Python) =>
  python ? Buffer.from(await packRun(run, "saved", python)).toString("base64") : null;

const inputsOf = (data: Sequences) => ("values" in data ? data.values : data.halves);

async function lstm({ lstm: settings, csv, updates = 0, saveAt, python }: Request) {
  let folder: string | null = null;
  let own: SequenceData | null = null;
  try {
    own = csv ? readSequences(new Uint8Array(Buffer.from(csv, "base64")), "data.csv") : null;
    if (own) splitSequences(own, settings!.trainFraction!, 0);
  } catch (error) {
    return { error: (error as Error).message };
  }
  let run = await LstmRun.create({ ...LSTM_ORIGINAL, ...settings }, own);
  const weights = () => {
    const saved = run.network.weights.save();
    return run.settings.cell === "lstm" ? joinGates(saved).w : saved.w;
  };
  const initial = weights();
  const { train, validation } = run.data;
  const start = cpuUsage();
  const losses = [];
  while (losses.length < updates) {
    losses.push(run.update());
    if (losses.length !== saveAt) continue;
    folder = await pack(run, python);
    run = await LstmRun.restore(run.save(), own);
  }
  const milliseconds = cpuUsage(start).user / 1000;
  return {
    initial,
    last: weights(),
    folder,
    hashes: digest(run.network.weights.save().w),
    train: inputsOf(train),
    validation: inputsOf(validation),
    losses,
    epochs: run.epochs,
    milliseconds,
  };
}

async function gan({ gan: settings, images, source = null, updates = 0, saveAt, python }: Request) {
  let folder: string | null = null;
  const bytes = Uint8Array.from(Buffer.from(images!, "base64"));
  let run = await GanRun.create({ ...GAN_ORIGINAL, ...settings }, { bytes, size: 28, source });
  const initial = await run.save();
  const start = cpuUsage();
  const losses = [];
  while (losses.length < updates) {
    const { generatorLoss, discriminatorLoss } = await run.update();
    losses.push([generatorLoss, discriminatorLoss]);
    if (losses.length !== saveAt) continue;
    folder = await pack(run, python);
    run = await GanRun.restore(await run.save(), run.images);
  }
  const milliseconds = cpuUsage(start).user / 1000;
  const last = await run.save();
  return {
    initial: { G: digest(initial.G.w), D: digest(initial.D.w) },
    last: { G: digest(last.G.w), D: digest(last.D.w), average: last.average && digest(last.average) },
    ...{ losses, milliseconds, running: last.running, grid: run.grid(), metrics: run.log.lines, folder },
  };
}

/** Opens a zip, makes updates, and saves: settings, losses, and what the run has recorded; or what is wrong. */
async function open({ open: file, images, source = null, updates = 0, python }: Request) {
  const known = images ? { bytes: Uint8Array.from(Buffer.from(images, "base64")), size: 28, source } : null;
  try {
    const run = await openRun(new Blob([Buffer.from(file!, "base64")]), python!, { images: known, sequences: null });
    const { settings, step } = run;
    const losses = [];
    while (losses.length < updates) losses.push(await run.update());
    const recorded = run instanceof GanRun ? run.log.lines : run.epochs;
    return { settings, step, losses, recorded, folder: await pack(run, python) };
  } catch (error) {
    return { error: (error as Error).message };
  }
}

/** The records have Python's names. */
function diagnose({ lines, spread = 0, epochs = [] }: NonNullable<Request["diagnose"]>) {
  const named = (record: object) =>
    Object.fromEntries(Object.entries(record).map(([k, v]) => [k.replace(/_(.)/g, (_, x) => x.toUpperCase()), v]));
  return lines
    ? diagnoseGan(lines.map(named) as unknown as GanLine[], spread)
    : diagnoseLstm(epochs.map(named) as unknown as LstmEpoch[]);
}

export const run = (requests: Request[]) =>
  Promise.all(
    requests.map((request) => {
      if (request.diagnose) return diagnose(request.diagnose);
      if (request.quick) return { ...GAN_QUICK, data: QUICK_DATA };
      if (request.gray) return cropAndResize(Uint8Array.from(Buffer.from(request.gray, "base64")), request.width!);
      if (request.open) return open(request);
      if (request.random) return draw(request.random);
      if (request.gan) return gan(request);
      return lstm(request);
    }),
  );
