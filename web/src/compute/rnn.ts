/**
 * The vanilla RNN over a sequence, and backpropagation through time.
 *
 *     h_t = m_t ⊙ tanh(W x_t + U h_{t-1} + b)
 *
 * Shapes: T time steps, I input size, H hidden size.
 */
import { tanh } from "../kit/math";
import type { CellWeights } from "./lstm";
import { addProduct, addTransposedProduct, norm } from "./vectors";

/** Computes the hidden states [T, H] of a sequence x [T, I], from the state 0; `mask` is [T, H]. */
export function forward({ W, U, b }: CellWeights, x: Float64Array, steps: number, mask: Float64Array | null) {
  const H = b.length;
  const I = W.length / H;
  const h = new Float64Array(steps * H);
  const z = new Float64Array(H);
  for (let t = 0; t < steps; t++) {
    z.set(b);
    addProduct(z, W, x, t * I, I);
    if (t > 0) addProduct(z, U, h, (t - 1) * H, H);
    for (let u = 0; u < H; u++) h[t * H + u] = tanh(z[u]) * (mask ? mask[t * H + u] : 1);
  }
  return h;
}

/** Returns ‖∂loss/∂h_t‖ [T], total derivatives, from `dOutput` [T, H], that through what reads h_t outside of the cell. */
export function backward({ U, b }: CellWeights, h: Float64Array, dOutput: Float64Array, mask: Float64Array | null) {
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
      const value = m === 0 ? 0 : h[t * H + u] / m; // a dropped unit passes no gradient
      dz[u] = m * dh[u] * (1 - value * value);
    }
    dhBefore.fill(0);
    addTransposedProduct(dhBefore, 0, U, dz, H);
    [dh, dhBefore] = [dhBefore, dh];
  }
  return gradH;
}
