/**
 * Pooling of the hidden states of the top layer over time, and its gradient.
 *
 *     p = h_T (backward: h_1)                     "last"
 *     p = 1/T Σ_t h_t                             "mean"
 *     p = max_t h_t                               "max", unit by unit
 *     p = Σ_t a_t h_t                             "attention", with a = softmax_t(u_att · tanh(W_att h_t + b_att))
 *
 * Shapes: T time steps, F features: hidden size times directions.
 */
import type { LstmContent } from "../kit/manifest";
import { softmax, tanh } from "../kit/math";
import { addProduct, addTransposedProduct, dot } from "./vectors";

type Pooling = LstmContent["pooling"];

export interface AttentionWeights {
  W: Float64Array; // [F, F]
  b: Float64Array; // [F]
  u: Float64Array; // [F]
}

export interface Pooled {
  p: Float64Array; // [F]
  attention?: Float64Array; // a [T], of attention
  /** Returns the gradient of the hidden states [T, F] for that of p. */
  backward: (dp: Float64Array) => Float64Array;
}

/** Pools hidden states h [T, F]. With 2 directions the second half of h_t is of the backward one. */
export function pool(
  pooling: Pooling,
  h: Float64Array,
  steps: number,
  directions: number,
  weights: AttentionWeights | null,
): Pooled {
  if (pooling === "mean") return mean(h, steps);
  if (pooling === "max") return max(h, steps);
  if (pooling === "attention" && weights) return attend(h, steps, weights);
  return last(h, steps, directions);
}

function last(h: Float64Array, steps: number, directions: number): Pooled {
  const F = h.length / steps;
  const half = F / directions;
  const place = (j: number) => (j < half ? (steps - 1) * F + j : j); // the backward direction ends at the first step
  return {
    p: Float64Array.from({ length: F }, (_, j) => h[place(j)]),
    backward(dp) {
      const dh = new Float64Array(h.length);
      dp.forEach((value, j) => (dh[place(j)] = value));
      return dh;
    },
  };
}

function mean(h: Float64Array, steps: number): Pooled {
  const F = h.length / steps;
  const p = new Float64Array(F);
  for (let n = 0; n < h.length; n++) p[n % F] += h[n];
  return {
    p: p.map((sum) => sum / steps),
    backward: (dp) => h.map((_, n) => dp[n % F] / steps),
  };
}

function max(h: Float64Array, steps: number): Pooled {
  const F = h.length / steps;
  const p = new Float64Array(F).fill(-Infinity);
  for (let n = 0; n < h.length; n++) p[n % F] = Math.max(p[n % F], h[n]);
  return {
    p,
    backward(dp) {
      const ties = new Float64Array(F); // equal maxima share the gradient, as in torch
      for (let n = 0; n < h.length; n++) if (h[n] === p[n % F]) ties[n % F]++;
      return h.map((value, n) => (value === p[n % F] ? dp[n % F] / ties[n % F] : 0));
    },
  };
}

function attend(h: Float64Array, steps: number, { W, b, u }: AttentionWeights): Pooled {
  const F = b.length;
  const keys = new Float64Array(steps * F); // tanh(W_att h_t + b_att)
  const scores = new Float64Array(steps);
  const z = new Float64Array(F);
  for (let t = 0; t < steps; t++) {
    z.set(b);
    addProduct(z, W, h, t * F, F);
    for (let j = 0; j < F; j++) keys[t * F + j] = tanh(z[j]);
    scores[t] = dot(u, keys.subarray(t * F, (t + 1) * F));
  }
  const a = softmax(scores);
  const p = new Float64Array(F);
  for (let n = 0; n < h.length; n++) p[n % F] += a[Math.floor(n / F)] * h[n];
  return {
    p,
    attention: a,
    backward(dp) {
      const dh = new Float64Array(h.length);
      const mean = dot(dp, p);
      for (let t = 0; t < steps; t++) {
        const dScore = a[t] * (dot(dp, h.subarray(t * F, (t + 1) * F)) - mean);
        for (let j = 0; j < F; j++) {
          dh[t * F + j] = a[t] * dp[j];
          z[j] = dScore * u[j] * (1 - keys[t * F + j] ** 2);
        }
        addTransposedProduct(dh, t * F, W, z, F);
      }
      return dh;
    },
  };
}
