/**
 * What the network predicts, in a sentence, beside the target.
 */
import { fill, h } from "../../ui/dom.js";
import { formatNumber } from "./format.js";
import { bestClass, classNames, outputText } from "./texts.js";
import { beginsPalindrome } from "./sequence.js";

/** @typedef {import("../../models/lstm.js").Trace} Trace */
/** @typedef {import("./sequence.js").Target} Target */
/** @typedef {import("../../types.js").LstmContent} LstmContent */
/** @typedef {import("../../ui/dom.js").Child} Child */

/**
 * Shows the result of one sequence or two.
 * @param {Element} element
 * @param {LstmContent} content
 * @param {{name: string, values: number[], trace: Trace, target: Target}[]} results
 */
export function showResult(element, content, results) {
  fill(
    element,
    results.map(({ name, values, trace, target }) =>
      h(
        "p",
        {},
        name ? `${name === "first" ? "First" : "Second"} sequence: ` : "",
        ...(Array.isArray(target) ? everyStep(content, trace, target) : lastStep(content, trace, target)),
        trace.loss === null ? "." : `, loss ${formatNumber(trace.loss)}.`,
        note(`${since(content, trace)} ${unusual(content, values)}`),
      ),
    ),
  );
}

/**
 * @param {LstmContent} content
 * @param {Trace} trace
 * @param {number | null} target
 * @returns {Child[]}
 */
function lastStep(content, trace, target) {
  const prediction = ["prediction ", h("strong", {}, outputText(content, trace))];
  if (target === null) return prediction;
  if (content.target === "number") return [...prediction, `, target ${formatNumber(target)}`];
  const isRight = bestClass(trace.output) === target;
  const verdict = h("span", { class: isRight ? "right" : "wrong" }, isRight ? "right" : "wrong");
  return [...prediction, `, target ${classNames(content)[target]}: `, verdict];
}

/**
 * @param {LstmContent} content
 * @param {Trace} trace
 * @param {number[]} target
 * @returns {Child[]}
 */
function everyStep(content, { outputs }, target) {
  if (!outputs) return [];
  const right = target.filter((k, t) => classAfter(content, outputs, t) === k).length;
  return ["the most probable class is right after ", h("strong", {}, `${right} of ${target.length} steps`)];
}

/** @param {string} text */
const note = (text) => h("span", { class: "lstm-since" }, ` ${text.trim()}`);

/**
 * Says if the network never saw such a sequence.
 * @param {LstmContent} content
 * @param {number[]} values
 */
const unusual = (content, values) =>
  content.task === "palindrome" && !beginsPalindrome(values)
    ? "These digits begin no palindrome: the network never saw such a sequence."
    : "";

/**
 * Says from which step on the prediction stays.
 * @param {LstmContent} content
 * @param {Trace} trace
 */
function since(content, { outputs, output, steps }) {
  if (content.target !== "class" || !outputs || steps < 2) return "";
  const last = bestClass(output);
  let step = steps - 1;
  while (step > 0 && classAfter(content, outputs, step - 1) === last) step--;
  const name = classNames(content)[last];
  if (step === steps - 1) return `Only after the last step ${name} is the most probable class.`;
  return `${name} is the most probable class from step ${step + 1} on.`;
}

/**
 * The most probable class after a step.
 * @param {LstmContent} content
 * @param {Float64Array} outputs
 * @param {number} t
 */
const classAfter = ({ outputSize }, outputs, t) => bestClass(outputs.subarray(t * outputSize, (t + 1) * outputSize));
