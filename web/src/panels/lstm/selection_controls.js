/**
 * Controls of the selected step and unit, and of the value of the second sequence at that step.
 */
import { select, slider } from "../../ui/controls.js";
import { h, uniqueId } from "../../ui/dom.js";
import { stepText } from "./texts.js";
import { channels, stepNoun, symbols } from "./sequence.js";

/** @typedef {import("./state.js").State} State */

/**
 * @typedef {object} SelectionActions
 * @property {(selected: {step?: number, unit?: number}) => void} select
 * @property {(values: number[]) => void} setSecond
 */

export class SelectionControls {
  /** Number of the selected step that the field changes: its channel, and with patches the step of the patch. */
  #number = 0;
  /** @type {import("./scene.js").Scene | null} */
  #scene = null;

  /**
   * @param {State} state
   * @param {SelectionActions} actions
   */
  constructor(state, actions) {
    this.state = state;
    this.content = state.content;
    this.actions = actions;
    const { patchSize, hiddenSize } = this.content;
    this.step = slider(
      patchSize > 1 ? "Patch" : "Step",
      { min: 1, max: 1, step: 1, value: 1 },
      (value) => actions.select({ step: value - 1 }),
      (value) => (this.#scene ? stepText(this.#scene, value - 1) : String(value)),
    );
    this.unit = numberField(`Unit, 1 to ${hiddenSize}`, { min: "1", max: String(hiddenSize), step: "1" }, (value) => {
      if (Number.isInteger(value) && value >= 1 && value <= hiddenSize) actions.select({ unit: value - 1 });
    });
    this.value = this.#valueControl();
    this.element = h(
      "div",
      { class: "lstm-selection" },
      this.step.element,
      this.unit.element,
      h("div", { class: "lstm-row" }, this.#numberControl(), this.value.element),
    );
  }

  /** Control of the symbol or number at the selected step, in the second sequence. */
  #valueControl() {
    const { content } = this;
    const label = `Change this ${stepNoun(content)} and compare`;
    if (content.inputKind === "numbers")
      return numberField(label, { step: "any" }, (value) => Number.isFinite(value) && this.#change(value), "change");
    /** @type {[string, string][]} */
    const choices = symbols(content).map((name, k) => [String(k), name]);
    return select(label, choices, "0", (value) => this.#change(Number(value)));
  }

  /** Choice among the numbers of a step or patch, if there are several. */
  #numberControl() {
    const { inputKind, inputSize, patchSize, channelNames } = this.content;
    const count = patchSize * channels(this.content);
    if (count === 1) return null;
    /** @type {[string, string][]} */
    const choices = Array.from({ length: count }, (_, k) => {
      const step = patchSize > 1 ? `step ${Math.floor(k / channels(this.content)) + 1} of the patch` : "";
      const name = inputKind === "numbers" && inputSize > 1 ? channelNames[k % inputSize] : "";
      return [String(k), [step, name].filter(Boolean).join(", ")];
    });
    return select("Number", choices, "0", (value) => {
      this.#number = Number(value);
      this.#showValue();
    }).element;
  }

  get #index() {
    return this.state.selected.step * this.content.patchSize * channels(this.content) + this.#number;
  }

  /**
   * Changes a value of the second sequence, which becomes a copy of the first if there is none.
   * @param {number} value
   */
  #change(value) {
    const values = [...(this.state.second ?? this.state.values)];
    if (this.#index >= values.length) return;
    values[this.#index] = value;
    this.actions.setSecond(values);
  }

  #showValue() {
    const value = (this.state.second ?? this.state.values)[this.#index];
    this.value.control.value = value === undefined ? "" : String(value);
  }

  /** @param {import("./scene.js").Scene} scene */
  show(scene) {
    this.#scene = scene;
    const { step, unit } = this.state.selected;
    this.step.control.max = String(scene.steps);
    this.step.set(step + 1);
    if (this.unit.control.valueAsNumber !== unit + 1) this.unit.control.value = String(unit + 1);
    this.#showValue();
  }
}

/**
 * A field for a number.
 * @param {string} label
 * @param {Record<string, string>} properties
 * @param {(value: number) => void} onchange
 * @param {"input" | "change"} [event] after each key, or when the number is complete
 */
function numberField(label, properties, onchange, event = "input") {
  const id = uniqueId();
  const control = h("input", { id, type: "number", ...properties });
  control.addEventListener(event, () => onchange(control.valueAsNumber));
  return { element: h("div", { class: "field" }, h("label", { for: id }, label), control), control };
}
