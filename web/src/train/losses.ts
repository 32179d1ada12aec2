/** Losses and their gradients with respect to the logits, in double precision with the same bits in every engine. */
import { exp, log } from "../kit/math";
import type { Matrix } from "./memory";

/**
 * Returns the mean cross-entropy of logits [C, B] and the number of correct classes. The logits become the gradients of the
 * mean, 0 in the columns beyond B.
 */
export function crossEntropy(logits: Matrix, targets: Uint8Array): { loss: number; correct: number } {
  const { values, width, rows } = logits;
  const probabilities = new Float64Array(rows);
  let [total, correct] = [0, 0];
  for (let n = 0; n < targets.length; n++) {
    let [best, sum] = [0, 0];
    for (let k = 1; k < rows; k++) if (values[k * width + n] > values[best * width + n]) best = k;
    const max = values[best * width + n];
    for (let k = 0; k < rows; k++) sum += probabilities[k] = exp(values[k * width + n] - max);
    total += log(sum) + max - values[targets[n] * width + n];
    correct += best === targets[n] ? 1 : 0;
    for (let k = 0; k < rows; k++)
      values[k * width + n] = (probabilities[k] / sum - (k === targets[n] ? 1 : 0)) / targets.length;
  }
  for (let k = 0; k < rows; k++) values.fill(0, k * width + targets.length, (k + 1) * width);
  return { loss: total / targets.length, correct };
}
