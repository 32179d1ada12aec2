/**
 * A recurrent cell over a sequence, and backpropagation through time: an LSTM,
 *
 *     i_t = σ(W_i x_t + U_i h_{t-1} + b_i)        input gate
 *     f_t = σ(W_f x_t + U_f h_{t-1} + b_f)        forget gate
 *     g_t = tanh(W_c x_t + U_c h_{t-1} + b_c)     cell candidate
 *     o_t = σ(W_o x_t + U_o h_{t-1} + b_o)        output gate
 *     c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t             cell state
 *     h_t = o_t ⊙ tanh(c_t)                       hidden state,
 *
 * or a vanilla RNN, h_t = tanh(W x_t + U h_{t-1} + b). Dropout makes of h_t
 *
 *     m_t ⊙ h_t, or m_t ⊙ h_t + (1 - m_t) ⊙ h_{t-1} in zoneout, which is only of an LSTM.
 *
 * Shapes: T time steps, I input size, H hidden size.
 */
import { sigmoid, tanh } from "../kit/math";
import { addProduct, addTransposedProduct, norm } from "./vectors";

/** Weights of a cell, those of the gates i, f, c, o one below the other. */
export interface CellWeights {
  W: Float64Array; // [4·H, I]; of a vanilla RNN [H, I]
  U: Float64Array; // [4·H, H]
  b: Float64Array; // [4·H]
}

/** How a cell runs over a sequence. */
export interface CellRun {
  reverse: boolean; // From the last step to the first
  mask: Float64Array | null; // Of the hidden state [T, H]
  zoneout: boolean; // Whether a masked unit keeps its previous value
}

/** Values of a cell at all steps, in the order of the input [T, H]. A vanilla RNN has only h; the others are empty. */
export type CellValues = Record<"i" | "f" | "g" | "o" | "c" | "h", Float64Array>;

/** Total derivatives of the loss: over all paths from a state to the loss. */
export interface CellGradients {
  gradC: Float64Array; // ‖∂loss/∂c_t‖ [T]; empty of a vanilla RNN
  gradH: Float64Array; // ‖∂loss/∂h_t‖ [T]
  dx: Float64Array; // ∂loss/∂x_t [T, I]; empty if it is not needed
}

const sizesOf = ({ W, U, b }: CellWeights) => {
  const [H, I] = [U.length / b.length, W.length / b.length];
  return { H, I, isRnn: b.length === H };
};

/** Computes a cell over a sequence x [T, I], from the state 0. */
export function forward(weights: CellWeights, x: Float64Array, steps: number, run: CellRun): CellValues {
  const { W, U, b } = weights;
  const { reverse, mask, zoneout } = run;
  const { H, I, isRnn } = sizesOf(weights);
  const [i, f, g, o, c] = Array.from({ length: 5 }, () => new Float64Array(isRnn ? 0 : steps * H));
  const h = new Float64Array(steps * H);
  const z = new Float64Array(b.length);
  for (let k = 0; k < steps; k++) {
    const now = (reverse ? steps - 1 - k : k) * H;
    const before = reverse ? now + H : now - H; // there is none at the first step
    z.set(b);
    addProduct(z, W, x, (now / H) * I, I);
    if (k > 0) addProduct(z, U, h, before, H);
    for (let u = 0; u < H; u++) {
      const n = now + u;
      if (isRnn) h[n] = tanh(z[u]);
      else {
        i[n] = sigmoid(z[u]);
        f[n] = sigmoid(z[H + u]);
        g[n] = tanh(z[2 * H + u]);
        o[n] = sigmoid(z[3 * H + u]);
        c[n] = (k > 0 ? f[n] * c[before + u] : 0) + i[n] * g[n];
        h[n] = o[n] * tanh(c[n]);
      }
      if (mask) h[n] = mask[n] * h[n] + (zoneout && k > 0 ? (1 - mask[n]) * h[before + u] : 0);
    }
  }
  return { i, f, g, o, c, h };
}

/**
 * Computes the gradients of a cell from `dOutput` [T, D·H], that of the loss through what reads h_t outside of the cell; with
 * two directions the second half belongs to the one that runs in reverse.
 */
export function backward(
  weights: CellWeights,
  { i, f, g, o, c, h }: CellValues,
  dOutput: Float64Array,
  { reverse, mask, zoneout }: CellRun,
  wantInput: boolean,
): CellGradients {
  const { W, U, b } = weights;
  const { H, I, isRnn } = sizesOf(weights);
  const steps = h.length / H;
  const width = dOutput.length / steps;
  const gradC = new Float64Array(isRnn ? 0 : steps);
  const gradH = new Float64Array(steps);
  const dx = new Float64Array(wantInput ? steps * I : 0);
  const dz = new Float64Array(b.length);
  let dh = new Float64Array(H); // of the step at hand, through the next step
  let dhBefore = new Float64Array(H);
  const dc = new Float64Array(H);
  for (let k = steps - 1; k >= 0; k--) {
    const t = reverse ? steps - 1 - k : k;
    const now = t * H;
    const before = reverse ? now + H : now - H;
    dhBefore.fill(0);
    const own = t * width + (reverse ? width - H : 0);
    for (let u = 0; u < H; u++) dh[u] += dOutput[own + u];
    gradH[t] = norm(dh);
    for (let u = 0; u < H; u++) {
      const n = now + u;
      const dhCell = mask ? mask[n] * dh[u] : dh[u]; // of h_t before dropout
      if (isRnn) {
        const value = mask && mask[n] ? h[n] / mask[n] : h[n];
        dz[u] = dhCell * (1 - value * value);
        continue;
      }
      if (mask && zoneout) dhBefore[u] = (1 - mask[n]) * dh[u];
      const tanhC = tanh(c[n]);
      dc[u] += dhCell * o[n] * (1 - tanhC * tanhC);
      const cBefore = k > 0 ? c[before + u] : 0;
      dz[u] = dc[u] * g[n] * i[n] * (1 - i[n]);
      dz[H + u] = dc[u] * cBefore * f[n] * (1 - f[n]);
      dz[2 * H + u] = dc[u] * i[n] * (1 - g[n] * g[n]);
      dz[3 * H + u] = dhCell * tanhC * o[n] * (1 - o[n]);
    }
    if (!isRnn) {
      gradC[t] = norm(dc);
      for (let u = 0; u < H; u++) dc[u] *= f[now + u];
    }
    if (k > 0) addTransposedProduct(dhBefore, 0, U, dz, H);
    if (wantInput) addTransposedProduct(dx, t * I, W, dz, I);
    [dh, dhBefore] = [dhBefore, dh];
  }
  return { gradC, gradH, dx };
}
