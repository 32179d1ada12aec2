/**
 * Names of steps, classes and values in the texts of the panel.
 */
import { formatNumber, formatPercent } from "./format.js";
import { stepNoun, symbols } from "./sequence.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./state.js").MapName} MapName */
/** @typedef {import("../../types.js").LstmContent} LstmContent */

/** @type {Record<MapName, string>} */
export const MAP_TITLES = {
  i: "input gate",
  f: "forget gate",
  g: "cell candidate",
  o: "output gate",
  c: "cell state",
  h: "hidden state",
};
/**
 * Names a step and what the network reads there.
 * @param {Scene} scene
 * @param {number} step of the LSTM
 */
export function stepText({ state }, step) {
  const { content } = state;
  if (content.patchSize > 1)
    return `patch ${step + 1} (steps ${step * content.patchSize + 1} to ${(step + 1) * content.patchSize})`;
  if (content.inputKind === "numbers") return `step ${step + 1}`;
  const [a, b] = [state.values[step], state.second?.[step]];
  const names = symbols(content);
  const noun = stepNoun(content);
  if (state.second && state.show !== "first" && a !== b)
    return `step ${step + 1} (${noun} ${names[a] ?? "none"}, second ${b === undefined ? "none" : names[b]})`;
  return `step ${step + 1} (${noun} ${names[a] ?? "none"})`;
}

/**
 * Names of the classes.
 * @param {LstmContent} content
 */
export const classNames = (content) =>
  content.classNames ?? Array.from({ length: content.outputSize }, (_, k) => String(k));

/** @param {ArrayLike<number>} probabilities */
export function bestClass(probabilities) {
  let best = 0;
  for (let k = 1; k < probabilities.length; k++) if (probabilities[k] > probabilities[best]) best = k;
  return best;
}

/**
 * Says what a network predicts.
 * @param {LstmContent} content
 * @param {import("../../models/lstm.js").Trace} trace
 */
export function outputText(content, { output }) {
  if (content.target === "number") return formatNumber(output[0]);
  const best = bestClass(output);
  return `${classNames(content)[best]} (${formatPercent(output[best])})`;
}

/**
 * Smallest and largest value.
 * @param {ArrayLike<number>} values
 */
export function rangeText(values) {
  let [low, high] = [Infinity, -Infinity];
  for (let k = 0; k < values.length; k++) {
    if (values[k] < low) low = values[k];
    if (values[k] > high) high = values[k];
  }
  return low > high ? "not finite" : `from ${formatNumber(low)} to ${formatNumber(high)}`;
}

/** @param {string} text */
export const capital = (text) => text[0].toUpperCase() + text.slice(1);

/**
 * Says why there is no output after each step.
 * @param {LstmContent} content
 */
export function whyNoOutputs({ pooling, patchSize }) {
  if (pooling !== "last")
    return `This network has no output before the end: it pools the hidden states of all steps (${pooling}).`;
  if (patchSize > 1) return "This network has no output before the end: it reads patches of steps.";
  return "A bidirectional network reads the sequence again for the output after each step; this one is too long.";
}
