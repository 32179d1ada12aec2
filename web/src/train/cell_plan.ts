/**
 * How a step of a cell and its derivative are computed: products in matrices, all else by units, in stages that wait for the
 * products before them.
 */
import { differentiate, Graph } from "../compute/cell_graph";
import type { Cell } from "../compute/cell_text";

/** A sum of products: of matrices with operands, nodes or the input (null), and a vector that is added. */
export interface Sum {
  bias: string | null;
  terms: { matrix: string; operand: number | null }[];
}

/** What one stage computes by units: nodes to store, after some products and normalizations. */
export interface Stage {
  before: number[];
  store: number[];
}

export interface Plan {
  graph: Graph;
  sums: Map<number, Sum>;
  outputs: Map<string, number>; // Nodes of the new states
  /** Nodes of the step that have a matrix for each step; of a sum that nothing else reads it is that of its function. */
  kept: Map<number, number>;
  forward: Stage[];
  backward: Stage[];
  /** Gradients of the sums, of the vectors by name, of the states before the step. */
  grads: { sums: Map<number, number>; vectors: Map<string, number>; states: Map<string, number> };
}

/** Functions whose value is kept rather than computed again for the derivative. */
const KEPT = new Set(["sigmoid", "tanh", "exp", "log", "softplus", "sqrt", "div", "normalize"]);
const WAITS = new Set(["sum", "normalize", "transposed", "normalize_grad"]);

/** Returns the graph with sums of products in place of products. */
export function withSums({ graph: { nodes }, quantities }: Cell) {
  const graph = new Graph();
  const sums = new Map<number, Sum>();
  const uses = nodes.map(() => 0);
  for (const { args } of nodes) for (const arg of args) uses[arg]++;
  for (const { node } of quantities.values()) if (nodes[node].op === "matmul") uses[node]++;
  const built = new Map<number, number>();
  const addSum = (terms: number[], bias: string | null) => {
    const found = terms.map((term) => {
      const { args, value } = nodes[term];
      return { matrix: String(value), operand: args.length ? build(args[0]) : null };
    });
    const operands = found.flatMap(({ operand }) => (operand === null ? [] : [operand]));
    const index = graph.add("sum", operands, JSON.stringify([found, bias]));
    sums.set(index, { bias, terms: found });
    return index;
  };
  const leavesOf = (index: number): number[] =>
    nodes[index].args.flatMap((arg) => (nodes[arg].op === "add" && uses[arg] === 1 ? leavesOf(arg) : [arg]));
  const buildAdd = (index: number) => {
    const leaves = leavesOf(index);
    const terms = leaves.filter((leaf) => nodes[leaf].op === "matmul" && uses[leaf] === 1);
    const bias = terms.length ? leaves.find((leaf) => nodes[leaf].op === "vector") : undefined;
    const rest = leaves.filter((leaf) => !terms.includes(leaf) && leaf !== bias);
    const first = terms.length ? [addSum(terms, bias === undefined ? null : String(nodes[bias].value))] : [];
    return [...first, ...rest.map(build)].reduce((a, b) => graph.add("add", [a, b]));
  };
  const build = (index: number): number => {
    const known = built.get(index);
    if (known !== undefined) return known;
    const { op, args, value } = nodes[index];
    const made =
      op === "add" ? buildAdd(index) : op === "matmul" ? addSum([index], null) : graph.add(op, args.map(build), value);
    built.set(index, made);
    return made;
  };
  return { graph, sums, build };
}

export function planCell(cell: Cell): Plan {
  const { graph, sums, build } = withSums(cell);
  const outputs = new Map(cell.states.map((name) => [name, build(cell.quantities.get(name)!.node)]));
  const { nodes } = graph;
  const count = nodes.length;
  const grads = differentiate(graph, outputs);
  const gradients = [...grads.sums.values(), ...grads.vectors.values(), ...grads.states.values()];
  const needed = new Set<number>([...outputs.values()]);
  for (const [index, { terms }] of sums) {
    needed.add(index);
    for (const { operand } of terms) if (operand !== null && nodes[operand].op !== "state") needed.add(operand);
  }
  nodes
    .slice(0, count)
    .forEach(({ op, args }, index) => op === "normalize" && [index, args[0]].forEach((n) => needed.add(n)));
  const isInput = (index: number) => ["state", "vector", "number", "carry"].includes(nodes[index].op);
  const seen = new Set<number>();
  const fromSums = new Set<number>(); // sums that the derivative reads
  const visit = (index: number) => {
    if (seen.has(index) || isInput(index)) return;
    seen.add(index);
    if (index < count && nodes[index].op === "sum") return void fromSums.add(index);
    if (index < count && (KEPT.has(nodes[index].op) || needed.has(index))) return void needed.add(index);
    nodes[index].args.forEach(visit);
  };
  gradients.forEach(visit);
  const kept = new Map<number, number>();
  for (const index of needed) if (!isInput(index)) kept.set(index, index);
  for (const index of sums.keys()) {
    const readers = nodes.flatMap(({ args }, n) => (n < count && args.includes(index) ? [n] : []));
    const [reader] = readers;
    if (
      readers.length === 1 &&
      !fromSums.has(index) &&
      needed.has(reader) &&
      nodes[reader].args.length === 1 &&
      !WAITS.has(nodes[reader].op)
    )
      kept.set(index, reader);
  }
  const forward = stagesOf(graph, [...kept.keys()], (index) => isInput(index));
  const backward = stagesOf(graph, gradients, (index) => isInput(index) || kept.has(index));
  return { graph, sums, outputs, kept, forward, backward, grads };
}

/** Orders nodes to store, and what they wait for, into stages. */
function stagesOf({ nodes }: Graph, roots: number[], isKnown: (index: number) => boolean): Stage[] {
  const levels = new Map<number, number>();
  const stages: Stage[] = [];
  const stageAt = (level: number) => (stages[level] ??= { before: [], store: [] });
  const stored = new Set<number>();
  const store = (index: number) => {
    if (stored.has(index) || isKnown(index)) return;
    stored.add(index);
    const level = levelOf(index);
    if (!WAITS.has(nodes[index].op)) stageAt(level).store.push(index);
  };
  const levelOf = (index: number): number => {
    if (isKnown(index)) return 0;
    const found = levels.get(index);
    if (found !== undefined) return found;
    const { op, args } = nodes[index];
    let level = 0;
    if (WAITS.has(op)) {
      for (const arg of args) {
        if (!isKnown(arg)) level = Math.max(level, levelOf(arg) + 1);
        store(arg);
      }
      stageAt(level).before.push(index);
    } else level = Math.max(0, ...args.map(levelOf));
    levels.set(index, level);
    return level;
  };
  roots.forEach(store);
  return Array.from(stages, (stage) => stage ?? { before: [], store: [] });
}

/** A product of a sum. */
export type Term = { sum: number; matrix: string; operand: number | null };

/** Returns all products in the order of the weights. */
export function termsOf({ matrices }: Cell, { sums }: Plan): Term[] {
  const order = [...matrices.keys()];
  const all = [...sums].flatMap(([sum, { terms }]) => terms.map((term) => ({ sum, ...term })));
  return all.sort((a, b) => order.indexOf(a.matrix) - order.indexOf(b.matrix));
}
