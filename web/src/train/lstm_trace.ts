/** The gates and states of an LSTM over one sequence. */
import { forward } from "../compute/lstm";
import { softmax } from "../kit/math";
import type { Matrix } from "./memory";
import { DIGITS } from "./palindromes";

/** The network at each step of a sequence, without dropout. Values [T, H], probabilities of each class [T, C]. */
export interface LstmTrace {
  digits: number[];
  values: Record<"i" | "f" | "g" | "o" | "c" | "h", Float64Array>;
  probabilities: Float64Array;
}

/** Traces weights over digits, or numbers of which `own` tells the mean and the scale, in double precision. */
export function traceLstm(
  { W, U, b, W_out, b_out }: Record<string, Matrix>,
  digits: number[],
  encoding: "scalar" | "onehot",
  own: { mean: number; scale: number } | null,
): LstmTrace {
  const H = U.columns;
  const [weights, recurrent, biases, out, bias] = [W, U, b, W_out, b_out].map((matrix) =>
    Float64Array.from(matrix.read()),
  );
  const C = b_out.columns;
  const numbers = own ? digits.map((value) => Math.fround((value - own.mean) / own.scale)) : digits;
  const x =
    encoding === "scalar" ? numbers : digits.flatMap((d) => Array.from({ length: DIGITS }, (_, k) => +(k === d)));
  const run = { reverse: false, mask: null, zoneout: false };
  const values = forward({ W: weights, U: recurrent, b: biases }, Float64Array.from(x), digits.length, run);
  const probabilities = new Float64Array(digits.length * C);
  for (let t = 0; t < digits.length; t++)
    for (let k = 0; k < C; k++) {
      let sum = bias[k];
      for (let u = 0; u < H; u++) sum += out[k * H + u] * values.h[t * H + u];
      probabilities[t * C + k] = sum;
    }
  return { digits, values, probabilities: softmax(probabilities, C) };
}
