/**
 * The run folder of an LSTM that the page has trained, as a zip: `reviver load`, `plot` and `explore` open it, and
 * `reviver lstm train --resume` goes on with it. See `reviver.runs.checkpoint`.
 */
import type { Manifest } from "../kit/manifest";
import type { LstmEpoch, LstmSaved } from "./lstm_run";
import type { LstmSettings } from "./settings";
import { sha256Hex } from "./sha256";
import { safetensors, textBytes, zip, type Files, type Tensor } from "./zip";

/** The weights in the order of Python's parameters, with their names there. */
const NAMES = [
  ["W_out", "W_out"],
  ["b_out", "b_out"],
  ["W", "lstm.weight_ih_l0"],
  ["U", "lstm.weight_hh_l0"],
  ["b", "lstm.bias_ih_l0"],
] as const;

const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const json = (value: unknown) => textBytes(JSON.stringify(value));

/** Names as Python has them. */
const renamed = (record: object) =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [snake(name), value]));

/** The state of torch's generator, as `torch.Generator.get_state` gives it. */
function generatorState({ state, next }: LstmSaved["dropout"]): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(5056));
  view.setInt32(8, next === 624 ? 1 : 625 - next, true); // numbers left, counted from 1
  view.setInt32(12, 1, true); // is seeded
  view.setInt32(16, next, true);
  state.forEach((value, k) => view.setInt32(24 + 8 * k, value, true));
  return new Uint8Array(view.buffer);
}

const configOf = ({ forgetBias: _, ...settings }: LstmSettings) => ({
  ...renamed(settings),
  curriculum: settings.curriculum === "on",
});

/**
 * Returns the zip of a run, in a folder `name`; the manifest has Python's settings
 * and its version.
 */
export function runFolder(
  saved: LstmSaved,
  name: string,
  { version, lstmConfig }: Pick<Manifest, "version" | "lstmConfig">,
): Uint8Array<ArrayBuffer> {
  const { settings, step, epoch, stage, position, sequences, sums, weights, seconds } = saved;
  const H = settings.hiddenSize;
  const shapes = { W_out: [10, H], b_out: [10], W: [4 * H, weights.w.W.length / (4 * H)], U: [4 * H, H], b: [4 * H] };
  const networks: Record<string, Tensor> = { "network/lstm.bias_hh_l0": [new Float32Array(4 * H), [4 * H]] };
  const training: Record<string, Tensor> = { "generator/dropout": [generatorState(saved.dropout), [5056]] };
  NAMES.forEach(([ours, theirs], k) => {
    const at = `optimizer/network/${k}`;
    networks[`network/${theirs}`] = [weights.w[ours], shapes[ours]];
    if (step === 0) return;
    training[`${at}/step`] = [Float32Array.of(step), []];
    const isAdam = settings.optimizer === "adam";
    training[`${at}/${isAdam ? "exp_avg_sq" : "square_avg"}`] = [weights.v[ours], shapes[ours]];
    if (isAdam) training[`${at}/exp_avg`] = [weights.m[ours], shapes[ours]];
  });
  const batches = Math.ceil(saved.trainCount / settings.batchSize);
  const history = new Float32Array(3 * batches);
  history.set(sums); // of all batches of the epoch so far: only their sum counts
  training["tensor/history"] = [history, [batches, 3]];
  const state = {
    ...{ epoch, batch: Math.round(position / settings.batchSize), step, seconds, metrics_count: saved.epochs.length },
    extra: { stage, sequences },
  };
  const files: Files = {
    "networks.safetensors": safetensors(networks),
    "training.safetensors": safetensors(training),
    "state.json": json(state),
  };
  const sums256 = Object.fromEntries(Object.entries(files).map(([file, bytes]) => [file, sha256Hex(bytes)]));
  const record = {
    ...{ schema: 1, kind: "lstm", status: epoch >= settings.epochs ? "finished" : "interrupted" },
    ...{ config: { ...lstmConfig, ...configOf(settings) }, seconds, versions: { reviver: version } },
  };
  const line = ({ length, validationSequences, ...found }: LstmEpoch) => {
    const growing = settings.curriculum === "on" ? { length, validationSequences } : {};
    return `${JSON.stringify({ ...renamed({ ...found, ...growing }), seconds: 0 })}\n`;
  };
  const folder = `${name}/checkpoints/step-${String(step).padStart(6, "0")}`;
  return zip({
    [`${name}/run.json`]: json(record),
    [`${name}/metrics.jsonl`]: textBytes(saved.epochs.map(line).join("")),
    [`${name}/checkpoints/last.json`]: json({ step }),
    ...Object.fromEntries(Object.entries(files).map(([file, bytes]) => [`${folder}/${file}`, bytes])),
    [`${folder}/checksums.json`]: json(sums256),
  });
}
