/**
 * What the network predicts, in a sentence, beside the target.
 */
import { fill, h } from "../../ui/dom.js";
import { formatNumber } from "./format.js";
import { bestClass, classNames, outputText } from "./pictures.js";

/** @typedef {import("../../models/lstm.js").Trace} Trace */
/** @typedef {import("./sequence.js").Target} Target */
/** @typedef {import("../../types.js").LstmContent} LstmContent */

/**
 * Shows the result of one sequence or two.
 * @param {Element} element
 * @param {LstmContent} content
 * @param {{name: string, trace: Trace, target: Target}[]} results
 */
export function showResult(element, content, results) {
  const isEveryStep = content.target === "class at every step";
  fill(
    element,
    results.map(({ name, trace, target }, k) => [
      k ? h("br") : null,
      `${[name, isEveryStep ? "result" : "prediction after the last step"].filter(Boolean).join(" ").replace(/^./, (first) => first.toUpperCase())}: `,
      ...(Array.isArray(target) ? everyStep(content, trace, target) : lastStep(content, trace, target)),
      ".",
    ]).flat(),
  );
}

/**
 * @param {LstmContent} content
 * @param {Trace} trace
 * @param {number | null} target
 */
function lastStep(content, trace, target) {
  const name = target === null ? "unknown" : content.target === "number" ? formatNumber(target) : classNames(content)[target];
  return [
    h("strong", {}, outputText(content, trace)),
    `, target ${name}`,
    trace.loss === null ? "" : `, loss ${formatNumber(trace.loss)}`,
  ];
}

/**
 * @param {LstmContent} content
 * @param {Trace} trace
 * @param {number[]} target
 */
function everyStep(content, { outputs, loss }, target) {
  const C = content.outputSize;
  const right = outputs && target.filter((k, t) => bestClass(outputs.subarray(t * C, (t + 1) * C)) === k).length;
  return [
    "the most probable class is right after ",
    h("strong", {}, `${right} of ${target.length} steps`),
    loss === null ? "" : `, loss ${formatNumber(loss)}`,
  ];
}
