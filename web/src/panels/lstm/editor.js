/**
 * Text field of a sequence, with the problem of what was typed.
 */
import { h, uniqueId } from "../../ui/dom.js";
import { formatSequence, MAX_STEPS, parseSequence, stepNoun } from "./sequence.js";

/** @typedef {import("../../types.js").LstmContent} LstmContent */

/** Sequences above this number of characters stand in a text area that scrolls. */
const ONE_LINE = 60;

export class SequenceField {
  /**
   * @param {LstmContent} content
   * @param {string} label
   * @param {(values: number[]) => void} onchange
   */
  constructor(content, label, onchange) {
    this.content = content;
    const id = uniqueId();
    const hint = uniqueId();
    this.problem = h("p", { class: "lstm-problem", role: "alert", id: hint });
    const example = content.examples[0] ? formatSequence(content, content.examples[0].values) : "";
    const isLong = content.inputKind === "numbers" || content.length > ONE_LINE || example.length > ONE_LINE;
    this.control = h(isLong ? "textarea" : "input", {
      id,
      class: "lstm-typed",
      spellcheck: false,
      autocomplete: "off",
      "aria-describedby": hint,
      oninput: () => this.#read(onchange),
    });
    if (this.control instanceof HTMLTextAreaElement) this.control.rows = 3;
    else if (content.inputKind === "symbols") this.control.inputMode = "numeric";
    this.element = h(
      "div",
      { class: "field lstm-sequence" },
      h("label", { for: id }, label),
      this.control,
      this.problem,
    );
  }

  /** @param {(values: number[]) => void} onchange */
  #read(onchange) {
    const { values, problem } = parseSequence(this.content, this.control.value);
    const isLong = values.length / (this.content.inputKind === "symbols" ? 1 : this.content.inputSize) >= MAX_STEPS;
    this.problem.textContent = problem || (isLong ? `Only the first ${MAX_STEPS} steps count.` : "");
    this.control.setAttribute("aria-invalid", String(Boolean(problem)));
    if (!problem) onchange(values);
  }

  /**
   * Writes a sequence into the field, unless its text already means it.
   * @param {number[]} values
   */
  show(values) {
    const { values: typed, problem } = parseSequence(this.content, this.control.value);
    if (!problem && typed.length === values.length && typed.every((value, k) => value === values[k])) return;
    this.control.value = formatSequence(this.content, values);
    this.problem.textContent = "";
    this.control.setAttribute("aria-invalid", "false");
  }
}

/**
 * Name of a sequence field.
 * @param {LstmContent} content
 */
export function fieldLabel(content) {
  if (content.task === "palindrome") return "Digits that the network reads";
  if (content.inputKind === "symbols")
    return `${stepNoun(content)[0].toUpperCase()}${stepNoun(content).slice(1)}s that the network reads`;
  return content.inputSize > 1 ? `Numbers, ${content.inputSize} per step` : "Numbers that the network reads";
}
