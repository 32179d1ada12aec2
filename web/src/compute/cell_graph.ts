/** The graph of a step of a cell, and its derivative, as `reviver.recurrent`: nodes after their arguments, equal ones are one. */

/**
 * A value of a step, [H] for each sequence. `op` is an input, `state`, `vector` or `number` with its `value`; `matmul` of a matrix
 * `value`, on the input if it has no argument; arithmetic; a function; or `dropout` of h. In a plan (cell_plan.ts) products are
 * `sum`s; in derivatives there are `carry`, `transposed`, `pick` and so on.
 */
export interface Node {
  op: string;
  args: number[];
  value: string | number;
}

/** Functions of a text, and their number of arguments. */
export const FUNCTIONS: Record<string, number> = {
  ...{ sigmoid: 1, tanh: 1, relu: 1, exp: 1, log: 1, softplus: 1, sqrt: 1, abs: 1, max: 2, min: 2, normalize: 1 },
};

const COMMUTATIVE = new Set(["add", "mul", "max", "min"]);

export class Graph {
  readonly nodes: Node[] = [];
  #known = new Map<string, number>();

  /** Returns the index of a node, which is added unless there is an equal one. */
  add(op: string, args: number[] = [], value: string | number = ""): number {
    const key = JSON.stringify([op, COMMUTATIVE.has(op) ? [...args].sort((a, b) => a - b) : args, value]);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    this.#known.set(key, this.nodes.length);
    return this.nodes.push({ op, args, value }) - 1;
  }
}

type Add = (op: string, ...args: number[]) => number;

/** Gradients of the arguments a and b of y from its gradient g. */
const RULES: Record<string, (add: Add, g: number, y: number, a: number, b: number) => number[]> = {
  add: (_, g) => [g, g],
  sub: (add, g) => [g, add("neg", g)],
  neg: (add, g) => [add("neg", g)],
  mul: (add, g, _, a, b) => [add("mul", g, b), add("mul", g, a)],
  div: (add, g, y, _, b) => [add("div", g, b), add("neg", add("mul", add("div", g, b), y))],
  sigmoid: (add, g, y) => [add("sigmoid_grad", g, y)],
  tanh: (add, g, y) => [add("tanh_grad", g, y)],
  relu: (add, g, y) => [add("relu_grad", g, y)],
  exp: (add, g, y) => [add("mul", g, y)],
  log: (add, g, _, a) => [add("div", g, a)],
  softplus: (add, g, _, a) => [add("mul", g, add("sigmoid", a))],
  sqrt: (add, g, y) => [add("div", g, add("add", y, y))],
  abs: (add, g, _, a) => [add("abs_grad", g, a)],
  max: (add, g, _, a, b) => [add("pick", g, a, b), add("pick", g, b, a)],
  min: (add, g, _, a, b) => [add("pick", g, b, a), add("pick", g, a, b)],
  normalize: (add, g, y, a) => [add("normalize_grad", g, y, a)],
  dropout: (add, g) => [add("dropout", g)],
};

export interface Derivative {
  /** Gradients by nodes of sums, by names of vectors, and of states before the step without what comes by products. */
  sums: Map<number, number>;
  vectors: Map<string, number>;
  states: Map<string, number>;
}

/** Adds the gradients of a step to its graph; `outputs` are the nodes of the new states. */
export function differentiate(graph: Graph, outputs: Map<string, number>): Derivative {
  const add: Add = (op, ...args) => graph.add(op, args);
  const count = graph.nodes.length;
  const parts = Array.from({ length: count }, (): number[] => []);
  const products = Array.from({ length: count }, (): number[] => []);
  for (const [state, node] of outputs) parts[node].push(graph.add("carry", [], state));
  const found: Derivative = { sums: new Map(), vectors: new Map(), states: new Map() };
  for (let index = count - 1; index >= 0; index--) {
    const { op, args, value } = graph.nodes[index];
    if (products[index].length && op !== "state")
      parts[index].push(graph.add("transposed", products[index].reverse(), index));
    if (!parts[index].length) continue;
    const g = parts[index].reduce((a, b) => add("add", a, b));
    if (op === "sum") {
      found.sums.set(index, g);
      for (const operand of args) products[operand].push(g);
    } else if (op === "vector") found.vectors.set(String(value), g);
    else if (op === "state") found.states.set(String(value), g);
    else if (op in RULES) RULES[op](add, g, index, args[0], args[1]).forEach((part, k) => parts[args[k]].push(part));
  }
  return found;
}
