/**
 * Class probabilities at one step as bars with their numbers; with many classes only the largest.
 */
import { fill, h } from "../../ui/dom.js";
import { formatPercent } from "./format.js";

const MAX_ROWS = 12;

export class Bars {
  constructor() {
    this.caption = h("caption");
    this.body = h("tbody");
    this.head = h("thead");
    this.element = h("table", { class: "lstm-bars" }, this.caption, this.head, this.body);
  }

  /**
   * @param {string} caption
   * @param {string[]} names of the classes
   * @param {{name: string, values: ArrayLike<number>}[]} series one per sequence
   * @param {number | null} target
   */
  show(caption, names, series, target) {
    this.caption.textContent = caption;
    /** @param {number} k */
    const size = (k) => Math.max(...series.map(({ values }) => values[k]));
    const classes = names.map((_, k) => k);
    const shown =
      names.length <= MAX_ROWS
        ? classes
        : classes
            .sort((a, b) => size(b) - size(a))
            .slice(0, MAX_ROWS)
            .sort((a, b) => a - b);
    fill(
      this.head,
      h(
        "tr",
        { class: series.length > 1 ? "" : "visually-hidden" },
        h("th", { scope: "col" }, "class"),
        series.map(({ name }) => h("th", { scope: "col" }, name || "probability")),
      ),
    );
    fill(
      this.body,
      shown.map((k) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, names[k], k === target ? h("span", { class: "target" }, " target") : null),
          series.map(({ values }, number) =>
            h("td", {}, bar(values[k], number + 1), h("span", {}, formatPercent(values[k]))),
          ),
        ),
      ),
    );
  }
}

/**
 * @param {number} value
 * @param {number} color
 */
function bar(value, color) {
  const fillElement = h("span", { class: `lstm-bar-fill color-${color}` });
  fillElement.style.setProperty("width", `${100 * Math.min(Math.max(value, 0), 1)}%`);
  return h("span", { class: "lstm-bar", "aria-hidden": "true" }, fillElement);
}
