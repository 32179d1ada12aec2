/** Every quantity of a cell over one sequence, in double precision and without dropout. */
import { exp, log, sigmoid, tanh } from "../kit/math";
import type { Cell } from "./cell_text";
import type { Node } from "./cell_graph";

type Weights = Record<string, Float64Array>;

const softplus = (x: number) => Math.max(x, 0) + log(1 + exp(-Math.abs(x)));

/** By units. */
const BY_UNITS: Record<string, (a: number, b: number) => number> = {
  ...{ add: (a, b) => a + b, sub: (a, b) => a - b, mul: (a, b) => a * b, div: (a, b) => a / b, neg: (a) => -a },
  ...{ sigmoid, tanh, exp, log, softplus, sqrt: Math.sqrt, abs: Math.abs, relu: (a) => Math.max(a, 0) },
  ...{ max: Math.max, min: Math.min, dropout: (a) => a },
};

function normalize(v: Float64Array): Float64Array {
  const mean = v.reduce((sum, value) => sum + value, 0) / v.length;
  const variance = v.reduce((sum, value) => sum + (value - mean) ** 2, 0) / v.length;
  return v.map((value) => (value - mean) / Math.sqrt(variance + 1e-5));
}

function product(W: Float64Array, x: ArrayLike<number>, H: number): Float64Array {
  const y = new Float64Array(H);
  const n = W.length / H;
  for (let u = 0; u < H; u++) for (let k = 0; k < n; k++) y[u] += W[u * n + k] * x[k];
  return y;
}

/** Returns the quantities [T, H] by name, of inputs x [T, I]. */
export function traceCell(
  { graph, quantities, states }: Cell,
  weights: Weights,
  x: Float64Array,
  T: number,
  H: number,
) {
  const found = Object.fromEntries([...quantities.keys()].map((name) => [name, new Float64Array(T * H)]));
  const I = x.length / T;
  let before: Weights = Object.fromEntries(states.map((name) => [name, new Float64Array(H)]));
  for (let t = 0; t < T; t++) {
    const values: Float64Array[] = [];
    const valueOf = ({ op, args, value }: Node): Float64Array => {
      if (op === "number") return new Float64Array(H).fill(value as number);
      if (op === "vector") return weights[value];
      if (op === "state") return before[value];
      if (op === "matmul")
        return product(weights[value], args.length ? values[args[0]] : x.subarray(t * I, (t + 1) * I), H);
      if (op === "normalize") return normalize(values[args[0]]);
      const [a, b] = args.map((arg) => values[arg]);
      return a.map((number, u) => BY_UNITS[op](number, b?.[u]));
    };
    for (const node of graph.nodes) values.push(valueOf(node));
    for (const [name, { node }] of quantities) found[name].set(values[node], t * H);
    before = Object.fromEntries(states.map((name) => [name, values[quantities.get(name)!.node]]));
  }
  return found;
}
