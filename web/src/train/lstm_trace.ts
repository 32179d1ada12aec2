/** The quantities of a cell over one sequence, and the answer. */
import { quantitiesOf, traceCell } from "../compute/cell_trace";
import { addProduct } from "../compute/vectors";
import { softmax } from "../kit/math";
import type { CellNetwork } from "./cell_network";
import { DIGITS } from "./palindromes";

/** The network at each step of a sequence, without dropout. Values [T, H] by name, probabilities of each class [T, C]. */
export interface LstmTrace {
  digits: number[];
  values: Record<string, Float64Array>;
  probabilities: Float64Array;
}

/** Traces a network over digits, or numbers of which `own` tells the mean and the scale, in double precision. */
export function traceRun(
  { cell, weights, sizes: { hiddenSize: H, numClasses: C } }: CellNetwork,
  digits: number[],
  encoding: "scalar" | "onehot",
  own: { mean: number; scale: number } | null,
): LstmTrace {
  const w = Object.fromEntries(
    Object.entries(weights.w).map(([name, matrix]) => [name, Float64Array.from(matrix.read())]),
  );
  const numbers = own ? digits.map((value) => Math.fround((value - own.mean) / own.scale)) : digits;
  const x =
    encoding === "scalar" ? numbers : digits.flatMap((d) => Array.from({ length: DIGITS }, (_, k) => +(k === d)));
  const T = digits.length;
  const values = quantitiesOf(cell, traceCell(cell, w, Float64Array.from(x), T, H));
  const probabilities = new Float64Array(T * C);
  for (let t = 0; t < T; t++) {
    probabilities.set(w.b_out, t * C);
    addProduct(probabilities.subarray(t * C), w.W_out, values.h, t * H, H);
  }
  return { digits, values, probabilities: softmax(probabilities, C) };
}
