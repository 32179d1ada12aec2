/**
 * Line chart over the steps, aligned with the heat maps: gradient norms on a logarithmic axis, a number, or the input.
 */
import { scaleLinear, scaleLog } from "d3-scale";
import { fill, h } from "../../ui/dom.js";
import { formatLimit, superscript } from "./format.js";
import { Frame } from "./frame.js";

const SVG = "http://www.w3.org/2000/svg";
const MAX_DOTS = 60;
/** Orders of magnitude that a logarithmic axis shows at most. */
const MAX_DECADES = 30;

/**
 * @typedef {object} Line
 * @property {string} name
 * @property {ArrayLike<number>} values one per step
 * @property {number} color 1 to 4, the CSS class `line-N`
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

/**
 * Creates an SVG element.
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number>} attributes
 * @returns {SVGElementTagNameMap[Tag]}
 */
function svg(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

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
    this.svg = svg("svg", { role: "img", class: "lstm-chart" });
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
    fill(
      this.legend,
      content.lines.map((line) =>
        h("span", { class: `lstm-chart-key line-${line.color}${line.dashed ? " dashed" : ""}` }, line.name),
      ),
      content.level === undefined ? null : h("span", { class: "lstm-chart-key level" }, content.levelName),
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
    const { lines, level, label } = this.#content;
    const { width, height } = this.frame;
    if (!width || !height) return; // before the first layout
    this.frame.showSteps(this.#content.steps);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("aria-label", label);
    this.svg.replaceChildren();
    const y = this.#axis(height);
    for (const tick of y.ticks) {
      this.svg.append(svg("line", { class: "rule", x1: 0, x2: width, y1: y.at(tick), y2: y.at(tick) }));
    }
    this.frame.showRows(y.ticks.map((tick) => ({ place: y.at(tick) / height, name: y.name(tick) })));
    if (level !== undefined)
      this.svg.append(svg("line", { class: "level", x1: 0, x2: width, y1: y.at(level), y2: y.at(level) }));
    for (const line of lines) this.#line(line, width, y.at);
    this.select(this.#step, this.frame.readout.textContent ?? "");
  }

  /**
   * @param {number} height
   * @returns {{at: (value: number) => number, ticks: number[], name: (tick: number) => string}}
   */
  #axis(height) {
    const { lines, level } = /** @type {ChartContent} */ (this.#content);
    let [low, high] = [Infinity, -Infinity];
    for (const { values } of lines)
      for (let k = 0; k < values.length; k++) {
        if (!Number.isFinite(values[k]) || (this.isLog && values[k] <= 0)) continue;
        low = Math.min(low, values[k]);
        high = Math.max(high, values[k]);
      }
    if (level !== undefined) [low, high] = [Math.min(low, level), Math.max(high, level)];
    if (low > high) [low, high] = this.isLog ? [0.1, 1] : [0, 1];
    const range = [height - 6, 6];
    if (this.isLog) {
      const top = Math.ceil(Math.log10(high) - 1e-9);
      const bottom = Math.max(Math.min(Math.floor(Math.log10(low) + 1e-9), top - 1), top - MAX_DECADES);
      const scale = scaleLog([10 ** bottom, 10 ** top], range).clamp(true);
      const every = Math.ceil((top - bottom) / 5);
      const powers = Array.from({ length: top - bottom + 1 }, (_, k) => bottom + k).filter(
        (p) => (top - p) % every === 0,
      );
      return {
        at: (value) => scale(value),
        ticks: powers.map((power) => 10 ** power),
        name: (tick) => `10${superscript(Math.round(Math.log10(tick)))}`,
      };
    }
    if (low === high) [low, high] = [low - 1, high + 1];
    const scale = scaleLinear([low, high], range).nice(4);
    return { at: (value) => scale(value), ticks: scale.ticks(4), name: formatLimit };
  }

  /**
   * Draws a line. With more steps than pixels each pixel has the smallest and the largest value of its steps.
   * @param {Line} line
   * @param {number} width
   * @param {(value: number) => number} y
   */
  #line({ values, color, dashed }, width, y) {
    const count = values.length;
    const slots = this.#slots;
    /** @param {number} t */
    const x = (t) => ((t + 0.5) / slots) * width;
    const per = Math.max(1, Math.floor(count / width));
    let path = "";
    let isOpen = false;
    for (let begin = 0; begin < count; begin += per) {
      const bin = Array.from({ length: Math.min(per, count - begin) }, (_, k) => values[begin + k]);
      const shown = bin.filter((value) => Number.isFinite(value) && !(this.isLog && value <= 0));
      if (!shown.length) {
        isOpen = false; // a gap: a logarithmic axis has no 0
        continue;
      }
      const ends = per > 1 ? [Math.min(...shown), Math.max(...shown)] : shown;
      for (const value of ends) {
        path += `${isOpen ? "L" : "M"}${x(begin + (per - 1) / 2).toFixed(1)} ${y(value).toFixed(1)}`;
        isOpen = true;
      }
    }
    const name = `line-${color}${dashed ? " dashed" : ""}`;
    this.svg.append(svg("path", { class: name, d: path }));
    if (count > MAX_DOTS) return;
    for (let t = 0; t < count; t++) {
      if (!Number.isFinite(values[t]) || (this.isLog && values[t] <= 0)) continue;
      this.svg.append(svg("circle", { class: name, cx: x(t), cy: y(values[t]), r: 3 }));
    }
  }

  destroy() {
    this.frame.destroy();
  }
}
