/** The numbers of the equations of one unit at one step. */
import type { CellWeights } from "../compute/lstm";
import { tanh } from "../kit/math";
import type { LstmContent } from "../kit/manifest";
import { join, type AffineTerms, type GateTerms, type Trace } from "./trace";

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
