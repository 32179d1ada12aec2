/**
 * What the pictures of the panel show of one trace or two, and how texts name it.
 *
 * Shapes: S steps of the LSTM, H hidden size, C classes.
 */
import { extent } from "d3-array";
import { type Binning, type ColorScale, rowMeans } from "../../charts/colors";
import type { Steps } from "../../charts/steps";
import { argmax, formatExact, percent } from "../../kit/format";
import type { LstmContent } from "../../kit/manifest";
import type { CellTrace, Trace } from "../../lstm/trace";
import type { Reading, Traced } from "./reading";
import { stepNoun } from "./sequence";
import { gateOf, stateOf, type LstmState, type MapName, type Order, type Selected, type Show } from "./state";
import { cellOf } from "../../train/cells";

export interface Scene extends Traced {
  content: LstmContent;
  cell: number; // Index of layer and direction
  show: Show;
  isDifference: boolean;
  shown: Reading; // The sequence that is shown, of a difference the first
  binning: Binning;
  steps: number; // S that the pictures show
  rows: Order;
  order: Int32Array; // Units from top to bottom
}

export interface PictureProps {
  scene: Scene;
  selected: Selected;
  onSelect: (cell: Partial<Selected>) => void;
}

export function makeScene(content: LstmContent, traced: Traced, state: LstmState): Scene {
  const { first, second } = traced;
  const show = second ? state.show.value : "first";
  const shown = (show === "second" && second) || first;
  const isDifference = show === "difference";
  const steps = Math.min(shown.trace.steps, isDifference ? second!.trace.steps : Infinity);
  const directions = content.bidirectional ? 2 : 1;
  const cell = (state.layer.value - 1) * directions + Number(state.direction.value === "backward");
  const rows = state.units.value;
  const order = unitOrder(content, first.trace.cells[cell], first.trace.steps, rows);
  return { ...traced, content, cell, show, isDifference, shown, binning: state.columns.value, steps, rows, order };
}

/** Step of a cell at which its reading ends, of those up to `steps`. */
export const lastStep = ({ direction }: CellTrace, steps: number) => (direction === "backward" ? 0 : steps - 1);

/** Returns the units in an order, always that of the first sequence, so that both pictures have the same rows. */
function unitOrder(content: LstmContent, cell: CellTrace, steps: number, order: Order): Int32Array {
  const H = content.hiddenSize;
  const units = Int32Array.from({ length: H }, (_, unit) => unit);
  if (order === "trained") return units;
  const last = lastStep(cell, steps);
  const keys =
    order === "forget"
      ? rowMeans(cell.values[gateOf(content)!], steps, H)
      : cell.values[stateOf(content)].subarray(last * H, (last + 1) * H);
  return units.sort((a, b) => keys[b] - keys[a] || a - b);
}

export const readingsOf = ({ first, second }: Traced): Reading[] => (second ? [first, second] : [first]);

/** Returns the values that a heat map shows, [S, columns of a step]. */
export function shownValues({ first, second, shown, isDifference }: Scene, pick: (trace: Trace) => Float64Array) {
  if (!second || !isDifference) return pick(shown.trace);
  const [a, b] = [pick(first.trace), pick(second.trace)];
  return Float64Array.from({ length: Math.min(a.length, b.length) }, (_, k) => b[k] - a[k]);
}

/** Returns the color scale of a heat map: gates from 0 to 1, others around 0, with one limit for both sequences. */
export function mapScale(scene: Scene, name: MapName, values: Float64Array): ColorScale {
  if (scene.isDifference) return { name: "difference", limit: largest(values) || 1 };
  const { graph, quantities } = cellOf(scene.content.cell);
  if (graph.nodes[quantities.get(name)!.node].op === "sigmoid") return { name: "sequential", limit: 1 };
  const limits = readingsOf(scene).map(({ trace }) => largest(trace.cells[scene.cell].values[name]));
  return { name: "diverging", limit: Math.max(1, ...limits) };
}

/** Largest absolute value. */
export const largest = (values: Float64Array) =>
  values.reduce((max, value) => (Math.abs(value) < Infinity ? Math.max(max, Math.abs(value)) : max), 0);

/** The name of a quantity, with what its line says that it is. */
export const titleOf = ({ cell }: LstmContent, name: MapName) =>
  `${cellOf(cell).quantities.get(name)!.meaning} ${name}`.trim();

/** Names a step of the LSTM and what the network reads there. */
export function stepText({ content, first, second, show }: Scene, step: number): string {
  const { patchSize, inputKind } = content;
  if (patchSize > 1) return `patch ${step + 1} (steps ${step * patchSize + 1} to ${(step + 1) * patchSize})`;
  if (inputKind === "numbers") return `step ${step + 1}`;
  const [a, b] = [first, second].map((reading) => content.symbolNames[reading?.values[step] ?? -1] ?? "none");
  const other = second && show !== "first" && a !== b ? `, second ${b}` : "";
  return `step ${step + 1} (${stepNoun(content)} ${a}${other})`;
}

/** The axis of the steps, with the symbols that the network reads. */
export function stepAxis({ content, first, second, steps }: Scene): Steps {
  if (content.inputKind === "numbers") return { count: steps, names: null, others: null };
  const names = content.symbolNames;
  const read = ({ values }: Reading) => Array.from({ length: steps }, (_, t) => names[values[t]] ?? "");
  return { count: steps, names: read(first), others: second && read(second) };
}

export function outputText(content: LstmContent, { output }: Trace): string {
  if (content.target === "number") return formatExact(output[0]);
  const best = argmax(output);
  return `${content.classNames[best]} (${percent(output[best])})`;
}

/** The most probable class after a step. */
export const classAfter = ({ outputSize: C }: LstmContent, outputs: Float64Array, t: number) =>
  argmax(outputs.subarray(t * C, (t + 1) * C));

export function rangeText(values: Float64Array): string {
  const [low, high] = extent(values);
  return low === undefined ? "not finite" : `from ${formatExact(low)} to ${formatExact(high)}`;
}
