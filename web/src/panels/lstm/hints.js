/**
 * What to keep in mind about the network at hand, in sentences.
 */
import { formatNumber } from "./format.js";
import { carrier } from "./scene.js";

/** @typedef {import("../../types.js").LstmContent} LstmContent */

/**
 * Returns what is special about this network.
 * @param {LstmContent} content
 * @returns {string[]}
 */
export function networkHints(content) {
  const hints = [];
  if (content.cell === "rnn")
    hints.push("A vanilla RNN has no gates and no cell state: each step computes the whole hidden state again.");
  else
    hints.push(
      "A forget gate f near 1 keeps the cell state c of its unit, one near 0 erases it. " +
        "Sorted by their mean forget gate, the units with the longest memory are on top.",
    );
  if (content.target === "class at every step")
    hints.push("The network gives a class after each step, and each one counts in the loss.");
  if (content.target === "number") hints.push("The output is a number. At which steps does it jump?");
  if (content.bidirectional)
    hints.push(
      "The backward cells read from right to left. Their memory starts at the last step, " +
        "and the state before that of step t is that of step t + 1.",
    );
  if (content.patchSize > 1)
    hints.push(`One step of the LSTM reads a patch of ${content.patchSize} steps of the input.`);
  if (content.hiddenDropoutKind === "zoneout" && content.hiddenDropout > 0)
    hints.push(
      `Zoneout: in training a unit keeps its previous hidden state with probability ${content.hiddenDropout}. ` +
        "Without a random mask it keeps that fraction of it.",
    );
  return hints;
}

/**
 * Says which unit carries the difference of the two sequences to the end.
 * @param {import("./scene.js").Scene} scene
 * @returns {{text: string, unit: number, step: number} | null}
 */
export function carrierHint(scene) {
  const found = carrier(scene);
  if (!found) return null;
  const { unit, change, last, meanForget } = found;
  const letter = meanForget === null ? "h" : "c";
  const mean = meanForget === null ? "" : formatNumber(meanForget, 2);
  const gate = mean && ` Its forget gate is ${mean} on average in the first sequence.`;
  const amount = `the change of ${letter} is ${formatNumber(change, 2)}`;
  return {
    text: `Unit ${unit + 1} differs most after the last step that its cell reads: ${amount}.${gate}`,
    unit,
    step: last,
  };
}
