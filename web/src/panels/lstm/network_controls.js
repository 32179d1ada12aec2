/**
 * Controls of the network: stage of training, layer and direction, order of the units.
 */
import { select } from "../../ui/controls.js";
import { append, h } from "../../ui/dom.js";
import { group, radios } from "./radios.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("../../types.js").LstmContent} LstmContent */

/** A picture has at least so many columns of pixels. */
const MANY_STEPS = 200;

export class NetworkControls {
  /**
   * @param {State} state
   * @param {{update: () => void, render: () => void}} actions `update` computes again, `render` only draws
   */
  constructor(state, actions) {
    this.state = state;
    this.content = state.content;
    this.actions = actions;
    this.binning = this.#binningControl();
    this.element = group("Network");
    append(this.element, this.#stageControl(), this.#cellControl(), this.#orderControl(), this.binning);
  }

  #stageControl() {
    const { stages } = this.content;
    const { state, actions } = this;
    if (stages.length < 2) return h("p", {}, `Weights of ${stages[0]?.label ?? "the last epoch"}.`);
    const names = stages.length === 2 ? ["first", "last"] : ["first", "middle", "last"];
    /** @type {[string, string][]} */
    const choices = stages.map(({ label }, k) => [String(k), names[k] ? `${label} (${names[k]})` : label]);
    return radios("Stage of training", choices, String(state.stage), (value) => {
      state.stage = Number(value);
      actions.update();
    }).element;
  }

  #cellControl() {
    const { numLayers, bidirectional } = this.content;
    const directions = bidirectional ? 2 : 1;
    if (numLayers * directions === 1) return null;
    /** @type {[string, string][]} */
    const choices = Array.from({ length: numLayers * directions }, (_, k) => {
      const layer = numLayers > 1 ? `layer ${Math.floor(k / directions) + 1}` : "";
      const direction = directions > 1 ? (k % 2 ? "backward" : "forward") : "";
      return [String(k), [layer, direction].filter(Boolean).join(", ")];
    });
    const label = numLayers > 1 ? (directions > 1 ? "Layer and direction" : "Layer") : "Direction";
    return select(label, choices, String(this.state.cell), (value) => {
      this.state.cell = Number(value);
      this.actions.render();
    }).element;
  }

  #orderControl() {
    const isRnn = this.content.cell === "rnn";
    /** @type {[import("./state.js").Order, string][]} */
    const orders = [
      ["trained", "as trained"],
      ["forget", "by their mean forget gate"],
      ["state", isRnn ? "by h at the last step" : "by c at the last step"],
    ];
    const choices = orders.filter(([order]) => !isRnn || order !== "forget");
    return select("Order of the units", choices, this.state.order, (order) => {
      this.state.order = order;
      this.actions.render();
    }).element;
  }

  #binningControl() {
    const { state, actions } = this;
    const control = select(
      "A column of pixels shows",
      [
        ["extreme", "the extreme of its steps"],
        ["mean", "the mean of its steps"],
      ],
      state.binning,
      (binning) => {
        state.binning = binning;
        actions.render();
      },
    );
    const note =
      "There are more steps than pixels. The extreme is the value farthest from the mean of the unit, so a short " +
      "event does not vanish. The selected step is always exact.";
    return h("div", {}, control.element, h("p", { class: "lstm-note" }, note));
  }

  /** @param {number} steps of the pictures */
  show(steps) {
    this.binning.hidden = steps < MANY_STEPS;
  }
}
