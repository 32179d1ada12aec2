/**
 * The vanilla RNN over a sequence, and backpropagation through time.
 *
 *     h_t = m_t ⊙ tanh(W x_t + U h_{t-1} + b)
 *
 * Shapes: T time steps, I input size, H hidden size.
 */
import { addProduct, addTransposedProduct, norm } from "./vectors.js";

/**
 * @typedef {object} RnnWeights
 * @property {Float64Array} W [H, I]
 * @property {Float64Array} U [H, H]
 * @property {Float64Array} b [H]
 */

/**
 * Computes the hidden states of a sequence, from the state 0.
 * @param {RnnWeights} weights
 * @param {Float64Array} x [T, I]
 * @param {number} steps T
 * @param {Float64Array | null} mask [T, H]
 * @returns {Float64Array} [T, H]
 */
export function forward({ W, U, b }, x, steps, mask) {
  const H = b.length;
  const I = W.length / H;
  const h = new Float64Array(steps * H);
  const z = new Float64Array(H);
  for (let t = 0; t < steps; t++) {
    z.set(b);
    addProduct(z, W, x, t * I, I);
    if (t > 0) addProduct(z, U, h, (t - 1) * H, H);
    for (let u = 0; u < H; u++) h[t * H + u] = Math.tanh(z[u]) * (mask ? mask[t * H + u] : 1);
  }
  return h;
}

/**
 * Returns ‖∂loss/∂h_t‖ [T], total derivatives.
 * @param {RnnWeights} weights
 * @param {Float64Array} h as `forward` returned it
 * @param {Float64Array} dOutput gradient of the loss through what reads h_t outside of the cell [T, H]
 * @param {Float64Array | null} mask [T, H]
 * @returns {Float64Array}
 */
export function backward({ U, b }, h, dOutput, mask) {
  const H = b.length;
  const steps = h.length / H;
  const gradH = new Float64Array(steps);
  let dh = new Float64Array(H);
  let dhBefore = new Float64Array(H);
  const dz = new Float64Array(H);
  for (let t = steps - 1; t >= 0; t--) {
    for (let u = 0; u < H; u++) dh[u] += dOutput[t * H + u];
    gradH[t] = norm(dh);
    for (let u = 0; u < H; u++) {
      const m = mask ? mask[t * H + u] : 1;
      const tanh = m === 0 ? 0 : h[t * H + u] / m; // a dropped unit passes no gradient
      dz[u] = m * dh[u] * (1 - tanh * tanh);
    }
    dhBefore.fill(0);
    addTransposedProduct(dhBefore, 0, U, dz, H);
    [dh, dhBefore] = [dhBefore, dh];
  }
  return gradH;
}
