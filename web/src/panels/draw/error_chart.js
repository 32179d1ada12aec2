/**
 * Error of every start over the steps of the search, as it goes on.
 */
import { fill, h, s } from "../../ui/dom.js";

/** Height of the chart, and margins for text, in the size of the text. */
const HEIGHT = 15;
const MARGIN = { left: 3, right: 0.5, top: 0.5, bottom: 3 };

export class ErrorChart {
  /** Errors before each step and after the last, by start. @type {number[][]} */
  #curves = [];
  /** @type {number | null} */
  #baseline = null;
  #steps = 1;
  #best = 0;

  constructor() {
    this.svg = s("svg", { role: "img", "aria-label": "No search yet" });
    this.baselineName = legendEntry("baseline", "");
    this.element = h(
      "figure",
      { class: "error-chart" },
      h("figcaption", {}, "Error of every start: root-mean-square difference of the pixels"),
      this.svg,
      h(
        "ul",
        { class: "error-legend" },
        legendEntry("curve best", "the best start"),
        legendEntry("curve", "the other starts"),
        this.baselineName,
      ),
    );
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  /**
   * Begins a new search.
   * @param {number[][]} errors before each step by start; the search goes on to fill them
   * @param {number} steps
   */
  reset(errors, steps) {
    this.#curves = errors;
    this.#steps = steps;
    this.#best = 0;
    this.setBaseline(null);
    this.svg.setAttribute("aria-label", "Errors of a search that goes on");
    this.draw();
  }

  /**
   * @param {number | null} error that the search reaches for a real image
   */
  setBaseline(error) {
    this.#baseline = error;
    this.baselineName.hidden = error === null;
    if (error !== null) this.baselineName.lastChild?.replaceWith(`reached for a real image: ${format(error)}`);
  }

  /** @param {number} start the chosen one */
  setBest(start) {
    this.#best = start;
  }

  draw() {
    const width = this.svg.clientWidth;
    if (!width) return; // hidden
    const em = parseFloat(getComputedStyle(this.svg).fontSize);
    const height = HEIGHT * em;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const [left, right] = [MARGIN.left * em, width - MARGIN.right * em];
    const [top, bottom] = [MARGIN.top * em, height - MARGIN.bottom * em];
    const max = niceMax(Math.max(0.1, this.#baseline ?? 0, ...this.#curves.flat()));
    /** @param {number} step */
    const x = (step) => left + ((right - left) * step) / this.#steps;
    /** @param {number} error */
    const y = (error) => bottom - (bottom - top) * Math.min(error / max, 1);
    /** @param {number[]} curve */
    const points = (curve) => curve.map((error, step) => `${x(step).toFixed(1)},${y(error).toFixed(1)}`).join(" ");
    /** @param {number} at @param {number} line @param {string} anchor @param {string | number} text */
    const below = (at, line, anchor, text) => s("text", { x: at, y: bottom + line * em, "text-anchor": anchor }, text);
    const ticks = [0, max / 2, max].flatMap((value) => [
      s("line", { x1: left, x2: right, y1: y(value), y2: y(value), class: "rule" }),
      s("text", { x: left - 0.4 * em, y: y(value) + 0.35 * em, "text-anchor": "end" }, format(value)),
    ]);
    const lines = this.#curves.map((curve, start) =>
      s("polyline", { points: points(curve), class: start === this.#best ? "curve best" : "curve" }),
    );
    const best = lines.splice(this.#best, 1); // on top of the others
    const mark = this.#baseline === null ? 0 : y(this.#baseline);
    fill(
      this.svg,
      ...ticks,
      below(left, 1.3, "middle", 0),
      below(right, 1.3, "end", this.#steps),
      below((left + right) / 2, 2.6, "middle", "step of gradient descent"),
      ...lines,
      ...best,
      this.#baseline !== null && s("line", { x1: left, x2: right, y1: mark, y2: mark, class: "baseline" }),
    );
  }

  /** Says what the finished chart shows. */
  describe() {
    const last = this.#curves.map((curve) => curve[curve.length - 1]);
    const first = this.#curves[this.#best]?.[0];
    if (first === undefined) return;
    const ends = last.map((error, start) => `start ${start + 1} ends at ${format(error)}`).join(", ");
    const baseline = this.#baseline === null ? "" : ` For a real image the search reaches ${format(this.#baseline)}.`;
    const best = `The best, start ${this.#best + 1}, falls from ${format(first)}`;
    this.svg.setAttribute("aria-label", `Error over ${this.#steps} steps. ${best}; ${ends}.${baseline}`);
  }
}

/**
 * @param {string} kind
 * @param {string} name
 */
function legendEntry(kind, name) {
  const sample = s("svg", { viewBox: "0 0 24 8", class: "sample", "aria-hidden": "true" });
  sample.append(s("line", { x1: 1, x2: 23, y1: 4, y2: 4, class: kind }));
  return h("li", {}, sample, name || "\u00a0");
}

/** @param {number} error */
const format = (error) => String(Number(error.toPrecision(2)));

/**
 * The next number with one digit, or 1.5 or 2.5 times a power of ten.
 * @param {number} value
 */
function niceMax(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].find((factor) => factor * power >= value) ?? 10);
}
