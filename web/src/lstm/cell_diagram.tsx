/** The diagram of a cell, made of its text: what each quantity reads, from left to right. */
import { Diagram, type DiagramPart } from "../charts/diagram";
import type { Cell } from "../compute/cell_text";
import { cellOf } from "../train/cells";
import { roleOf, titleOf } from "./quantities";

/** The line of a quantity, without what stands after #. */
export const lineOf = ({ text, quantities }: Cell, name: string) =>
  text.split("\n")[quantities.get(name)!.line - 1].split("#")[0].trim();

export function CellDiagram({ cell: name }: { cell: string }) {
  const cell = cellOf(name);
  const { graph, quantities, states } = cell;
  const byNode = new Map([...quantities].map(([name, { node }]) => [node, name]));
  /** Names that a node reads; those of states before the step with ′. */
  const reads = (index: number): string[] => {
    const { op, args, value } = graph.nodes[index];
    const own = op === "state" ? [`${value}′`] : op === "matmul" && !args.length ? ["x"] : [];
    return [...own, ...args.flatMap((arg) => (byNode.has(arg) ? [byNode.get(arg)!] : reads(arg)))];
  };
  const links = [...quantities].flatMap(([name, { node }]) =>
    [...new Set(reads(node))].map((from): [string, string] => [from, name]),
  );
  const given = ["x", ...states.map((state) => `${state}′`)].filter((name) => links.some(([from]) => from === name));
  const column: Record<string, number> = Object.fromEntries(given.map((name) => [name, 0]));
  for (const name of quantities.keys())
    column[name] = 1 + Math.max(0, ...links.filter(([, to]) => to === name).map(([from]) => column[from]));
  const parts: DiagramPart[] = [
    ...given.map((name) => ({
      ...{ name, column: 0 },
      about: name === "x" ? "what it reads at this step" : `${name[0]} of the step before`,
    })),
    ...[...quantities.keys()].map((quantity) => ({
      ...{ name: quantity, column: column[quantity] },
      about: [titleOf(name, quantity), roleOf(name, quantity), lineOf(cell, quantity)].filter(Boolean).join(" – "),
    })),
  ];
  return (
    <Diagram
      name="Diagram of the cell"
      {...{ parts, links }}
      note="One step of the cell. Touch a part to see what it does, and its map."
    />
  );
}
