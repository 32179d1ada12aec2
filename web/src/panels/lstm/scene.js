/**
 * What the pictures of the panel show: one or two traces, and what follows from them.
 *
 * Shapes: S steps of the LSTM, H hidden size, C classes.
 */
import { rowMeans } from "../../ui/heatmap.js";
import { MAP_NAMES } from "./state.js";

/** @typedef {import("../../models/lstm.js").Trace} Trace */
/** @typedef {import("../../models/lstm.js").CellTrace} CellTrace */
/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").MapName} MapName */

/**
 * @typedef {object} Scene
 * @property {State} state
 * @property {Trace} first
 * @property {Trace | null} second
 * @property {number} steps S that the pictures show
 * @property {Int32Array} order units from top to bottom
 */

/**
 * Returns the scene of a state.
 * @param {State} state
 * @param {Trace} first
 * @param {Trace | null} second
 * @returns {Scene}
 */
export function makeScene(state, first, second) {
  const steps =
    !second || state.show === "first"
      ? first.steps
      : state.show === "second"
        ? second.steps
        : Math.min(first.steps, second.steps);
  return { state, first, second, steps, order: unitOrder(state, first) };
}

/**
 * Returns the units in the chosen order, always that of the first sequence, so that both pictures have the same rows.
 * @param {State} state
 * @param {Trace} trace
 */
function unitOrder({ order, cell, content }, { cells, steps }) {
  const { f, c, h, direction } = cells[cell];
  const H = content.hiddenSize;
  const units = Int32Array.from({ length: H }, (_, unit) => unit);
  if (order === "trained") return units;
  const states = c.length ? c : h;
  const last = direction === "backward" ? 0 : steps - 1;
  const keys = order === "forget" ? rowMeans(f, steps, H) : states.subarray(last * H, (last + 1) * H);
  return units.sort((a, b) => keys[b] - keys[a] || a - b);
}

/**
 * Maps that a cell has: a vanilla RNN has only h.
 * @param {import("../../types.js").LstmContent} content
 * @returns {readonly MapName[]}
 */
export const mapNames = (content) => (content.cell === "rnn" ? ["h"] : MAP_NAMES);

/**
 * Returns the values that a heat map shows, [S, columns of a step].
 * @param {Scene} scene
 * @param {(trace: Trace) => Float64Array} pick
 */
export function shownValues({ state, first, second }, pick) {
  if (!second || state.show === "first") return pick(first);
  if (state.show === "second") return pick(second);
  const [a, b] = [pick(first), pick(second)];
  return Float64Array.from({ length: Math.min(a.length, b.length) }, (_, k) => b[k] - a[k]);
}

/**
 * Returns the color scale of a heat map: gates from 0 to 1, states around 0, with one limit for both sequences.
 * @param {Scene} scene
 * @param {MapName} name
 * @param {Float64Array} values shown
 * @returns {import("../../ui/heatmap.js").ColorScale}
 */
export function mapScale({ state, first, second }, name, values) {
  if (second && state.show === "difference") return { name: "difference", limit: largest(values) || 1 };
  if (name === "i" || name === "f" || name === "o") return { name: "sequential", limit: 1 };
  if (name !== "c") return { name: "diverging", limit: 1 };
  const limits = [first, ...(second ? [second] : [])].map((trace) => largest(trace.cells[state.cell].c));
  return { name: "diverging", limit: Math.max(1, ...limits) };
}

/**
 * Largest absolute value.
 * @param {ArrayLike<number>} values
 */
export function largest(values) {
  let max = 0;
  for (let k = 0; k < values.length; k++) {
    const size = Math.abs(values[k]);
    if (size > max && size < Infinity) max = size;
  }
  return max;
}

/**
 * The unit that tells the two sequences apart most at the end of the cell's reading.
 * @param {Scene} scene
 */
export function carrier({ state, first, second, steps }) {
  if (!second) return null;
  const H = state.content.hiddenSize;
  const [a, b] = [first.cells[state.cell], second.cells[state.cell]];
  const last = a.direction === "backward" ? 0 : steps - 1;
  /** @param {CellTrace} cell */
  const states = (cell) => (cell.c.length ? cell.c : cell.h);
  let unit = 0;
  let change = 0;
  for (let u = 0; u < H; u++) {
    const difference = states(b)[last * H + u] - states(a)[last * H + u];
    if (Math.abs(difference) > Math.abs(change)) [unit, change] = [u, difference];
  }
  if (change === 0) return null;
  return { unit, change, last, meanForget: a.f.length ? rowMeans(a.f, first.steps, H)[unit] : null };
}
