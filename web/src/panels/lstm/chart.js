/**
 * Line chart over the steps in a frame, aligned with the heat maps: gradient norms on a logarithmic axis, a number, or the
 * input.
 */
import { select } from "d3-selection";
import { fitTicks, makeAxis } from "../../ui/chart_scale.js";
import { drawLine, lineSample, styleOf } from "../../ui/chart_series.js";
import { fill, h } from "../../ui/dom.js";
import { formatLimit, superscript } from "./format.js";
import { Frame } from "./frame.js";

/** Most steps with a dot each. */
const MAX_DOTS = 60;
/** Orders of magnitude that a logarithmic axis shows at most. */
const MAX_DECADES = 30;
/** Least distance of two ticks, and the margin above and below, in CSS pixels. */
const TICK = 30;
const MARGIN = 6;

/**
 * @typedef {object} Line
 * @property {string} name
 * @property {ArrayLike<number>} values one per step
 * @property {number} color index
 * @property {boolean} [dashed]
 */

/**
 * @typedef {object} ChartContent
 * @property {Line[]} lines
 * @property {number} [level] a horizontal line, such as a target
 * @property {string} [levelName]
 * @property {string} label accessible name: the message
 * @property {import("./frame.js").Steps} steps
 * @property {number} [slots] width of the axis in steps, if it is longer than the lines
 */

/** @param {Line} line */
const lineStyle = ({ color, dashed }) => `${styleOf(color)}${dashed ? " dashed" : ""}`;

export class Chart {
  /** @type {ChartContent | null} */
  #content = null;
  #step = 0;

  /**
   * @param {import("../../ui/dom.js").Child | import("../../ui/dom.js").Child[]} title
   * @param {{isLog: boolean, onselect: (step: number) => void}} options
   */
  constructor(title, { isLog, onselect }) {
    this.isLog = isLog;
    this.legend = h("span", { class: "lstm-chart-legend" });
    this.frame = new Frame(title, { legend: this.legend, height: "11rem", onresize: () => this.#draw() });
    this.svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.svg.setAttribute("role", "img");
    this.svg.setAttribute("class", "lstm-chart");
    this.mark = h("div", { class: "heatmap-column", "aria-hidden": "true" });
    this.frame.plot.append(this.svg, this.mark);
    this.frame.plot.addEventListener("click", (event) => {
      const box = this.frame.plot.getBoundingClientRect();
      const step = Math.floor(((event.clientX - box.left) / box.width) * this.#slots);
      if (this.#content && step >= 0 && step < this.#content.steps.count) onselect(step);
    });
    this.element = this.frame.element;
  }

  get #slots() {
    return this.#content?.slots ?? this.#content?.steps.count ?? 1;
  }

  /** @param {ChartContent} content */
  show(content) {
    this.#content = content;
    /** @param {string} style @param {string | undefined} name */
    const key = (style, name) => h("span", { class: "lstm-chart-key" }, lineSample(style, null), name);
    fill(
      this.legend,
      content.lines.map((line) => key(lineStyle(line), line.name)),
      content.level === undefined ? null : key("level", content.levelName),
    );
    this.#draw();
  }

  /**
   * Marks a step and reads out its values.
   * @param {number} step
   * @param {string} text
   */
  select(step, text) {
    this.#step = step;
    this.mark.style.setProperty("left", `${(100 * step) / this.#slots}%`);
    this.mark.style.setProperty("width", `${100 / this.#slots}%`);
    this.frame.readout.textContent = text;
    this.frame.reveal(step / this.#slots, (step + 1) / this.#slots);
  }

  #draw() {
    if (!this.#content) return;
    const { lines, level, label, steps } = this.#content;
    const { width, height } = this.frame;
    if (!width || !height) return; // before the first layout
    this.frame.showSteps(steps);
    const svg = select(this.svg).attr("viewBox", `0 0 ${width} ${height}`).attr("aria-label", label);
    svg.selectAll("*").remove();
    const { y, ticks } = this.#axis(height);
    const grid = svg.append("g").attr("class", "chart-grid");
    for (const tick of ticks) grid.append("path").attr("d", `M0,${y(tick)}H${width}`);
    const name = (/** @type {number} */ tick) => (this.isLog ? nameOfPower(tick) : formatLimit(tick, 6));
    this.frame.showRows(ticks.map((tick) => ({ place: y(tick) / height, name: name(tick) })));
    if (level !== undefined)
      drawLine(
        svg,
        "level",
        null,
        [0, width].map((x) => ({ x, y: y(level) })),
        0,
      );
    for (const line of lines) {
      const points = this.#points(line.values, width).map((point) => ({ x: point.x, y: y(point.y) }));
      drawLine(svg, lineStyle(line), line.values.length > MAX_DOTS ? null : 0, points, 28);
    }
    this.select(this.#step, this.frame.readout.textContent ?? "");
  }

  /**
   * Returns the scale of the values, and its ticks.
   * @param {number} height
   */
  #axis(height) {
    const { lines, level } = /** @type {ChartContent} */ (this.#content);
    let [low, high] = level === undefined ? [Infinity, -Infinity] : [level, level];
    for (const { values } of lines)
      for (let k = 0; k < values.length; k++) {
        if (!this.#isShown(values[k])) continue;
        low = Math.min(low, values[k]);
        high = Math.max(high, values[k]);
      }
    if (low > high) [low, high] = [this.isLog ? 0.1 : 0, 1];
    if (this.isLog) {
      const top = Math.ceil(Math.log10(high) - 1e-9);
      const bottom = Math.max(Math.min(Math.floor(Math.log10(low) + 1e-9), top - 1), top - MAX_DECADES);
      [low, high] = [10 ** bottom, 10 ** top];
    }
    const axis = makeAxis(this.isLog ? "log" : "linear", [low, high], [height - MARGIN, MARGIN], true);
    if (this.isLog) axis.ticks = axis.ticks.filter((list) => list.every((tick) => Number.isInteger(Math.log10(tick))));
    return { y: axis.scale.clamp(true), ticks: fitTicks(axis, () => TICK, 6) };
  }

  /** @param {number} value */
  #isShown(value) {
    return Number.isFinite(value) && !(this.isLog && value <= 0); // a logarithmic axis has no 0
  }

  /**
   * Returns the points of a line. With more steps than pixels each pixel has the smallest and the largest of its values.
   * @param {ArrayLike<number>} values
   * @param {number} width
   */
  #points(values, width) {
    const per = Math.max(1, Math.floor(values.length / width));
    const points = [];
    for (let begin = 0; begin < values.length; begin += per) {
      const bin = Array.from({ length: Math.min(per, values.length - begin) }, (_, k) => values[begin + k]);
      const shown = bin.filter((value) => this.#isShown(value));
      const ends = !shown.length ? [NaN] : per > 1 ? [Math.min(...shown), Math.max(...shown)] : shown;
      for (const y of ends) points.push({ x: ((begin + per / 2) / this.#slots) * width, y });
    }
    return points;
  }

  destroy() {
    this.frame.destroy();
  }
}

/** @param {number} tick a power of ten */
const nameOfPower = (tick) => `10${superscript(Math.round(Math.log10(tick)))}`;
