/**
 * Controls of the sequences: what the network reads, and a second sequence to compare with.
 */
import { button, select, toggle } from "../../ui/controls.js";
import { h } from "../../ui/dom.js";
import { fieldLabel, SequenceField } from "./editor.js";
import { classNames } from "./texts.js";
import { group, radios } from "./radios.js";
import { changedAt, formatSequence, hasRule, isGenerated, randomSequence } from "./sequence.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("../../types.js").LstmContent} LstmContent */

/** Characters of an example in the list. */
const MAX_NAME = 12;

/**
 * What the controls change. Each ends with an update of the panel.
 * @typedef {object} SequenceActions
 * @property {(values: number[], example: number | null) => void} setFirst
 * @property {(values: number[] | null) => void} setSecond
 * @property {() => void} update
 */

export class SequenceControls {
  /**
   * @param {State} state
   * @param {SequenceActions} actions
   */
  constructor(state, actions) {
    this.state = state;
    this.content = state.content;
    this.actions = actions;
    const { content } = this;
    this.first = new SequenceField(content, fieldLabel(content), (values) => actions.setFirst(values, null));
    this.second = new SequenceField(content, "Second sequence", actions.setSecond);
    this.example = content.examples.length ? this.#exampleControl() : null;
    this.target = content.target === "class" && !hasRule(content) ? this.#targetControl() : null;
    this.compare = toggle("Compare with a second sequence", state.second !== null, (checked) =>
      actions.setSecond(checked ? changedAt(content, state.values, 0) : null),
    );
    this.shown = radios(
      "Show",
      [
        ["first", "first"],
        ["second", "second"],
        ["difference", "second − first"],
      ],
      state.show,
      (value) => {
        state.show = value;
        actions.update();
      },
    );
    this.comparison = h("div", { class: "lstm-comparison" }, this.second.element, this.shown.element);
    this.sequence = group(
      "Sequence",
      this.first.element,
      h("div", { class: "lstm-row" }, this.#randomButton(), this.example?.element),
      this.target?.element,
    );
    this.pair = group("Comparison", this.compare.element, this.comparison);
  }

  #randomButton() {
    const { content, actions } = this;
    if (!isGenerated(content)) return null;
    const steps = content.examples[0]?.steps ?? Math.min(content.length, 200);
    return button(`Random ${content.task === "palindrome" ? "palindrome" : "sequence"}`, () =>
      actions.setFirst(randomSequence(content, steps), null),
    );
  }

  #exampleControl() {
    const { content, state, actions } = this;
    /** @type {[string, string][]} */
    const choices = content.examples.map((_, k) => [String(k), exampleName(content, k)]);
    return select("Example", [["", "choose"], ...choices], "", (value) => {
      if (value === "") return;
      const { values, target } = content.examples[Number(value)];
      state.target = target;
      actions.setFirst(values, Number(value));
    });
  }

  /** Target of a task whose rule the page does not know. */
  #targetControl() {
    const { content, state, actions } = this;
    /** @type {[string, string][]} */
    const choices = classNames(content).map((name, k) => [String(k), name]);
    return select("Target class, for the loss and its gradient", [["", "none"], ...choices], "", (value) => {
      state.target = value === "" ? null : Number(value);
      if (state.example !== null && state.target !== content.examples[state.example].target) state.example = null;
      actions.update();
    });
  }

  /** Writes the state into the controls that do not have it yet. */
  show() {
    const { values, second, example, target, show } = this.state;
    this.first.show(values);
    if (second) this.second.show(second);
    this.compare.control.checked = second !== null;
    this.comparison.hidden = second === null;
    this.shown.set(show);
    if (this.example) this.example.control.value = example === null ? "" : String(example);
    if (this.target) this.target.control.value = typeof target === "number" ? String(target) : "";
  }
}

/**
 * Name of an example in the list: its number, how it begins, its class.
 * @param {LstmContent} content
 * @param {number} index
 */
function exampleName(content, index) {
  const { values, target } = content.examples[index];
  const text = content.inputKind === "symbols" ? formatSequence(content, values.slice(0, MAX_NAME + 1)) : "";
  const start = text.length > MAX_NAME ? `${text.slice(0, MAX_NAME - 1)}…` : text;
  const name = content.target === "class" && typeof target === "number" ? classNames(content)[target] : "";
  return [`${index + 1}`, start, name && `target ${name}`].filter(Boolean).join(": ");
}
