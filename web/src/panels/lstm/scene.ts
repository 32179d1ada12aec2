/**
 * What the pictures of the panel show of one trace or two, and how texts name it.
 *
 * Shapes: S steps of the LSTM, H hidden size, C classes.
 */
import { extent } from "d3-array";
import { type ColorScale, rowMeans } from "../../charts/colors";
import type { Steps } from "../../charts/steps";
import { argmax, formatExact, topClass } from "../../kit/format";
import type { LstmContent } from "../../kit/manifest";
import { row } from "../../kit/tensors";
import { gateOf, largest, scaleOf, sortUnits, stateOf } from "../../lstm/quantities";
import type { CellTrace, Target, Trace } from "../../lstm/trace";
import type { LstmState, Order, Selected, Show } from "./state";

/** What the panel reads: a sequence with its trace, or two. */
export interface Reading {
  name: "" | "first" | "second"; // Empty if there is only one
  values: number[];
  target: Target;
  trace: Trace;
}

export const wantedOf = ({ stage, seed, target, first, second }: LstmState) => ({
  stage: stage.value - 1,
  seed: seed.value,
  target: target.value,
  first: first.value,
  second: second.value,
});

export type Wanted = ReturnType<typeof wantedOf>;

export type Traced = { wanted: Wanted; first: Reading; second: Reading | null };

export interface Scene extends Traced {
  content: LstmContent;
  cell: number; // Index of layer and direction
  show: Show;
  isDifference: boolean;
  shown: Reading; // The sequence that is shown, of a difference the first
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
  return { ...traced, content, cell, show, isDifference, shown, steps, rows, order };
}

/** Step of a cell at which its reading ends, of those up to `steps`. */
export const lastStep = ({ direction }: CellTrace, steps: number) => (direction === "backward" ? 0 : steps - 1);

/** Returns the units in an order, always that of the first sequence, so that both pictures have the same rows. */
function unitOrder(content: LstmContent, cell: CellTrace, steps: number, order: Order): Int32Array {
  const H = content.hiddenSize;
  if (order === "trained") return Int32Array.from({ length: H }, (_, unit) => unit);
  const last = lastStep(cell, steps);
  const keys =
    order === "forget"
      ? rowMeans(cell.values[gateOf(content.cell)!], steps, H)
      : row(cell.values[stateOf(content.cell)], last, H);
  return sortUnits(keys);
}

export const readingsOf = ({ first, second }: Traced): Reading[] => (second ? [first, second] : [first]);

/** Returns the values that a heat map shows, [S, columns of a step]. */
export function shownValues({ first, second, shown, isDifference }: Scene, pick: (trace: Trace) => Float64Array) {
  if (!second || !isDifference) return pick(shown.trace);
  const [a, b] = [pick(first.trace), pick(second.trace)];
  return Float64Array.from({ length: Math.min(a.length, b.length) }, (_, k) => b[k] - a[k]);
}

/** Returns the color scale of a heat map, with one limit for both sequences. */
export function mapScale(scene: Scene, name: string, values: Float64Array): ColorScale {
  if (scene.isDifference) return { name: "difference", limit: largest(values) || 1 };
  return scaleOf(
    scene.content.cell,
    name,
    ...readingsOf(scene).map(({ trace }) => trace.cells[scene.cell].values[name]),
  );
}

export function stepText({ content, first, second, show }: Scene, step: number): string {
  const { patchSize, inputKind } = content;
  if (patchSize > 1) return `patch ${step + 1} (steps ${step * patchSize + 1} to ${(step + 1) * patchSize})`;
  if (inputKind === "numbers") return `step ${step + 1}`;
  const [a, b] = [first, second].map((reading) => content.symbolNames[reading?.values[step] ?? -1] ?? "none");
  const other = second && show !== "first" && a !== b ? `, second ${b}` : "";
  return `step ${step + 1} (${content.noun} ${a}${other})`;
}

export function stepAxis({ content, first, second, steps }: Scene): Steps {
  if (content.inputKind === "numbers") return { count: steps, names: null, others: null };
  const names = content.symbolNames;
  const read = ({ values }: Reading) => Array.from({ length: steps }, (_, t) => names[values[t]] ?? "");
  return { count: steps, names: read(first), others: second && read(second) };
}

export function outputText(content: LstmContent, { output }: Trace): string {
  if (content.target === "number") return formatExact(output[0]);
  const [name, part] = topClass(content.classNames, output);
  return `${name} (${part})`;
}

export const classAfter = ({ outputSize: C }: LstmContent, outputs: Float64Array, t: number) =>
  argmax(row(outputs, t, C));

export function rangeText(values: Float64Array): string {
  const [low, high] = extent(values);
  return low === undefined ? "not finite" : `from ${formatExact(low)} to ${formatExact(high)}`;
}
