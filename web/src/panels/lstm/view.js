/**
 * The panel of one run: controls, pictures over time, and the numbers of the selected cell.
 *
 * A change of the sequence, the stage or the mask computes new traces (`update`). A change of what is shown draws the
 * same traces again (`render`). A change of the selected step or unit only moves marks and numbers (`#select`).
 */
import { button } from "../../ui/controls.js";
import { fill, h } from "../../ui/dom.js";
import { Bars } from "./bars.js";
import { DropoutControls } from "./dropout_controls.js";
import { Equations } from "./equations.js";
import { carrierHint, networkHints } from "./hints.js";
import { NetworkControls } from "./network_controls.js";
import { Pictures } from "./pictures.js";
import { classNames, MAP_TITLES, stepText } from "./texts.js";
import { showResult } from "./result.js";
import { makeScene } from "./scene.js";
import { SelectionControls } from "./selection_controls.js";
import { SequenceControls } from "./sequence_controls.js";
import { targetOf, writeState } from "./state.js";
import { StepTable } from "./table.js";
import { Tracer } from "./tracer.js";

/** @typedef {import("../../models/lstm.js").Lstm} Lstm */
/** @typedef {import("../../models/lstm.js").Trace} Trace */
/** @typedef {import("../../explorer.js").Explorer} Explorer */
/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").MapName} MapName */

/** Multiplications that feel immediate. */
const IMMEDIATE = 2e7;
/** Milliseconds that a longer computation waits for the next key. */
const TYPING_PAUSE = 150;
/** Milliseconds between a change and the URL fragment; browsers limit how often it may change. */
const VIEW_PAUSE = 300;
const ANNOUNCE_PAUSE = 700;

export class LstmView {
  /** @type {Record<"compute" | "view" | "announce", ReturnType<typeof setTimeout> | undefined>} */
  #timers = { compute: undefined, view: undefined, announce: undefined };
  /** @type {import("./scene.js").Scene | null} */
  #scene = null;

  /**
   * @param {Lstm} lstm
   * @param {Explorer} explorer
   * @param {State} state
   */
  constructor(lstm, explorer, state) {
    this.lstm = lstm;
    this.content = lstm.content;
    this.explorer = explorer;
    this.state = state;
    this.tracer = new Tracer(lstm);
    const update = () => this.update();
    this.sequences = new SequenceControls(state, {
      setFirst: (values, example) => this.#setFirst(values, example),
      setSecond: (values) => this.#setSecond(values),
      update,
    });
    this.network = new NetworkControls(state, { update, render: () => this.render() });
    this.dropout = new DropoutControls(lstm, state, { update, announce: explorer.announce });
    this.selection = new SelectionControls(state, {
      select: (selected) => this.#select(selected),
      setSecond: (values) => this.#setSecond(values),
    });
    this.bars = new Bars();
    this.pictures = new Pictures(this.content, this.bars.element, {
      announce: explorer.announce,
      onselect: (selected) => this.#select(selected),
    });
    this.equations = new Equations(this.content);
    this.table = new StepTable();
    this.result = h("div", { class: "lstm-result" });
    this.carrier = h("p", { class: "lstm-carrier" });
    this.heading = h("h3");
    this.element = this.#layout();
    this.update();
  }

  #layout() {
    return h(
      "div",
      { class: "lstm" },
      h(
        "div",
        { class: "lstm-controls" },
        this.sequences.sequence,
        this.sequences.pair,
        this.network.element,
        this.dropout.element,
      ),
      this.dropout.spread.element,
      this.result,
      this.carrier,
      this.selection.element,
      this.pictures.charts,
      this.pictures.maps,
      h("section", { class: "lstm-details" }, this.heading, this.equations.element, this.table.element),
      h(
        "ul",
        { class: "lstm-hints" },
        networkHints(this.content).map((hint) => h("li", {}, hint)),
      ),
    );
  }

  /**
   * @param {number[]} values
   * @param {number | null} example
   */
  #setFirst(values, example) {
    const { state } = this;
    const wasLast = this.#scene && state.selected.step >= this.#scene.first.steps - 1;
    [state.values, state.example] = [values, example];
    if (wasLast) state.selected.step = Infinity; // it stays at the last step
    this.update();
  }

  /** @param {number[] | null} values */
  #setSecond(values) {
    const { state } = this;
    if (!values) state.show = "first";
    else if (!state.second) state.show = "difference";
    state.second = values;
    this.update();
  }

  /** Computes the traces, at once or after a pause, and shows them. */
  update() {
    clearTimeout(this.#timers.compute);
    this.sequences.show();
    if (!this.#scene || this.tracer.cost(this.state) <= IMMEDIATE) {
      this.#compute();
      return;
    }
    this.element.setAttribute("aria-busy", "true");
    this.#timers.compute = setTimeout(() => this.#compute(), TYPING_PAUSE);
  }

  #compute() {
    const { state } = this;
    const isFirst = !this.#scene;
    const { first, second } = this.tracer.traces(state);
    this.#scene = makeScene(state, first, second);
    this.element.removeAttribute("aria-busy");
    this.render();
    this.dropout.show();
    clearTimeout(this.#timers.announce);
    if (isFirst) return; // nobody has done anything yet
    this.#timers.announce = setTimeout(() => this.explorer.announce(this.result.innerText), ANNOUNCE_PAUSE);
  }

  /** Shows the traces. */
  render() {
    if (!this.#scene) return;
    const { state, content } = this;
    const scene = makeScene(state, this.#scene.first, this.#scene.second);
    this.#scene = scene;
    const { selected } = state;
    selected.step = Math.min(selected.step, scene.steps - 1);
    if (selected.unit < 0 || selected.unit >= content.hiddenSize) selected.unit = scene.order[0];
    this.network.show(scene.steps);
    showResult(this.result, content, this.#results());
    this.#showCarrier(scene);
    this.pictures.show(scene);
    this.#showSelection();
  }

  /** The traces that there are, with name and target. */
  #results() {
    const { state } = this;
    const { first, second } = /** @type {import("./scene.js").Scene} */ (this.#scene);
    /** @param {string} name @param {number[]} values @param {Trace} trace */
    const result = (name, values, trace) => ({ name, values, trace, target: targetOf(state, values) });
    if (!second || !state.second) return [result("", state.values, first)];
    return [result("first", state.values, first), result("second", state.second, second)];
  }

  /** @param {import("./scene.js").Scene} scene */
  #showCarrier(scene) {
    this.carrier.hidden = !scene.second;
    const hint = carrierHint(scene);
    if (!hint) fill(this.carrier, "At the end of its reading the states of this cell do not differ.");
    else {
      const { text, unit, step } = hint;
      fill(
        this.carrier,
        `${text} `,
        button("Select this unit", () => this.#select({ unit, step })),
      );
    }
  }

  /** @param {{map?: MapName, step?: number, unit?: number}} selected */
  #select(selected) {
    Object.assign(this.state.selected, selected);
    this.pictures.select();
    this.#showSelection();
    if (selected.map && this.#scene) {
      clearTimeout(this.#timers.announce);
      const { step, unit } = this.state.selected;
      this.explorer.announce(`${stepText(this.#scene, step)}, unit ${unit + 1}: ${this.equations.summary}`);
    }
  }

  /** Shows the selected step and unit: equations, probabilities, numbers. */
  #showSelection() {
    const scene = this.#scene;
    if (!scene) return;
    const { state } = this;
    const { step, unit, map } = state.selected;
    this.selection.show(scene);
    fill(this.heading, `Unit ${unit + 1} at ${stepText(scene, step)}: ${MAP_TITLES[map]} ${map}`);
    const results = this.#results().filter(({ trace }) => step < trace.steps);
    this.equations.show(
      map,
      results.map(({ name, trace }) => ({
        name,
        terms: this.lstm.gateTerms(state.stage, state.cell, trace, step, unit),
      })),
      scene.first.cells[state.cell],
    );
    this.#showBars(results);
    this.table.show(scene);
    clearTimeout(this.#timers.view);
    this.#timers.view = setTimeout(() => this.explorer.viewChanged(), VIEW_PAUSE);
  }

  /** @param {{name: string, trace: Trace, target: import("./sequence.js").Target}[]} results */
  #showBars(results) {
    const { content, state } = this;
    this.bars.element.hidden = content.target === "number";
    if (content.target === "number") return;
    const C = content.outputSize;
    const { step } = state.selected;
    const isLast = results.some(({ trace }) => !trace.outputs);
    const target = results[0]?.target ?? null;
    this.bars.show(
      `Class probabilities after ${isLast ? "the last step" : `step ${step + 1}`}`,
      classNames(content),
      results.map(({ name, trace }) => ({
        name,
        values: isLast || !trace.outputs ? trace.output : trace.outputs.subarray(step * C, (step + 1) * C),
      })),
      Array.isArray(target) ? target[step] : target,
    );
  }

  view() {
    return writeState(this.state);
  }

  destroy() {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    this.dropout.destroy();
    this.pictures.destroy();
  }
}
