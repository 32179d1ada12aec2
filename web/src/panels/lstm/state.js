/**
 * State of the panel, and its form in the URL fragment. The fragment is untrusted: what is wrong counts as missing.
 */
import { channels, formatSequence, hasRule, MAX_STEPS, parseSequence, randomSequence, ruleTarget } from "./sequence.js";

/** @typedef {import("../../types.js").LstmContent} LstmContent */
/** @typedef {"i" | "f" | "g" | "o" | "c" | "h"} MapName */
/** @typedef {"first" | "second" | "difference"} Show */
/** @typedef {"trained" | "forget" | "state"} Order */

export const MAP_NAMES = /** @type {const} */ (["i", "g", "f", "c", "o", "h"]);
export const SHOWS = /** @type {const} */ (["first", "second", "difference"]);
export const ORDERS = /** @type {const} */ (["trained", "forget", "state"]);
/** Largest mask seed, what a number field holds exactly. */
export const MAX_SEED = 2 ** 32 - 1;
/** Longest sequence in the fragment, in characters. */
const MAX_TEXT = 20_000;

/**
 * @typedef {object} State
 * @property {LstmContent} content
 * @property {number} stage index
 * @property {number} cell index of layer and direction
 * @property {number[]} values of the first sequence
 * @property {number | null} example index of the example that it is; null for another sequence
 * @property {import("./sequence.js").Target} target of a task without a rule: chosen, or that of the example
 * @property {number[] | null} second values of the sequence to compare with
 * @property {Show} show
 * @property {number | null} seed of the dropout masks; null without dropout
 * @property {Order} order of the units
 * @property {"extreme" | "mean"} binning
 * @property {{map: MapName, step: number, unit: number}} selected
 */

/**
 * Returns the state at the start.
 * @param {LstmContent} content
 * @returns {State}
 */
export function initialState(content) {
  const [example] = content.examples;
  const values = example?.values ?? randomSequence(content, Math.min(content.length, 200));
  return {
    content,
    stage: content.stages.length - 1,
    cell: (content.numLayers - 1) * (content.bidirectional ? 2 : 1),
    values,
    example: example ? 0 : null,
    target: example?.target ?? null,
    second: null,
    show: "first",
    seed: null,
    order: content.cell === "rnn" ? "state" : "forget",
    binning: "extreme",
    selected: { map: content.cell === "rnn" ? "h" : "f", step: values.length / channels(content) - 1, unit: -1 },
  };
}

/**
 * Returns the target of a sequence, null if there is none.
 * @param {State} state
 * @param {number[]} values
 * @returns {import("./sequence.js").Target}
 */
export function targetOf({ content, target: chosen }, values) {
  const target = hasRule(content) ? ruleTarget(content, values) : chosen;
  const isEveryStep = content.target === "class at every step";
  if (target === null || Array.isArray(target) !== isEveryStep) return null;
  return Array.isArray(target) && target.length !== values.length ? null : target;
}

/**
 * Returns an integer of the fragment or of a field; `missing` if it is none from `min` to `max`.
 * @template Missing
 * @param {string | null} text
 * @param {number} min
 * @param {number} max
 * @param {Missing} missing
 * @returns {number | Missing}
 */
export function readInteger(text, min, max, missing) {
  if (!text || !/^\d{1,15}$/.test(text)) return missing;
  const value = Number(text);
  return value >= min && value <= max ? value : missing;
}

/**
 * Returns a word of the fragment if it is one of those allowed.
 * @template {string} Word
 * @param {string | null} text
 * @param {readonly Word[]} words
 * @param {Word} missing
 */
const readWord = (text, words, missing) => words.find((word) => word === text) ?? missing;

/**
 * @param {LstmContent} content
 * @param {string | null} text
 */
function readSequence(content, text) {
  if (!text) return null;
  const { values } = parseSequence(content, text);
  return values.length ? values : null;
}

/**
 * Restores the state of a run from the fragment.
 * @param {LstmContent} content
 * @param {URLSearchParams} view
 * @returns {State}
 */
export function readState(content, view) {
  const state = initialState(content);
  const cells = content.numLayers * (content.bidirectional ? 2 : 1);
  state.stage = readInteger(view.get("stage"), 1, content.stages.length, state.stage + 1) - 1;
  const layer = readInteger(view.get("layer"), 1, content.numLayers, null);
  if (layer !== null) {
    const isBackward = content.bidirectional && view.get("direction") === "backward";
    state.cell = Math.min(cells - 1, (layer - 1) * (content.bidirectional ? 2 : 1) + (isBackward ? 1 : 0));
  }
  const example = readInteger(view.get("example"), 1, content.examples.length, null);
  const typed = readSequence(content, view.get("sequence"));
  if (example !== null) {
    state.example = example - 1;
    ({ values: state.values, target: state.target } = content.examples[example - 1]);
  } else if (typed) {
    [state.values, state.example, state.target] = [typed, null, null];
  }
  const target = readInteger(view.get("target"), 0, content.outputSize - 1, null);
  if (target !== null && content.target === "class" && !hasRule(content)) state.target = target;
  state.second = readSequence(content, view.get("compare"));
  if (state.second) state.show = readWord(view.get("show"), SHOWS, "difference");
  if (content.hiddenDropout > 0) state.seed = readInteger(view.get("seed"), 0, MAX_SEED, null);
  state.order = readWord(view.get("units"), ORDERS, state.order);
  if (content.cell === "rnn" && state.order === "forget") state.order = "state";
  if (view.get("columns") === "mean") state.binning = "mean";
  readSelection(state, view.get("cell"));
  return state;
}

/**
 * Restores the selected cell, MAP.STEP.UNIT, both counted from 1.
 * @param {State} state
 * @param {string | null} text
 */
function readSelection({ content, selected, values }, text) {
  selected.step = values.length / channels(content) - 1;
  const [map, step, unit] = (text ?? "").split(".");
  if (content.cell !== "rnn") selected.map = readWord(map, MAP_NAMES, selected.map);
  selected.step = readInteger(step ?? "", 1, MAX_STEPS, selected.step + 1) - 1;
  selected.unit = readInteger(unit ?? "", 1, content.hiddenSize, 0) - 1;
}

/**
 * Writes a sequence, unless it is too long for an address.
 * @param {Record<string, string>} view
 * @param {string} key
 * @param {LstmContent} content
 * @param {number[]} values
 */
function writeSequence(view, key, content, values) {
  const text = formatSequence(content, values).replaceAll("\n", ";");
  if (text.length <= MAX_TEXT) view[key] = text;
}

/**
 * Writes the state for the fragment.
 * @param {State} state
 * @returns {Record<string, string>}
 */
export function writeState(state) {
  const { content, selected } = state;
  const directions = content.bidirectional ? 2 : 1;
  /** @type {Record<string, string>} */
  const view = { run: content.id };
  if (state.example !== null) view.example = String(state.example + 1);
  else writeSequence(view, "sequence", content, state.values);
  if (content.stages.length > 1) view.stage = String(state.stage + 1);
  if (content.numLayers > 1 || directions > 1) view.layer = String(Math.floor(state.cell / directions) + 1);
  if (directions > 1) view.direction = state.cell % 2 ? "backward" : "forward";
  if (typeof state.target === "number" && content.target === "class" && state.example === null && !hasRule(content))
    view.target = String(state.target);
  if (state.second) {
    writeSequence(view, "compare", content, state.second);
    view.show = state.show;
  }
  if (state.seed !== null) view.seed = String(state.seed);
  view.units = state.order;
  if (state.binning === "mean") view.columns = "mean";
  view.cell = `${selected.map}.${selected.step + 1}.${selected.unit + 1}`;
  return view;
}
