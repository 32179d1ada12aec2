/** What the run folder of an LSTM holds, see run_files.ts. */
import { cellOf, joinGates, shapesOf, splitGates } from "./cells";
import { generatorState, readGenerator, readWeights, writeWeights, type Layout } from "./checkpoint";
import type { LstmEpoch, LstmRun, LstmSaved } from "./lstm_run";
import { DIGITS } from "./palindromes";
import { sha256Hex } from "../compute/random";
import { lineOf, readSettings, renamed, wholeNumber, type Python, type RunFiles, type RunRead } from "./run_files";
import type { Tensor } from "./safetensors";
import { MAX_FILE, readSequences, type SequenceData, type SequenceSplit } from "./sequences";
import { LSTM, type LstmSettings } from "./settings";

/** Python's settings that do not change what a run of the page learns. */
const FREE = ["activation_checkpoint_steps", "checkpoint_every", "keep_checkpoints", "on_nan", "max_rollbacks"];
/** Those that mean nothing for own sequences. */
const FREE_OF_OWN = ["task", "data", "length", "data_size"];
/** Keys of a line of metrics. */
const LINE = [
  ...(["step", "epoch", "sequences", "trainLoss", "trainAccuracy", "validationLoss", "validationAccuracy"] as const),
];

/** Python has two biases for each gate, of which the page holds the second at 0. */
const SECOND_BIAS = "networks/network/lstm.bias_hh_l0";

const isLstm = ({ cell }: LstmSettings) => cell === "lstm";

const shapesOfRun = ({ cell, hiddenSize: H, encoding }: LstmSettings) => {
  const I = encoding === "scalar" ? 1 : DIGITS;
  return cell === "lstm" ? { W: [4 * H, I], U: [4 * H, H], b: [4 * H] } : shapesOf(cellOf(cell), I, H);
};

const layoutOf = (settings: LstmSettings, classCount: number): Layout => ({
  part: "network",
  shapes: { W_out: [classCount, settings.hiddenSize], b_out: [classCount], ...shapesOfRun(settings) },
  names: isLstm(settings)
    ? { W: "lstm.weight_ih_l0", U: "lstm.weight_hh_l0", b: "lstm.bias_ih_l0" }
    : Object.fromEntries(Object.keys(shapesOfRun(settings)).map((name) => [name, `rnn.layers.0.${name}`])),
  means: settings.optimizer === "rmsprop" ? { v: "square_avg" } : { v: "exp_avg_sq", m: "exp_avg" },
});

/** Name of the file with own sequences. */
const DATA = "data.csv";

/** What Python records of own sequences. */
function describeData({ file, rows, steps, classes }: SequenceData, { mean, scale, fractions }: SequenceSplit) {
  return {
    ...{ name: DATA, sha256: sha256Hex(file), num_sequences: rows.length, max_length: steps, classes },
    ...{ class_fractions: fractions, standardization: { mean: [mean], scale: [scale] } },
  };
}

export function lstmFiles(run: LstmRun, name: string, { lstmConfig }: Python): RunFiles {
  const { own } = run;
  const saved = run.save();
  const { step, epoch, stage, position, sequences, sums, weights, seconds } = saved;
  const { forgetBias: _, ...settings } = saved.settings;
  const H = settings.hiddenSize;
  const tensors: Record<string, Tensor> = {
    ...(isLstm(saved.settings) && { [SECOND_BIAS]: [new Float32Array(4 * H), [4 * H]] as Tensor }),
    "rngs/dropout": generatorState(saved.dropout),
  };
  const kept = isLstm(saved.settings) ? joinGates(weights) : weights;
  writeWeights(tensors, layoutOf(saved.settings, weights.w.b_out.length), kept, step);
  const batches = Math.ceil(saved.trainCount / settings.batchSize);
  const history = new Float32Array(3 * batches);
  history.set(sums); // of all batches of the epoch so far: only their sum counts
  tensors["tensors/history"] = [history, [batches, 3]];
  const curriculum = settings.curriculum === "on";
  const line = ({ length, validationSequences, ...found }: LstmEpoch) =>
    curriculum ? { ...found, length, validationSequences } : found;
  return {
    ...{ kind: "lstm", isFinished: epoch >= settings.epochs, metrics: saved.epochs.map(line), tensors },
    record: {
      config: {
        ...lstmConfig,
        ...renamed(settings),
        curriculum,
        ...(own && { task: "custom", data: `${name}/${DATA}` }),
      },
      ...(own && { data: describeData(own, run.data as SequenceSplit) }),
      seconds,
    },
    files: own ? { [DATA]: own.file } : {},
    position: { epoch, batch: Math.round(position / settings.batchSize), step },
    extra: { stage, sequences },
  };
}

/** Returns where a run folder stands, and its own sequences: those of the zip, or the page's `known`. */
export function readLstm(read: RunRead, { lstmConfig }: Python, known: SequenceData | null) {
  const { record, metrics, tensors, position } = read;
  const isOwn = record.config.task === "custom";
  const own = isOwn ? readOwn(read, known) : null;
  if (isOwn) FREE_OF_OWN.forEach((name) => delete record.config[name]);
  const settings = readSettings<LstmSettings>(record.config, LSTM, lstmConfig, FREE);
  const { epoch, batch, step, extra } = position;
  const found = readWeights(tensors, layoutOf(settings, own?.classes.length ?? DIGITS), step, 0.9);
  const weights = isLstm(settings) ? splitGates(found) : found;
  if (isLstm(settings) && tensors.floats(SECOND_BIAS, [4 * settings.hiddenSize]).some((value) => value !== 0))
    throw new Error("its network has two biases for each gate, and that of the page has one");
  const batches = tensors.shape("tensors/history")[0];
  const history = tensors.floats("tensors/history", [batches, 3]).subarray(0, 3 * batch);
  const sums = [0, 1, 2].map((k) => history.reduce((sum, value, n) => (n % 3 === k ? sum + value : sum), 0));
  const saved: LstmSaved = {
    ...{ kind: "lstm", settings, step, epoch, weights, trainCount: 0 },
    ...{ stage: wholeNumber(extra?.stage ?? 0, "stage"), sequences: wholeNumber(extra?.sequences, "sequences") },
    position: batch * settings.batchSize,
    sums,
    dropout: readGenerator(tensors, "dropout"),
    epochs: metrics.flatMap((line) => {
      const found = lineOf(line, LINE);
      const growing = { length: line.length ?? settings.length, validationSequences: line.validation_sequences ?? 0 };
      return found ? [{ ...found, ...growing }] : [];
    }),
    seconds: Number(position.seconds) || 0,
  };
  return { saved, own };
}

function readOwn({ archive, folder, record }: RunRead, known: SequenceData | null): SequenceData {
  const path = `${folder}${DATA}`;
  const found = archive.has(path) ? readSequences(archive.read(path, MAX_FILE), DATA) : known;
  if (!found || sha256Hex(found.file) !== record.data?.sha256)
    throw new Error(
      "its own sequences are not here; open their CSV file first, or put it into the run folder as data.csv",
    );
  return found;
}
