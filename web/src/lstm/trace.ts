/**
 * What a recurrent network computes for a sequence, step by step.
 *
 * Shapes: T time steps, I input size, H hidden size, C classes (1 of a number), D directions, S steps of the network.
 */
import type { Nodes, Numbers } from "../compute/cell_trace";

/** Quantities of one cell at all steps [S, H], in the order of the input, h after dropout. */
export interface CellTrace {
  layer: number; // Counted from 0
  direction: "forward" | "backward";
  values: Numbers;
  nodes: Nodes;
  mask: Float64Array | null; // Of the hidden state [S, H]; null without dropout
  norms: Numbers; // ‖∂loss/∂s_t‖ [S] of each state s; without a target none
}

export interface Trace {
  steps: number; // S of the network: T, or with patches the number of patches
  input: Float64Array; // Of the first layer, with patches one row per patch [S, patchSize · I]
  cells: CellTrace[]; // Layer by layer, forward before backward
  /**
   * After each step, from the input up to it: class probabilities, or the number [S, C]. Null for a network that pools,
   * patches, or reads in both directions, which has no output before the end, and if they are not wanted. For a class at every
   * step they are the outputs that the loss compares, in a bidirectional network from the whole input.
   */
  outputs: Float64Array | null;
  output: Float64Array; // After the last step [C], for a class at every step that of the last step
  attention: Float64Array | null; // Weight of each step [S]; null for another pooling
  loss: number | null; // Cross-entropy, its mean over the steps, or the squared error; null without a target
}

/** Class, class at every step, or number; no loss and no gradients if null. */
export type Target = number | number[] | null;

export interface TraceOptions {
  target?: Target;
  /**
   * Of the dropout masks of the hidden state: s, s + 1, ... of layer 0 forward, layer 0 backward, layer 1, ...; no dropout if
   * null. That between layers is left out.
   */
  seed?: bigint | null;
  outputs?: boolean; // Whether `outputs` are wanted, true by default
}

/** Returns the hidden states of the cells of a layer side by side [S, D·H]. */
export function join(cells: CellTrace[], steps: number): Float64Array {
  if (cells.length === 1) return cells[0].values.h;
  const H = cells[0].values.h.length / steps;
  const joined = new Float64Array(steps * H * cells.length);
  for (let t = 0; t < steps; t++)
    cells.forEach(({ values: { h } }, d) => joined.set(h.subarray(t * H, (t + 1) * H), (t * cells.length + d) * H));
  return joined;
}
