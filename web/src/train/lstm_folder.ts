/** What the run folder of an LSTM holds, see run_files.ts. */
import type { LstmEpoch, LstmSaved } from "./lstm_run";
import { generatorState, renamed, type Python, type RunFiles } from "./run_files";
import type { Tensor } from "./zip";

/** The weights in the order of Python's parameters, with their names there. */
const NAMES = [
  ["W_out", "W_out"],
  ["b_out", "b_out"],
  ["W", "lstm.weight_ih_l0"],
  ["U", "lstm.weight_hh_l0"],
  ["b", "lstm.bias_ih_l0"],
] as const;

/** Names of the optimizers' means there: of the squared gradients, and of the gradients. */
const MEANS = { rmsprop: { v: "square_avg" }, adam: { v: "exp_avg_sq", m: "exp_avg" } } as const;

export function lstmFiles(saved: LstmSaved, { lstmConfig }: Python): RunFiles {
  const { step, epoch, stage, position, sequences, sums, weights, seconds } = saved;
  const { forgetBias: _, ...settings } = saved.settings;
  const H = settings.hiddenSize;
  const shapes = { W_out: [10, H], b_out: [10], W: [4 * H, weights.w.W.length / (4 * H)], U: [4 * H, H], b: [4 * H] };
  const networks: Record<string, Tensor> = { "network/lstm.bias_hh_l0": [new Float32Array(4 * H), [4 * H]] };
  const training: Record<string, Tensor> = { "generator/dropout": generatorState(saved.dropout) };
  NAMES.forEach(([ours, theirs], k) => {
    const at = `optimizer/network/${k}`;
    networks[`network/${theirs}`] = [weights.w[ours], shapes[ours]];
    if (step === 0) return;
    training[`${at}/step`] = [Float32Array.of(step), []];
    for (const [mean, name] of Object.entries(MEANS[settings.optimizer]))
      training[`${at}/${name}`] = [weights[mean as "v" | "m"][ours], shapes[ours]];
  });
  const batches = Math.ceil(saved.trainCount / settings.batchSize);
  const history = new Float32Array(3 * batches);
  history.set(sums); // of all batches of the epoch so far: only their sum counts
  training["tensor/history"] = [history, [batches, 3]];
  const curriculum = settings.curriculum === "on";
  const line = ({ length, validationSequences, ...found }: LstmEpoch) =>
    curriculum ? { ...found, length, validationSequences } : found;
  return {
    ...{ kind: "lstm", isFinished: epoch >= settings.epochs, metrics: saved.epochs.map(line), networks, training },
    record: { config: { ...lstmConfig, ...renamed(settings), curriculum }, seconds },
    position: { epoch, batch: Math.round(position / settings.batchSize), step },
    extra: { stage, sequences },
  };
}
