/**
 * Line charts: axes, names at the ends of the lines, a cursor with the values, and the same numbers as a table.
 *
 *     const chart = new LineChart({ title: "Loss", xLabel: "epoch", yLabel: "loss", series: [...], reader: true });
 *     root.append(chart.element);
 *     chart.setCursor(5);
 *     chart.destroy();
 *
 * The pointer moves a cursor with a tooltip over the chart. With `reader`, a slider below the chart does the same for the
 * keyboard; without it, whoever calls `setCursor` shows the values elsewhere.
 */
import { axisBottom, axisLeft } from "d3-axis";
import { select } from "d3-selection";
import { spread } from "./chart_labels.js";
import { chartReader } from "./chart_reader.js";
import { fitTicks, makeAxis } from "./chart_scale.js";
import {
  appendSymbol,
  drawLine,
  formatNumber,
  hasSymbols,
  lineSample,
  nearest,
  pointsOf,
  styleOf,
  summarize,
} from "./chart_series.js";
import { chartTable } from "./chart_table.js";
import { fill, h } from "./dom.js";

/** @typedef {import("./chart_series.js").Series} Series */
/** @typedef {import("./chart_series.js").Reference} Reference */
/** @typedef {import("./chart_series.js").Point} Point */
/** @typedef {import("./chart_scale.js").Spacing} Spacing */
/** @typedef {import("./chart_scale.js").Axis} Axis */

/**
 * @typedef {object} ChartSpec
 * @property {string} title
 * @property {string} xLabel
 * @property {string} yLabel
 * @property {Series[]} series
 * @property {Reference[]} [references]
 * @property {Spacing} [xSpacing]
 * @property {[number, number]} [xDomain] what the x axis shows at least
 * @property {"linear" | "log"} [ySpacing]
 * @property {[number | null, number | null]} [yDomain] ends of the y axis; null follows the data
 * @property {(x: number) => string} [formatX]
 * @property {(y: number) => string} [formatY]
 * @property {string} [message] what the chart shows, for those who do not see it; else first, last, lowest and highest
 * @property {boolean} [reader] whether a slider reads the values
 * @property {(x: number) => void} [onselect] a click at x
 */

/**
 * @typedef {object} Line
 * @property {string} name
 * @property {string} style class
 * @property {number | null} symbol index; null of a reference
 * @property {Point[]} points
 */

/**
 * @typedef {object} Geometry
 * @property {Axis["scale"]} x
 * @property {Axis["scale"]} y
 * @property {number[]} stops every x with a value, ascending
 */

/** Share of the width that names may take; else they stand above the chart. */
const MAX_LABEL_SHARE = 0.32;
/** A value belongs to the cursor if it is at most so far, in em. */
const REACH = 0.7;

const measuring = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));

export class LineChart {
  /** @type {ChartSpec} */
  #spec;
  /** @type {Line[]} */
  #lines = [];
  /** @type {Geometry | null} */
  #geometry = null;
  /** @type {number | null} */
  #cursor = null;
  /** Where the pointer or the reader is, with a tooltip. @type {number | null} */
  #reading = null;
  #em = 13;

  /** @param {ChartSpec} spec */
  constructor(spec) {
    this.#spec = spec;
    this.svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.svg.setAttribute("role", "img");
    this.tooltip = h("div", { class: "chart-tooltip", hidden: true, "aria-hidden": "true" });
    this.plot = h("div", { class: "chart-plot" }, this.svg, this.tooltip);
    this.title = h("figcaption", { class: "chart-title" });
    this.legend = h("ul", { class: "chart-legend" });
    this.xLabel = h("div", { class: "chart-x-label" });
    this.yLabel = h("div", { class: "chart-y-label" });
    this.reader = chartReader({
      geometry: () => this.#ends(),
      describe: (at) => this.#describe(at),
      read: (at) => this.#read(at),
    });
    this.table = chartTable(spec.title, () => ({
      xLabel: this.#spec.xLabel,
      lines: this.#lines.filter(({ symbol }) => symbol !== null),
      formatX: this.#formatX,
      formatY: this.#formatY,
    }));
    this.element = h(
      "figure",
      { class: "chart" },
      this.title,
      this.legend,
      this.yLabel,
      this.plot,
      this.xLabel,
      spec.reader && this.reader.control,
      h("div", { class: "chart-foot" }, spec.reader && this.reader.label, this.table.element),
    );
    this.svg.addEventListener("pointermove", (event) => this.#point(event));
    this.svg.addEventListener("pointerleave", () => this.#read(null));
    this.svg.addEventListener("click", (event) => {
      this.#point(event);
      if (this.#reading !== null) this.#spec.onselect?.(this.#reading);
    });
    this.resizing = new ResizeObserver(() => this.#draw());
    this.resizing.observe(this.plot);
    this.update({});
  }

  /**
   * Shows something else.
   * @param {Partial<ChartSpec>} changes
   */
  update(changes) {
    this.#spec = { ...this.#spec, ...changes };
    const { title, xLabel, yLabel, series, references = [], onselect } = this.#spec;
    this.title.textContent = title;
    this.xLabel.textContent = xLabel;
    this.yLabel.textContent = yLabel;
    this.element.classList.toggle("selects", Boolean(onselect));
    const lines = series.map((one, index) => ({
      name: one.name,
      style: `${styleOf(index)}${one.strong ? " strong" : ""}`,
      symbol: index,
      points: pointsOf(one, this.#spec.xSpacing === "log", this.#spec.ySpacing === "log"),
    }));
    const xs = lines.flatMap(({ points }) => points.map(({ x }) => x));
    const ends = xs.length ? [Math.min(...xs), Math.max(...xs)] : [];
    this.#lines = [
      ...lines,
      ...references.map(({ name, value }) => ({
        name,
        style: "reference",
        symbol: null,
        points: (this.#spec.xDomain ?? ends).map((x) => ({ x, y: value })),
      })),
    ];
    const message = summarize(title, xLabel, lines, references, this.#formatX, this.#formatY);
    this.svg.setAttribute("aria-label", this.#spec.message ?? message);
    this.table.update();
    this.#draw();
  }

  /**
   * Puts the cursor somewhere.
   * @param {number | null} x
   */
  setCursor(x) {
    this.#cursor = x;
    this.#drawCursor();
  }

  destroy() {
    this.resizing.disconnect();
  }

  /** @param {number} x */
  #formatX = (x) => (this.#spec.formatX ?? formatNumber)(x);
  /** @param {number} y */
  #formatY = (y) => (this.#spec.formatY ?? formatNumber)(y);

  #draw() {
    const width = this.plot.clientWidth;
    const height = this.plot.clientHeight;
    const style = getComputedStyle(this.plot);
    this.#em = parseFloat(style.fontSize);
    measuring.font = `600 ${style.fontSize} ${style.fontFamily}`;
    const svg = select(this.svg);
    svg.selectAll("*").remove();
    this.#geometry = null;
    const points = this.#lines.flatMap((one) => one.points);
    const shown = points.filter(({ y }) => !Number.isNaN(y));
    this.element.classList.toggle("empty", !shown.length);
    if (!shown.length || !(width > 4 * this.#em)) return; // NaN em: not in the page yet
    svg.attr("viewBox", `0 0 ${width} ${height}`).attr("width", width).attr("height", height);
    this.#drawFrame(width, height, shown);
    this.#drawLines();
    svg.append("g").attr("class", "chart-cursor");
    this.#drawCursor();
  }

  /**
   * Draws the axes and the names of the lines.
   * @param {number} width
   * @param {number} height
   * @param {Point[]} shown
   */
  #drawFrame(width, height, shown) {
    const em = this.#em;
    const { xSpacing = "linear", xDomain = [], ySpacing = "linear", yDomain = [null, null] } = this.#spec;
    const [top, bottom] = [0.7 * em, height - 1.9 * em];
    const ys = shown.map(({ y }) => y);
    const y = makeAxis(ySpacing, [yDomain[0] ?? Math.min(...ys), yDomain[1] ?? Math.max(...ys)], [bottom, top], true);
    y.ticks = y.ticks.filter((list) => new Set(list.map(this.#formatY)).size === list.length);
    const yTicks = fitTicks(y, () => 1.5 * em, 6);
    const left = Math.max(...yTicks.map((tick) => textWidth(this.#formatY(tick)))) + 0.9 * em;
    const stops = [...new Set(shown.map((point) => point.x))].sort((a, b) => a - b);
    const xs = [...xDomain, ...stops];
    const lastTick = textWidth(this.#formatX(Math.max(...xs)));
    const right = width - Math.max(this.#rightMargin(width), lastTick / 2);
    const x = makeAxis(xSpacing, [Math.min(...xs), Math.max(...xs)], [left, right]);
    const xTicks = fitTicks(x, (tick) => textWidth(this.#formatX(tick)) + 1.2 * em, Math.floor((right - left) / em));
    this.#geometry = { x: x.scale, y: y.scale, stops };

    const svg = select(this.svg);
    const grid = svg.append("g").attr("class", "chart-grid");
    for (const tick of yTicks) grid.append("path").attr("d", `M${left},${y.scale(tick)}H${right}`);
    svg
      .append("g")
      .attr("class", "chart-axis")
      .attr("transform", `translate(0,${bottom})`)
      .call(
        axisBottom(x.scale)
          .tickValues(xTicks)
          .tickFormat((tick) => this.#formatX(Number(tick)))
          .tickSizeOuter(0),
      );
    svg
      .append("g")
      .attr("class", "chart-axis")
      .attr("transform", `translate(${left},0)`)
      .call(
        axisLeft(y.scale)
          .tickValues(yTicks)
          .tickFormat((tick) => this.#formatY(Number(tick)))
          .tickSize(0)
          .tickPadding(0.5 * em),
      )
      .call((axis) => axis.select(".domain").remove());
    this.reader.place(left, right);
  }

  /**
   * Returns the space that the names at the ends of the lines need, and decides whether they stand above instead.
   * @param {number} width
   */
  #rightMargin(width) {
    this.legend.hidden = true;
    if (this.#lines.length === 1) return 0.8 * this.#em; // the title says what it is
    const labels = this.#lines.map(({ name }) => textWidth(name));
    const margin = Math.max(...labels) + 1.2 * this.#em;
    const above = margin > MAX_LABEL_SHARE * width;
    this.legend.hidden = !above;
    fill(
      this.legend,
      above ? this.#lines.map(({ name, style, symbol }) => h("li", {}, lineSample(style, symbol), name)) : [],
    );
    return above ? 0.8 * this.#em : margin;
  }

  #drawLines() {
    const { x, y } = /** @type {Geometry} */ (this.#geometry);
    const svg = select(this.svg);
    for (const { points, style, symbol } of this.#lines) {
      const placed = points.map((point) => ({ x: x(point.x), y: y(point.y) }));
      drawLine(svg, style, hasSymbols(points) ? symbol : null, placed, 0.28 * this.#em ** 2);
    }
    if (this.legend.hidden && this.#lines.length > 1) this.#drawNames();
  }

  #drawNames() {
    const { x, y } = /** @type {Geometry} */ (this.#geometry);
    const em = this.#em;
    const [low, high] = /** @type {[number, number]} */ ([Math.min(...y.range()), Math.max(...y.range())]);
    const right = x.range()[x.range().length - 1];
    const ends = this.#lines.map(({ points }) => points.filter((point) => !Number.isNaN(point.y)).at(-1));
    const placed = spread(
      ends.map((end) => (end ? y(end.y) : high)),
      1.25 * em,
      low,
      high,
    );
    this.#lines.forEach(({ name, style }, index) => {
      const end = ends[index];
      if (!end) return;
      const group = select(this.svg).append("g").attr("class", style);
      const from = y(end.y);
      if (Math.abs(placed[index] - from) > 0.4 * em) {
        group
          .append("path")
          .attr("class", "chart-leader")
          .attr("d", `M${right + 0.15 * em},${from}L${right + 0.7 * em},${placed[index]}`);
      }
      group
        .append("text")
        .attr("class", "chart-name")
        .attr("x", right + 0.9 * em)
        .attr("y", placed[index])
        .attr("dy", "0.32em")
        .text(name);
    });
  }

  #drawCursor() {
    const geometry = this.#geometry;
    const layer = select(this.svg).select(".chart-cursor");
    layer.selectAll("*").remove();
    this.tooltip.hidden = true;
    const at = this.#reading ?? this.#cursor;
    if (!geometry || at === null) return;
    const domain = geometry.x.domain();
    const position = geometry.x(Math.min(Math.max(at, domain[0]), domain[domain.length - 1]));
    const [bottom, top] = geometry.y.range();
    layer.append("path").attr("class", "chart-cursor-line").attr("d", `M${position},${top}V${bottom}`);
    for (const { points, style, symbol } of this.#lines) {
      const point = symbol !== null && nearest(points, geometry.x, position);
      if (!point) continue;
      const group = layer.append("g").attr("class", style);
      appendSymbol(group, symbol, geometry.x(point.x), geometry.y(point.y), 0.55 * this.#em ** 2);
    }
    if (this.#reading !== null) this.#showTooltip(this.#reading, position);
  }

  /**
   * @param {number} at
   * @param {number} position pixels
   */
  #showTooltip(at, position) {
    const rows = this.#valuesAt(at).map(({ line: one, text }) =>
      h("div", {}, lineSample(one.style, one.symbol), `${one.name} `, h("strong", {}, text)),
    );
    fill(this.tooltip, h("div", { class: "chart-tooltip-x" }, `${this.#spec.xLabel} ${this.#formatX(at)}`), ...rows);
    this.tooltip.hidden = false;
    const width = this.tooltip.offsetWidth;
    const available = this.plot.clientWidth;
    const beside = position + this.#em;
    const left = beside + width <= available ? beside : Math.max(0, position - width - this.#em);
    this.tooltip.style.setProperty("left", `${left}px`);
  }

  /**
   * Returns the values of the lines at, or very near to, a point of the x axis.
   * @param {number} at
   */
  #valuesAt(at) {
    const geometry = this.#geometry;
    if (!geometry) return [];
    const position = geometry.x(at);
    return this.#lines.flatMap((one) => {
      if (one.symbol === null) return [{ line: one, text: this.#formatY(one.points[0].y) }];
      const point = nearest(one.points, geometry.x, position);
      const near = point && Math.abs(geometry.x(point.x) - position) <= REACH * this.#em;
      return near ? [{ line: one, text: this.#formatY(point.y) }] : [];
    });
  }

  /**
   * The values at a point of the x axis, in words.
   * @param {number} at
   */
  #describe(at) {
    const values = this.#valuesAt(at).map(({ line: one, text }) => `${one.name} ${text}`);
    return `${this.#spec.xLabel} ${this.#formatX(at)}: ${values.join(", ")}`;
  }

  /** The x axis and its ends, in pixels; null while nothing is drawn. */
  #ends() {
    if (!this.#geometry) return null;
    const { x, stops } = this.#geometry;
    const range = x.range();
    return { x, stops, left: range[0], right: range[range.length - 1] };
  }

  /** @param {PointerEvent | MouseEvent} event */
  #point(event) {
    if (!this.#geometry) return;
    const { x, stops } = this.#geometry;
    const position = event.clientX - this.svg.getBoundingClientRect().left;
    this.#read(stops.reduce((a, b) => (Math.abs(x(b) - position) < Math.abs(x(a) - position) ? b : a)));
  }

  /** @param {number | null} at */
  #read(at) {
    this.#reading = at;
    this.#drawCursor();
  }
}

/** @param {string} text */
const textWidth = (text) => measuring.measureText(text).width;
