/**
 * Spread of the output over 100 dropout masks: one mark per mask and class, beside the output without dropout.
 *
 * The masks are computed a few at a time, so that the page stays responsive.
 */
import { fill, h } from "../../ui/dom.js";
import { formatNumber, formatPercent } from "./format.js";
import { bestClass, classNames } from "./texts.js";

/** @typedef {import("../../types.js").LstmContent} LstmContent */

export const NUM_MASKS = 100;
/** Milliseconds of computation between two frames. */
const SLICE = 12;
const MAX_ROWS = 12;

export class Spread {
  #job = 0;

  /** @param {(text: string) => void} announce */
  constructor(announce) {
    this.announce = announce;
    this.summary = h("p", { class: "lstm-spread-summary" });
    this.head = h(
      "thead",
      {},
      h(
        "tr",
        {},
        ["class", "100 masks", "median", "5 % to 95 %", "no dropout"].map((name) => h("th", { scope: "col" }, name)),
      ),
    );
    this.body = h("tbody");
    this.table = h(
      "table",
      { class: "lstm-spread" },
      h("caption", {}, "Output after the last step over 100 masks"),
      this.head,
      this.body,
    );
    this.element = h(
      "div",
      { class: "lstm-spread-box" },
      this.summary,
      h(
        "div",
        { class: "lstm-scroll", tabIndex: 0, role: "region", "aria-label": "Table of the outputs of all masks" },
        this.table,
      ),
    );
  }

  stop() {
    this.#job++;
  }

  /**
   * Computes the outputs of 100 masks and shows them as they come.
   * @param {LstmContent} content
   * @param {(seed: bigint | null) => Float64Array} compute output with the masks of a seed; without dropout for null
   */
  start(content, compute) {
    const job = ++this.#job;
    const plain = compute(null);
    /** @type {Float64Array[]} */
    const outputs = [];
    const step = () => {
      if (job !== this.#job) return;
      const begin = performance.now();
      do outputs.push(compute(BigInt(outputs.length)));
      while (outputs.length < NUM_MASKS && performance.now() - begin < SLICE);
      this.#show(content, outputs, plain);
      if (outputs.length < NUM_MASKS) setTimeout(step, 0);
      else this.announce(this.summary.textContent ?? "");
    };
    setTimeout(step, 0);
  }

  /**
   * @param {LstmContent} content
   * @param {Float64Array[]} outputs
   * @param {Float64Array} plain
   */
  #show(content, outputs, plain) {
    const count = outputs.length;
    const isNumber = content.target === "number";
    const progress = count < NUM_MASKS ? ` (${count} of ${NUM_MASKS} masks so far)` : "";
    if (isNumber) this.summary.textContent = `The number with masks 0 to ${count - 1}${progress}.`;
    else {
      const best = outputs.map((output) => bestClass(output));
      const votes = best.filter((k) => k === bestClass(plain)).length;
      const name = classNames(content)[bestClass(plain)];
      this.summary.textContent = `${votes} of ${count} masks predict ${name}, as the network does without dropout${progress}.`;
    }
    const names = isNumber ? ["output"] : classNames(content);
    const rows = names
      .map((name, k) => ({ name, plain: plain[k], values: outputs.map((output) => output[k]).sort((a, b) => a - b) }))
      .sort((a, b) => b.plain - a.plain)
      .slice(0, MAX_ROWS);
    const all = rows.flatMap(({ values, plain: value }) => [...values, value]);
    const [low, high] = isNumber ? [Math.min(...all), Math.max(...all)] : [0, 1];
    /** @param {number} value */
    const place = (value) => `${(100 * (value - low)) / (high - low || 1)}%`;
    const format = isNumber ? formatNumber : formatPercent;
    fill(
      this.body,
      rows.map(({ name, values, plain: value }) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, name),
          h(
            "td",
            {},
            h(
              "span",
              { class: "lstm-strip", "aria-hidden": "true" },
              values.map((v) => mark("lstm-strip-mask", place(v))),
              mark("lstm-strip-plain", place(value)),
            ),
          ),
          h("td", {}, format(quantile(values, 0.5))),
          h("td", {}, `${format(quantile(values, 0.05))} to ${format(quantile(values, 0.95))}`),
          h("td", {}, format(value)),
        ),
      ),
    );
  }
}

/**
 * @param {string} name
 * @param {string} left
 */
function mark(name, left) {
  const element = h("span", { class: name });
  element.style.setProperty("left", left);
  return element;
}

/**
 * @param {number[]} sorted
 * @param {number} p
 */
const quantile = (sorted, p) => sorted[Math.round(p * (sorted.length - 1))];
