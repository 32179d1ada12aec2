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
  const F = h.length / steps;
  const scores = pooling === "attention" && weights ? attend(h, steps, weights) : null;
  const fractions = scores ? h.map((_, n) => scores.a[Math.floor(n / F)]) : fractionsOf(pooling, h, F, directions);
  const p = new Float64Array(F);
  for (let n = 0; n < h.length; n++) p[n % F] += fractions[n] * h[n];
  return {
    p,
    attention: scores?.a,
    backward(dp) {
      const dh = fractions.map((fraction, n) => fraction * dp[n % F]);
      scores?.addGradient(dh, dp, p);
      return dh;
    },
  };
}

/** What p has of each h_t [T, F], unless attention decides. */
function fractionsOf(pooling: Pooling, h: Float64Array, F: number, directions: number): Float64Array {
  const steps = h.length / F;
  if (pooling === "mean") return new Float64Array(h.length).fill(1 / steps);
  if (pooling === "max") {
    const max = new Float64Array(F).fill(-Infinity);
    const ties = new Float64Array(F); // equal maxima share the gradient, as in torch
    h.forEach((value, n) => (max[n % F] = Math.max(max[n % F], value)));
    h.forEach((value, n) => (ties[n % F] += Number(value === max[n % F])));
    return h.map((value, n) => (value === max[n % F] ? 1 / ties[n % F] : 0));
  }
  const isForward = (j: number) => j < F / directions; // the backward direction ends at the first step
  const fractions = new Float64Array(h.length);
  for (let j = 0; j < F; j++) fractions[isForward(j) ? (steps - 1) * F + j : j] = 1;
  return fractions;
}

/** Returns the weights a [T] of the steps, and what adds to dh the gradient through them. */
function attend(h: Float64Array, steps: number, { W, b, u }: AttentionWeights) {
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
  const addGradient = (dh: Float64Array, dp: Float64Array, p: Float64Array) => {
    const mean = dot(dp, p);
    for (let t = 0; t < steps; t++) {
      const dScore = a[t] * (dot(dp, h.subarray(t * F, (t + 1) * F)) - mean);
      for (let j = 0; j < F; j++) z[j] = dScore * u[j] * (1 - keys[t * F + j] ** 2);
      addTransposedProduct(dh, t * F, W, z, F);
    }
  };
  return { a, addGradient };
}
