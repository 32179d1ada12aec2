/**
 * A cell over one sequence in double precision: every quantity, and the gradients of the loss for its states.
 *
 * Dropout makes of h_t m_t ⊙ h_t, or in zoneout m_t ⊙ h_t + (1 - m_t) ⊙ h_{t-1}. Shapes: T steps, I input size, H hidden size.
 */
import { exp, log, sigmoid, softplus, tanh } from "../kit/math";
import { row } from "../kit/tensors";
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

const VALUES: Record<string, (a: number, b: number) => number> = {
  ...{ add: (a, b) => a + b, sub: (a, b) => a - b, mul: (a, b) => a * b, div: (a, b) => a / b, neg: (a) => -a },
  ...{ sigmoid, tanh, exp, log, softplus, sqrt: Math.sqrt, abs: Math.abs, relu: (a) => Math.max(a, 0) },
  ...{ max: Math.max, min: Math.min },
};

const share = (a: number, b: number) => (a > b ? 1 : a === b ? 0.5 : 0);

type Slope = number | "a" | "b" | "y" | ((a: number, b: number, y: number) => number);

/** Derivatives of y for a and for b, by units. */
const SLOPES: Record<string, Slope[]> = {
  ...{ add: [1, 1], sub: [1, -1], neg: [-1], mul: ["b", "a"] },
  ...{ div: [(_, b) => 1 / b, (_, b, y) => -y / b], sigmoid: [(_a, _b, y) => y * (1 - y)] },
  ...{ tanh: [(_a, _b, y) => 1 - y * y], exp: ["y"], log: [(a) => 1 / a] },
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

/** The values of a node after each step [T, H], by nodes of the graph of a cell. */
export type Nodes = Float64Array[];

/** Computes all nodes of a cell over inputs x [T, I]. */
export function traceCell(
  { graph, quantities }: Cell,
  weights: Numbers,
  x: Float64Array,
  T: number,
  H: number,
  run = PLAIN,
) {
  const I = x.length / T;
  const found: Nodes = graph.nodes.map(() => new Float64Array(T * H));
  const stateOf = (name: string | number) => found[quantities.get(String(name))!.node];
  for (const { t, before } of stepsOf(T, run.reverse)) {
    const [begin, end] = [t * H, (t + 1) * H];
    for (const [index, { op, args, value }] of graph.nodes.entries()) {
      const y = found[index];
      const [a, b = a] = args.map((arg) => found[arg]);
      if (op === "number") y.fill(value as number, begin, end);
      else if (op === "vector") y.set(weights[value], begin);
      else if (op === "state") before >= 0 && y.set(row(stateOf(value), before, H), begin);
      else if (op === "matmul" && a) addProduct(row(y, t, H), weights[value], a, begin, H);
      else if (op === "matmul") addProduct(row(y, t, H), weights[value], x, t * I, I);
      else if (op === "normalize") {
        const v = row(a, t, H);
        const [center, scale] = [mean(v), deviation(v)];
        for (let u = begin; u < end; u++) y[u] = (a[u] - center) / scale;
      } else if (op === "dropout" && !run.mask) y.set(row(a, t, H), begin);
      else if (op === "dropout") {
        const { mask, zoneout } = run as { mask: Float64Array; zoneout: boolean };
        const move = (before - t) * H;
        for (let u = begin; u < end; u++) y[u] = mask[u] * a[u] + (zoneout ? (1 - mask[u]) * (y[u + move] ?? 0) : 0);
      } else if (op === "add") {
        for (let u = begin; u < end; u++) y[u] = a[u] + b[u]; // a third of a step, which a call of `VALUES` would double
      } else {
        const f = VALUES[op];
        for (let u = begin; u < end; u++) y[u] = f(a[u], b[u]);
      }
    }
  }
  return found;
}

/** Returns the quantities [T, H] by name. */
export const quantitiesOf = ({ quantities }: Cell, nodes: Nodes): Numbers =>
  Object.fromEntries([...quantities].map(([name, { node }]) => [name, nodes[node]]));

/** What a cell read, inputs x [T, I], and its nodes. */
export interface Sequence {
  x: Float64Array;
  nodes: Nodes;
  H: number;
  run: CellRun;
}

/**
 * Returns the norms ‖∂loss/∂s_t‖ [T] of each state, over all paths, and ∂loss/∂x [T, I] if it is wanted; from `dOutput` [T, D·H],
 * that of the loss through what reads h_t outside of the cell. With two directions the second half is of the one in reverse.
 */
export function cellGradients(
  cell: Cell,
  weights: Numbers,
  { x, nodes, H, run }: Sequence,
  dOutput: Float64Array,
  wantInput: boolean,
) {
  const T = nodes[0].length / H;
  const [I, width] = [x.length / T, dOutput.length / T];
  const graph = cell.graph.nodes;
  const outputs = cell.states.map((name) => ({ name, node: cell.quantities.get(name)!.node }));
  const norms: Numbers = Object.fromEntries(cell.states.map((name) => [name, new Float64Array(T)]));
  const dx = new Float64Array(wantInput ? x.length : 0);
  const zeros = (): Numbers => Object.fromEntries(cell.states.map((name) => [name, new Float64Array(H)]));
  const grads = graph.map(() => new Float64Array(H));
  const matters: boolean[] = []; // Whether a node depends on what a gradient is wanted of
  for (const [index, { op, args }] of graph.entries())
    matters.push(
      op === "state" ||
        (wantInput && op === "matmul" && !args.length) ||
        args.some((arg) => matters[arg]) ||
        outputs.some(({ node }) => node === index),
    );
  let carries = zeros();
  for (const { t } of stepsOf(T, run.reverse).reverse()) {
    const begin = t * H;
    for (const grad of grads) grad.fill(0);
    const own = t * width + (run.reverse ? width - H : 0);
    for (let u = 0; u < H; u++) carries.h[u] += dOutput[own + u];
    for (const { name, node } of outputs) add(grads[node], carries[name]);
    const next = zeros();
    for (let index = graph.length - 1; index >= 0; index--) {
      const { op, args, value } = graph[index];
      const [g, y] = [grads[index], nodes[index]];
      if (!matters[index]) continue;
      for (const { name, node } of outputs) if (node === index) norms[name][t] = norm(g);
      const [a, b = a] = args.map((arg) => nodes[arg]);
      if (op === "state") add(next[value], g);
      else if (op === "matmul" && args.length) addTransposedProduct(grads[args[0]], 0, weights[value], g, H);
      else if (op === "matmul" && wantInput) addTransposedProduct(dx, t * I, weights[value], g, I);
      else if (op === "dropout") {
        const { mask, zoneout } = run;
        const to = grads[args[0]];
        for (let u = 0; u < H; u++) to[u] += mask ? g[u] * mask[begin + u] : g[u];
        if (mask && zoneout) for (let u = 0; u < H; u++) next.h[u] += g[u] * (1 - mask[begin + u]);
      } else if (op === "normalize") {
        const [v, to] = [row(y, t, H), grads[args[0]]];
        const [center, along, scale] = [mean(g), mean(g.map((one, u) => one * v[u])), deviation(row(a, t, H))];
        for (let u = 0; u < H; u++) to[u] += (g[u] - center - v[u] * along) / scale;
      } else
        (SLOPES[op] ?? []).forEach((slope, k) => {
          if (!matters[args[k]]) return;
          const to = grads[args[k]];
          const values = typeof slope === "string" && { a, b, y }[slope];
          if (typeof slope === "number") for (let u = 0; u < H; u++) to[u] += g[u] * slope;
          else if (values) for (let u = 0; u < H; u++) to[u] += g[u] * values[begin + u];
          else if (typeof slope === "function")
            for (let u = 0, n = begin; u < H; u++, n++) to[u] += g[u] * slope(a[n], b[n], y[n]);
        });
    }
    carries = next;
  }
  return { norms, dx };
}

function add(to: Float64Array, values: Float64Array) {
  for (let u = 0; u < to.length; u++) to[u] += values[u];
}
