/**
 * Activation functions and what comes after the last layer.
 */

/**
 * Applies an activation in place.
 * @param {Float32Array} x
 * @param {import("../types.js").LayerSpec["activation"]} activation
 * @param {number} [slope] negative slope of LeakyReLU
 */
export function activate(x, activation, slope = 0) {
  if (activation === "tanh") {
    for (let i = 0; i < x.length; i++) x[i] = Math.tanh(x[i]);
  } else if (activation === "relu" || activation === "leaky-relu") {
    const factor = activation === "relu" ? 0 : slope;
    for (let i = 0; i < x.length; i++) if (x[i] < 0) x[i] *= factor;
  }
}

/**
 * Multiplies gradients with respect to the outputs of an activation by its derivative, in place. The derivative at 0 is
 * that of PyTorch, as for a negative input.
 * @param {Float32Array} gradient
 * @param {Float32Array} y outputs of the activation
 * @param {import("../types.js").LayerSpec["activation"]} activation
 * @param {number} slope negative slope of LeakyReLU, at least 0
 */
export function multiplyByDerivative(gradient, y, activation, slope) {
  if (activation === "tanh") {
    for (let i = 0; i < y.length; i++) gradient[i] *= 1 - y[i] * y[i];
  } else if (activation !== "none") {
    const factor = activation === "relu" ? 0 : slope;
    for (let i = 0; i < y.length; i++) if (!(y[i] > 0)) gradient[i] *= factor;
  }
}

/**
 * The logistic sigmoid.
 * @param {number} x
 */
export const sigmoid = (x) => 1 / (1 + Math.exp(-x));

/**
 * Applies softmax in place to each row.
 * @param {Float32Array} x [N, K]
 * @param {number} columns K
 */
export function softmax(x, columns) {
  for (let start = 0; start < x.length; start += columns) {
    const row = x.subarray(start, start + columns);
    const max = row.reduce((a, b) => Math.max(a, b), -Infinity);
    let sum = 0;
    for (let k = 0; k < columns; k++) sum += row[k] = Math.exp(row[k] - max);
    for (let k = 0; k < columns; k++) row[k] /= sum;
  }
}
