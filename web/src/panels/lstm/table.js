/**
 * Text alternative of the heat maps: the values of all units at the selected step, filled when it is opened.
 */
import { fill, h } from "../../ui/dom.js";
import { formatNumber } from "./format.js";
import { stepText } from "./texts.js";
import { mapNames } from "./scene.js";

export class StepTable {
  /** @type {import("./scene.js").Scene | null} */
  #scene = null;

  constructor() {
    this.summary = h("summary");
    this.body = h("div", { class: "lstm-scroll", tabIndex: 0, role: "region", "aria-label": "Values of all units" });
    this.element = h("details", { class: "lstm-table", ontoggle: () => this.#fill() }, this.summary, this.body);
  }

  /** @param {import("./scene.js").Scene} scene */
  show(scene) {
    this.#scene = scene;
    this.summary.textContent = `Numbers of all units at ${stepText(scene, scene.state.selected.step)}`;
    this.#fill();
  }

  #fill() {
    if (!this.#scene || !this.element.open) return;
    const { state, first, second, order } = this.#scene;
    const names = mapNames(state.content);
    const series = [
      { suffix: second ? " first" : "", trace: first },
      ...(second ? [{ suffix: " second", trace: second }] : []),
    ];
    /**
     * @param {import("../../models/lstm.js").Trace} trace
     * @param {number} unit
     * @param {import("./state.js").MapName} name
     */
    const value = (trace, unit, name) => trace.cells[state.cell][name][state.selected.step * order.length + unit];
    fill(
      this.body,
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "unit"),
            series.flatMap(({ suffix }) => names.map((name) => h("th", { scope: "col" }, name + suffix))),
          ),
        ),
        h(
          "tbody",
          {},
          [...order].map((unit) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, unit + 1),
              series.flatMap(({ trace }) => names.map((name) => h("td", {}, formatNumber(value(trace, unit, name))))),
            ),
          ),
        ),
      ),
    );
  }
}
