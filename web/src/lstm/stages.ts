/** The stages of a step of a cell in code without vectors, as `reviver.recurrent.emit.stages_of`. */
import type { Node } from "../compute/cell_graph";

/** Operations whose values are vectors in memory. */
export const IN_MEMORY = ["state", "vector", "sum"];

/**
 * Returns the nodes that the outputs need, in order; the stage that each waits for, and the one by whose end it is due, up to the last;
 * and the values that a later stage or a product reads from memory.
 */
export function stagesOf(nodes: Node[], outputs: number[]) {
  const needed: number[] = [];
  const visit = (index: number) => {
    if (needed.includes(index)) return;
    nodes[index].args.forEach(visit);
    needed.push(index);
  };
  outputs.forEach(visit);
  needed.sort((a, b) => a - b);
  const waits = ({ op, args }: Node) =>
    (op === "sum" && args.some((arg) => nodes[arg].op !== "state")) ||
    (op === "normalize" && !IN_MEMORY.includes(nodes[args[0]].op));
  const level = new Map<number, number>();
  for (const index of needed)
    level.set(index, Math.max(0, ...nodes[index].args.map((arg) => level.get(arg)!)) + Number(waits(nodes[index])));
  const last = Math.max(...level.values());
  const due = new Map(needed.map((index) => [index, last]));
  for (const index of [...needed].reverse())
    for (const arg of nodes[index].args)
      due.set(arg, Math.min(due.get(arg)!, waits(nodes[index]) ? level.get(index)! - 1 : due.get(index)!));
  const kept = new Set(outputs.filter((node) => due.get(node)! < last));
  for (const index of needed)
    for (const arg of nodes[index].args) if (waits(nodes[index]) || due.get(arg)! < due.get(index)!) kept.add(arg);
  for (const index of needed) if (IN_MEMORY.includes(nodes[index].op)) kept.delete(index);
  return { needed, level, due, last, kept };
}
