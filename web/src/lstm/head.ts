/** What the output layer computes from the top layer, and how gradients go back. Shapes as in trace.ts. */
import { crossEntropy, softmax } from "../kit/math";
import { pool, type AttentionWeights } from "../compute/pooling";
import { addProduct, addTransposedProduct } from "../compute/vectors";
import type { LstmContent } from "../kit/manifest";
import type { Target } from "./trace";

export interface HeadWeights {
  W_out: Float64Array;
  b_out: Float64Array;
  attention: AttentionWeights | null;
}

/** Computes the output, the loss, and its gradient dTop for the output of the top layer `top` [S, D·H]; empty without a target. */
export function runHead(content: LstmContent, weights: HeadWeights, top: Float64Array, steps: number, target: Target) {
  if (content.target === "class at every step") return everyStepHead(content, weights, top, steps, target);
  const pooled = pool(content.pooling, top, steps, content.bidirectional ? 2 : 1, weights.attention);
  const logits = logitsOf(weights, pooled.p, 0);
  const output = probabilities(content, logits);
  const head = { output, attention: pooled.attention ?? null, loss: null, dTop: new Float64Array(0) };
  if (typeof target !== "number") return head;
  const dp = new Float64Array(pooled.p.length);
  addTransposedProduct(dp, 0, weights.W_out, lossGradient(content, output, target), dp.length);
  return { ...head, loss: lossOf(content, logits, target), dTop: pooled.backward(dp) };
}

function everyStepHead(content: LstmContent, weights: HeadWeights, top: Float64Array, steps: number, target: Target) {
  const F = top.length / steps;
  const last = probabilities(content, logitsOf(weights, top, (steps - 1) * F));
  const head = { output: last, attention: null, loss: null, dTop: new Float64Array(0) };
  if (!Array.isArray(target)) return head;
  const dTop = new Float64Array(top.length);
  let loss = 0;
  for (let t = 0; t < steps; t++) {
    const logits = logitsOf(weights, top, t * F);
    loss += lossOf(content, logits, target[t]) / steps;
    const dLogits = lossGradient(content, probabilities(content, logits), target[t]).map((value) => value / steps);
    addTransposedProduct(dTop, t * F, weights.W_out, dLogits, F);
  }
  return { ...head, loss, dTop };
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
