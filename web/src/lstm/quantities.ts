/** The quantities of a cell, which is a name or a text: what each does, which are gates, and how maps show them. */
import type { ColorScale } from "../charts/colors";
import type { RowLabel } from "../charts/steps";
import { cellOf } from "../train/cells";

/** What the quantities of an LSTM do, by their titles. */
const ROLES: Record<string, string> = {
  "input gate i": "how much g enters c",
  "forget gate f": "how much of c stays",
  "cell candidate g": "what may enter c",
  "output gate o": "how much of c is shown",
  "cell state c": "what is remembered",
  "hidden state h": "what is passed on",
};

export const namesOf = (cell: string) => [...cellOf(cell).quantities.keys()];

/** The name of a quantity, with what its line says that it is. */
export const titleOf = (cell: string, name: string) => `${cellOf(cell).quantities.get(name)!.meaning} ${name}`.trim();

export const roleOf = (cell: string, name: string): string | undefined => ROLES[titleOf(cell, name)];

/** Whether a quantity is from 0 to 1. */
export function isGate(cell: string, name: string) {
  const { graph, quantities } = cellOf(cell);
  return graph.nodes[quantities.get(name)!.node].op === "sigmoid";
}

/** The gate by which units are sorted: that of forgetting, else the first one; null without gates. */
export function gateOf(cell: string): string | null {
  const gates = namesOf(cell).filter((name) => isGate(cell, name));
  return gates.find((name) => titleOf(cell, name).includes("forget")) ?? gates[0] ?? null;
}

/** What the cell keeps from step to step, beside h if it can. */
export const stateOf = (cell: string) => cellOf(cell).states[1] ?? "h";

/** Largest absolute value. */
export const largest = (values: Float64Array) =>
  values.reduce((max, value) => (Math.abs(value) < Infinity ? Math.max(max, Math.abs(value)) : max), 0);

/** The colors of a quantity: of gates from 0 to 1, of others around 0, with one limit for all values. */
export const scaleOf = (cell: string, name: string, ...values: Float64Array[]): ColorScale =>
  isGate(cell, name)
    ? { name: "sequential", limit: 1 }
    : { name: "diverging", limit: Math.max(1, ...values.map(largest)) };

/** Returns the units from the largest key to the smallest. */
export const sortUnits = (keys: ArrayLike<number>) =>
  Int32Array.from({ length: keys.length }, (_, unit) => unit).sort((a, b) => keys[b] - keys[a] || a - b);

/** What the axis of units says that are sorted by a quantity. */
export const sortedLabels = (key: string): RowLabel[] =>
  ["high", "low"].map((word, k) => ({ place: k ? 0.97 : 0.03, name: `${word} ${key}` }));
