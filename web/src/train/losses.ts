/** Losses and their gradients with respect to the logits, in double precision with the same bits in every engine. */
import { exp, log, sigmoid, softplus } from "../kit/math";
import type { Matrix } from "../compute/memory";

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

/** E[-log D(G(z))], and its gradients with respect to the logits. */
export function generatorLoss(fake: Float32Array) {
  const N = fake.length;
  const loss = fake.reduce((sum, l) => sum + softplus(-l), 0) / N;
  return { loss, gradients: Float64Array.from(fake, (l) => (sigmoid(l) - 1) / N) };
}

/**
 * ½ (E[-log D(x)] + E[-log(1 - D(G(z)))]), and its gradients with respect to the logits of the real and then the fake images;
 * with the labels exchanged, ½ (E[-log(1 - D(x))] + E[-log D(G(z))]).
 */
export function discriminatorLoss(real: Float32Array, fake: Float32Array, areExchanged: boolean) {
  const N = fake.length;
  const sign = areExchanged ? -1 : 1;
  const ofReal = real.reduce((sum, l) => sum + softplus(-sign * l), 0) / N;
  const ofFake = fake.reduce((sum, l) => sum + softplus(sign * l), 0) / N;
  const targetOf = (n: number) => (n < N === areExchanged ? 0 : 1);
  const gradients = Float64Array.from([...real, ...fake], (l, n) => (sigmoid(l) - targetOf(n)) / (2 * N));
  return { loss: (ofReal + ofFake) / 2, gradients };
}
