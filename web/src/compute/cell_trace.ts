/**
 * A cell over one sequence in double precision: every quantity, and the gradients of the loss for its states.
 *
 * Dropout makes of h_t m_t ⊙ h_t, or in zoneout m_t ⊙ h_t + (1 - m_t) ⊙ h_{t-1}. Shapes: T steps, I input size, H hidden size.
 */
import { exp, log, sigmoid, softplus, tanh } from "../kit/math";
import type { Cell } from "./cell_text";
import { addProduct, addTransposedProduct, norm } from "./vectors";

/** Numbers by name: of weights, or of quantities [T, H]. */
export type Numbers = Record<string, Float64Array>;

export interface CellRun {
  reverse: boolean; // From the last step to the first
  mask: Float64Array | null; // Of the hidden state [T, H]
  zoneout: boolean; // Whether a masked unit keeps its previous value
}

const PLAIN: CellRun = { reverse: false, mask: null, zoneout: false };
export const EPS = 1e-5; // Of `normalize`

/** By units. */
const VALUES: Record<string, (a: number, b: number) => number> = {
  ...{ add: (a, b) => a + b, sub: (a, b) => a - b, mul: (a, b) => a * b, div: (a, b) => a / b, neg: (a) => -a },
  ...{ sigmoid, tanh, exp, log, softplus, sqrt: Math.sqrt, abs: Math.abs, relu: (a) => Math.max(a, 0) },
  ...{ max: Math.max, min: Math.min },
};

const share = (a: number, b: number) => (a > b ? 1 : a === b ? 0.5 : 0);

type Slope = (a: number, b: number, y: number) => number;

/** Derivatives of y for a and for b, by units. */
const SLOPES: Record<string, Slope[]> = {
  ...{ add: [() => 1, () => 1], sub: [() => 1, () => -1], neg: [() => -1], mul: [(_, b) => b, (a) => a] },
  ...{ div: [(_, b) => 1 / b, (_, b, y) => -y / b], sigmoid: [(_a, _b, y) => y * (1 - y)] },
  ...{ tanh: [(_a, _b, y) => 1 - y * y], exp: [(_a, _b, y) => y], log: [(a) => 1 / a] },
  ...{ softplus: [(a) => sigmoid(a)], sqrt: [(_a, _b, y) => 0.5 / y], abs: [(a) => Math.sign(a)] },
  ...{ relu: [(a) => Number(a > 0)], max: [share, (a, b) => share(b, a)], min: [(a, b) => share(b, a), share] },
};

const mean = (v: Float64Array) => v.reduce((sum, value) => sum + value, 0) / v.length;

function deviation(v: Float64Array): number {
  const center = mean(v);
  return Math.sqrt(mean(v.map((value) => (value - center) ** 2)) + EPS);
}

/** Steps of a run, in the order in which the cell reads them: t, and where the state before it stands, -1 for none. */
const stepsOf = (T: number, reverse: boolean) =>
  Array.from({ length: T }, (_, k) => {
    const t = reverse ? T - 1 - k : k;
    return { t, before: k === 0 ? -1 : reverse ? t + 1 : t - 1 };
  });

/** Returns all nodes of a step. */
export function stepNodes(
  { graph, states }: Cell,
  weights: Numbers,
  { x, found, H, run }: Sequence,
  { t, before }: { t: number; before: number },
): Float64Array[] {
  const state = (name: string) => (before < 0 ? new Float64Array(H) : at(found[name], before, H));
  const I = x.length / (found[states[0]].length / H);
  const nodes: Float64Array[] = [];
  for (const { op, args, value } of graph.nodes) {
    const [a, b] = args.map((arg) => nodes[arg]);
    const name = String(value);
    if (op === "number") nodes.push(new Float64Array(H).fill(value as number));
    else if (op === "vector") nodes.push(weights[name]);
    else if (op === "state") nodes.push(state(name));
    else if (op === "matmul") {
      const y = new Float64Array(H);
      if (a) addProduct(y, weights[name], a, 0, H);
      else addProduct(y, weights[name], x, t * I, I);
      nodes.push(y);
    } else if (op === "normalize") {
      const [center, scale] = [mean(a), deviation(a)];
      nodes.push(a.map((one) => (one - center) / scale));
    } else if (op === "dropout") nodes.push(drop(a, run, t, state("h")));
    else nodes.push(a.map((one, u) => VALUES[op](one, b?.[u])));
  }
  return nodes;
}

const at = (values: Float64Array, t: number, H: number) => values.subarray(t * H, (t + 1) * H);

function drop(h: Float64Array, { mask, zoneout }: CellRun, t: number, before: Float64Array) {
  if (!mask) return h;
  return h.map((value, u) => {
    const m = mask[t * h.length + u];
    return m * value + (zoneout ? (1 - m) * before[u] : 0);
  });
}

/** What a cell reads: inputs x [T, I], and its quantities so far. */
export interface Sequence {
  x: Float64Array;
  found: Numbers;
  H: number;
  run: CellRun;
}

/** Returns the quantities [T, H] by name, of inputs x [T, I]. */
export function traceCell(cell: Cell, weights: Numbers, x: Float64Array, T: number, H: number, run = PLAIN): Numbers {
  const found = Object.fromEntries([...cell.quantities.keys()].map((name) => [name, new Float64Array(T * H)]));
  for (const step of stepsOf(T, run.reverse)) {
    const nodes = stepNodes(cell, weights, { x, found, H, run }, step);
    for (const [name, { node }] of cell.quantities) found[name].set(nodes[node], step.t * H);
  }
  return found;
}

/**
 * Returns the norms ‖∂loss/∂s_t‖ [T] of each state, over all paths, and ∂loss/∂x [T, I] if it is wanted; from `dOutput` [T, D·H],
 * that of the loss through what reads h_t outside of the cell. With two directions the second half is of the one in reverse.
 */
export function cellGradients(
  cell: Cell,
  weights: Numbers,
  sequence: Sequence,
  dOutput: Float64Array,
  wantInput: boolean,
) {
  const { x, found, H, run } = sequence;
  const T = found.h.length / H;
  const [I, width] = [x.length / T, dOutput.length / T];
  const { nodes: graph } = cell.graph;
  const norms: Numbers = Object.fromEntries(cell.states.map((name) => [name, new Float64Array(T)]));
  const dx = new Float64Array(wantInput ? x.length : 0);
  const zeros = (): Numbers => Object.fromEntries(cell.states.map((name) => [name, new Float64Array(H)]));
  let carries = zeros();
  for (const step of stepsOf(T, run.reverse).reverse()) {
    const { t } = step;
    const values = stepNodes(cell, weights, sequence, step);
    const grads = graph.map(() => new Float64Array(H));
    const begin = t * width + (run.reverse ? width - H : 0);
    carries.h.forEach((value, u) => (carries.h[u] = value + dOutput[begin + u]));
    for (const name of cell.states) add(grads[cell.quantities.get(name)!.node], carries[name]);
    const next = zeros();
    for (let index = graph.length - 1; index >= 0; index--) {
      const { op, args, value } = graph[index];
      const g = grads[index];
      for (const name of cell.states) if (cell.quantities.get(name)!.node === index) norms[name][t] = norm(g);
      const [a, b] = args.map((arg) => values[arg]);
      if (op === "state") add(next[value], g);
      else if (op === "matmul" && args.length) addTransposedProduct(grads[args[0]], 0, weights[value], g, H);
      else if (op === "matmul" && wantInput) addTransposedProduct(dx, t * I, weights[value], g, I);
      else if (op === "dropout") {
        const { mask, zoneout } = run;
        add(grads[args[0]], mask ? g.map((one, u) => one * mask[t * H + u]) : g);
        if (mask && zoneout)
          add(
            next.h,
            g.map((one, u) => one * (1 - mask[t * H + u])),
          );
      } else if (op === "normalize") {
        const y = values[index];
        const [center, along, scale] = [mean(g), mean(g.map((one, u) => one * y[u])), deviation(a)];
        add(
          grads[args[0]],
          g.map((one, u) => (one - center - y[u] * along) / scale),
        );
      } else
        (SLOPES[op] ?? []).forEach((slope, k) => {
          const [to, y] = [grads[args[k]], values[index]];
          for (let u = 0; u < H; u++) to[u] += g[u] * slope(a[u], b ? b[u] : 0, y[u]);
        });
    }
    carries = next;
  }
  return { norms, dx };
}

const add = (to: Float64Array, values: Float64Array) => values.forEach((value, u) => (to[u] += value));
