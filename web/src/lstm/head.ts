/** What the output layer computes from the top layer, and how gradients go back. Shapes as in trace.ts. */
import { crossEntropy, softmax } from "../kit/math";
import { pool, type AttentionWeights, type Pooled } from "../compute/pooling";
import { addProduct, addTransposedProduct } from "../compute/vectors";
import type { LstmContent } from "../kit/manifest";
import type { Target } from "./trace";

export interface HeadWeights {
  W_out: Float64Array;
  b_out: Float64Array;
  attention: AttentionWeights | null;
}

/**
 * Computes the last output, the loss, its mean over the steps for a class at every step, and its gradient dTop for the output
 * of the top layer `top` [S, D·H]; empty without a target.
 */
export function runHead(content: LstmContent, weights: HeadWeights, top: Float64Array, steps: number, target: Target) {
  const isEveryStep = content.target === "class at every step";
  const pooled: Pooled = isEveryStep
    ? { p: top, backward: (dp) => dp }
    : pool(content.pooling, top, steps, content.bidirectional ? 2 : 1, weights.attention);
  const targets = typeof target === "number" ? [target] : target;
  const F = weights.W_out.length / weights.b_out.length;
  const rows = pooled.p.length / F;
  const dp = new Float64Array(targets ? pooled.p.length : 0);
  let loss = 0;
  let output = new Float64Array(0);
  for (let n = targets ? 0 : rows - 1; n < rows; n++) {
    const logits = logitsOf(weights, pooled.p, n * F);
    output = probabilities(content, logits);
    if (!targets) continue;
    loss += lossOf(content, logits, targets[n]) / rows;
    const dLogits = lossGradient(content, output, targets[n]).map((value) => value / rows);
    addTransposedProduct(dp, n * F, weights.W_out, dLogits, F);
  }
  const dTop = targets ? pooled.backward(dp) : dp;
  return { output, attention: pooled.attention ?? null, loss: targets && loss, dTop };
}

/** Returns W_out h + b_out, with h from `start`. */
export function logitsOf({ W_out, b_out }: HeadWeights, h: Float64Array, start: number): Float64Array {
  const logits = b_out.slice();
  addProduct(logits, W_out, h, start, W_out.length / b_out.length);
  return logits;
}

/** Returns the class probabilities of logits, or the number itself. */
export const probabilities = ({ target }: LstmContent, logits: Float64Array) =>
  target === "number" ? logits.slice() : softmax(logits.slice());

const lossOf = (content: LstmContent, logits: Float64Array, target: number) =>
  content.target === "number" ? (logits[0] - target) ** 2 : crossEntropy(logits, target);

/** Returns the gradient of the loss for the logits, or for the number, from the output. */
const lossGradient = (content: LstmContent, output: Float64Array, target: number) =>
  output.map((value, k) => (content.target === "number" ? 2 * (value - target) : value - Number(k === target)));
