/**
 * What an LSTM computes for a sequence, step by step, and the numbers of its equations.
 *
 * Shapes: T time steps, I input size, H hidden size, C classes (1 of a number), D directions, S steps of the LSTM.
 */
import type { CellValues, CellWeights } from "../compute/lstm";
import type { LstmContent } from "../kit/manifest";
import { tanh } from "../kit/math";

/**
 * Values of one cell at all steps [S, H], in the order of the input, h after dropout. A vanilla RNN has only `h` and `gradH`;
 * its other arrays are empty.
 */
export interface CellTrace extends CellValues {
  layer: number; // Counted from 0
  direction: "forward" | "backward";
  mask: Float64Array | null; // Of the hidden state [S, H]; null without dropout
  gradC: Float64Array; // ‖∂loss/∂c_t‖ [S]; empty without a target
  gradH: Float64Array; // ‖∂loss/∂h_t‖ [S]; empty without a target
}

export interface Trace {
  steps: number; // S of the LSTM: T, or with patches the number of patches
  input: Float64Array; // Of the first layer, with patches one row per patch [S, patchSize · I]
  cells: CellTrace[]; // Layer by layer, forward before backward
  /**
   * After each step, from the input up to it: class probabilities, or the number [S, C]. Null for a network that pools or
   * patches, which has no output before the end; for a bidirectional one if it would take too long; and if they are not
   * wanted. For a class at every step they are the outputs that the loss compares, in a bidirectional network from the whole
   * input.
   */
  outputs: Float64Array | null;
  output: Float64Array; // After the last step [C], for a class at every step that of the last step
  attention: Float64Array | null; // Weight of each step [S]; null for another pooling
  /** Cross-entropy, its mean over the steps, or the squared error; null without a target. */
  loss: number | null;
}

/** Class, class at every step, or number; no loss and no gradients if null. */
export type Target = number | number[] | null;

export interface TraceOptions {
  target?: Target;
  /** Of the dropout masks of the hidden state, see `cellSeed`; no dropout if null. That between layers is left out. */
  seed?: bigint | null;
  outputs?: boolean; // Whether `outputs` are wanted, true by default
}

/** z = W x_t + U h_{t-1} + b of one unit, and its activation. */
export interface AffineTerms {
  Wx: number;
  Uh: number;
  b: number;
  z: number;
  value: number;
}

/**
 * The numbers of the equations of one unit at one step. For the backward direction t - 1 is the step after t.
 *
 * - A gate: i_t = σ(z), f_t = σ(z), g_t = tanh(z), o_t = σ(z); of a vanilla RNN only h = tanh(z).
 * - c_t = f_t · c_{t-1} + i_t · g_t: `kept` + `written`; null of a vanilla RNN.
 * - h_t = o_t · tanh(c_t) before dropout; then m_t · h_t, or in zoneout m_t · h_t + (1 - m_t) · h_{t-1}.
 */
export interface GateTerms {
  gates: Partial<Record<"i" | "f" | "g" | "o" | "h", AffineTerms>>;
  c: { previous: number; kept: number; written: number; value: number } | null;
  h: { tanhC: number | null; beforeDropout: number; mask: number | null; previous: number; value: number };
}

/** Returns the hidden states of the cells of a layer side by side [S, D·H]. */
export function join(cells: CellTrace[], steps: number): Float64Array {
  if (cells.length === 1) return cells[0].h;
  const H = cells[0].h.length / steps;
  const joined = new Float64Array(steps * H * cells.length);
  for (let t = 0; t < steps; t++)
    cells.forEach(({ h }, d) => joined.set(h.subarray(t * H, (t + 1) * H), (t * cells.length + d) * H));
  return joined;
}

const GATES = ["i", "f", "g", "o"] as const;

/** Returns the terms of a unit of a cell, an index in `trace.cells`, that has some weights. */
export function termsOf(
  content: LstmContent,
  { W, U, b }: CellWeights,
  trace: Trace,
  cell: number,
  t: number,
  unit: number,
): GateTerms {
  const H = content.hiddenSize;
  const directions = content.bidirectional ? 2 : 1;
  const values = trace.cells[cell];
  const below = cell - (cell % directions);
  const input = below ? join(trace.cells.slice(below - directions, below), trace.steps) : trace.input;
  const I = input.length / trace.steps;
  const now = t * H + unit;
  const step = values.direction === "backward" ? t + 1 : t - 1; // the step before, as the cell reads
  const isFirst = step < 0 || step >= trace.steps;
  const affine = (row: number): Omit<AffineTerms, "value"> => {
    let [Wx, Uh] = [0, 0];
    for (let j = 0; j < I; j++) Wx += W[row * I + j] * input[t * I + j];
    if (!isFirst) for (let j = 0; j < H; j++) Uh += U[row * H + j] * values.h[step * H + j];
    return { Wx, Uh, b: b[row], z: b[row] + Wx + Uh };
  };
  const previous = isFirst ? 0 : values.h[step * H + unit];
  const hidden = { mask: values.mask && values.mask[now], previous, value: values.h[now] };
  if (content.cell === "rnn") {
    const terms = affine(unit);
    const value = tanh(terms.z);
    return { gates: { h: { ...terms, value } }, c: null, h: { tanhC: null, beforeDropout: value, ...hidden } };
  }
  const cBefore = isFirst ? 0 : values.c[step * H + unit];
  const tanhC = tanh(values.c[now]);
  return {
    gates: Object.fromEntries(GATES.map((gate, k) => [gate, { ...affine(k * H + unit), value: values[gate][now] }])),
    c: {
      previous: cBefore,
      kept: values.f[now] * cBefore,
      written: values.i[now] * values.g[now],
      value: values.c[now],
    },
    h: { tanhC, beforeDropout: values.o[now] * tanhC, ...hidden },
  };
}
