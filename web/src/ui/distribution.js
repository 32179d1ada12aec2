/**
 * One log-odds of D in the context of D's log-odds on real images and on samples: two density curves and a mark.
 */
import { axisBottom, axisTop } from "d3-axis";
import { scaleLinear } from "d3-scale";
import { create } from "d3-selection";
import { area, line } from "d3-shape";
import { sigmoid } from "../compute/activations.js";
import { percent } from "./class_bars.js";
import { fill, h } from "./dom.js";

/**
 * @typedef {object} LogitContext
 * @property {number[]} real log-odds for real images, may be empty
 * @property {number[]} fake log-odds for samples
 * @property {string} realSource what the real images are, such as "test images"
 */

/**
 * @typedef {object} Curve
 * @property {"real" | "fake"} kind
 * @property {string} name
 * @property {number[]} sorted log-odds
 * @property {[number, number][]} points log-odds and density, at most 1
 */

/**
 * @typedef {object} Densities
 * @property {[number, number]} domain
 * @property {Curve[]} curves
 */

/**
 * @typedef {object} Distribution
 * @property {HTMLElement} element
 * @property {(logit: number | null) => void} mark marks one image, or none
 */

const NUM_POINTS = 96;
/** Fraction of the numbers that lies beyond each end of the axis. */
const TAIL = 0.004;
const DOMAIN_WITHOUT_DATA = /** @type {[number, number]} */ ([-4, 4]);
const PROBABILITIES = [
  0.0001, 0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999,
];

/** @type {WeakMap<LogitContext, Densities>} */
const cache = new WeakMap();

/**
 * Returns the density curves of a context; several charts share them.
 * @param {LogitContext} context
 * @returns {Densities}
 */
function densities(context) {
  const known = cache.get(context);
  if (known) return known;
  const groups = [
    { kind: /** @type {const} */ ("real"), name: `real (${context.realSource})`, values: context.real },
    { kind: /** @type {const} */ ("fake"), name: "samples of G", values: context.fake },
  ]
    .map((group) => ({ ...group, sorted: group.values.filter(Number.isFinite).sort((a, b) => a - b) }))
    .filter(({ sorted }) => sorted.length > 1);
  const domain = groups.length ? extent(groups.map(({ sorted }) => sorted)) : DOMAIN_WITHOUT_DATA;
  const curves = groups.map(({ kind, name, sorted }) => ({ kind, name, sorted, points: density(sorted, domain) }));
  const max = Math.max(...curves.flatMap(({ points }) => points.map(([, y]) => y)));
  for (const { points } of curves) for (const point of points) point[1] /= max;
  const result = { domain, curves };
  cache.set(context, result);
  return result;
}

/**
 * @param {number[][]} groups sorted
 * @returns {[number, number]}
 */
function extent(groups) {
  const low = Math.min(...groups.map((sorted) => sorted[Math.floor(TAIL * sorted.length)]));
  const high = Math.max(...groups.map((sorted) => sorted[sorted.length - 1 - Math.floor(TAIL * sorted.length)]));
  const margin = 0.08 * (high - low) || 1;
  return [low - margin, high + margin];
}

/**
 * Returns a Gaussian kernel density estimate with Silverman's bandwidth.
 * @param {number[]} sorted
 * @param {[number, number]} domain
 * @returns {[number, number][]}
 */
function density(sorted, [low, high]) {
  const mean = sorted.reduce((a, b) => a + b) / sorted.length;
  const deviation = Math.sqrt(sorted.reduce((sum, x) => sum + (x - mean) ** 2, 0) / sorted.length);
  const bandwidth = Math.max(1.06 * deviation * sorted.length ** -0.2, (high - low) / NUM_POINTS);
  return Array.from({ length: NUM_POINTS + 1 }, (_, i) => {
    const x = low + ((high - low) * i) / NUM_POINTS;
    const sum = sorted.reduce((total, value) => total + Math.exp(-0.5 * ((x - value) / bandwidth) ** 2), 0);
    return [x, sum / (sorted.length * bandwidth)];
  });
}

/**
 * Fraction of sorted numbers below x.
 * @param {number[]} sorted
 * @param {number} x
 */
function fractionBelow(sorted, x) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low / sorted.length;
}

/**
 * A number with a true minus sign.
 * @param {number} x
 * @param {number} [digits]
 */
export const signed = (x, digits = 2) =>
  x
    .toFixed(digits)
    .replace(/^-(0\.?0*)$/, "$1")
    .replace("-", "\u2212");

/**
 * D's output for an image in words.
 * @param {number} logit
 * @param {boolean} [isProbability] false for a D whose loss gives no probability
 */
export const scoreText = (logit, isProbability = true) =>
  isProbability ? `D:\u00a0${percent(sigmoid(logit))}\u00a0real` : `D:\u00a0${signed(logit)}`;

/**
 * Creates the chart. The compact one has neither axes nor text.
 * @param {LogitContext} context
 * @param {{compact?: boolean, isProbability?: boolean}} [options] `isProbability` is false for a D whose loss gives no
 *   probability, such as that of Wasserstein
 * @returns {Distribution}
 */
export function distribution(context, { compact = false, isProbability = true } = {}) {
  const data = densities(context);
  return compact ? compactChart(data, isProbability) : fullChart(data, isProbability);
}

/**
 * Draws the curves into a selection.
 * @param {import("d3-selection").Selection<SVGSVGElement, undefined, null, undefined>} svg
 * @param {Densities} data
 * @param {(x: number) => number} x
 * @param {(y: number) => number} y
 */
function drawCurves(svg, { curves }, x, y) {
  /** @type {import("d3-shape").Area<[number, number]>} */
  const shape = area();
  shape
    .x(([value]) => x(value))
    .y0(y(0))
    .y1(([, value]) => y(value));
  /** @type {import("d3-shape").Line<[number, number]>} */
  const outline = line();
  outline.x(([value]) => x(value)).y(([, value]) => y(value));
  for (const { kind, points } of curves) {
    svg.append("path").attr("class", `area ${kind}`).attr("d", shape(points));
    svg.append("path").attr("class", `line ${kind}`).attr("d", outline(points));
  }
}

/**
 * Names what the chart says.
 * @param {Densities} data
 * @param {number | null} logit
 * @param {boolean} isProbability
 */
function describe({ curves }, logit, isProbability) {
  const unit = isProbability ? "log-odds" : "output";
  const parts = curves.map(({ name, sorted }) => {
    const [low, median, high] = [0.05, 0.5, 0.95].map((q) => signed(sorted[Math.floor(q * (sorted.length - 1))]));
    return `${name}: median ${median}, 90 % from ${low} to ${high}`;
  });
  const marked = logit === null ? "" : ` This image: ${signed(logit)}.`;
  return `Distribution of D's ${unit}. ${parts.join("; ")}.${marked}`;
}

/**
 * @param {Densities} data
 * @param {boolean} isProbability
 * @returns {Distribution}
 */
function compactChart(data, isProbability) {
  const [width, height] = [120, 30];
  const x = scaleLinear(data.domain, [0, width]).clamp(true);
  const svg = create("svg").attr("viewBox", `0 0 ${width} ${height}`).attr("preserveAspectRatio", "none");
  svg.attr("aria-hidden", "true");
  drawCurves(svg, data, x, (y) => height - 1 - (height - 4) * y);
  const mark = svg.append("line").attr("class", "mark").attr("y1", 0).attr("y2", height);
  const element = h("div", { class: "distribution compact", role: "img" }, svg.node());
  return {
    element,
    mark(logit) {
      mark.attr("visibility", logit === null ? "hidden" : "visible");
      if (logit !== null) mark.attr("x1", x(logit)).attr("x2", x(logit));
      element.setAttribute("aria-label", describe(data, logit, isProbability));
    },
  };
}

/**
 * @param {Densities} data
 * @param {boolean} isProbability
 * @returns {Distribution}
 */
function fullChart(data, isProbability) {
  const picture = h("div", { class: "picture", role: "img" });
  const rank = h("p", { class: "rank" });
  const legend = h(
    "ul",
    { class: "legend", role: "list" },
    ...data.curves.map(({ kind, name }) =>
      h("li", {}, h("span", { class: `swatch ${kind}`, "aria-hidden": "true" }), name),
    ),
  );
  const element = h("div", { class: "distribution" }, legend, picture, rank);
  /** @type {number | null} */
  let marked = null;
  /** Replaces the mark; null as long as the chart has no width. @type {((logit: number | null) => void) | null} */
  let setMark = null;
  const draw = () => {
    const width = picture.clientWidth;
    if (!width) return;
    const chart = drawChart(data, isProbability, width, parseFloat(getComputedStyle(picture).fontSize));
    fill(picture, chart.svg);
    setMark = chart.setMark;
    setMark(marked);
  };
  new ResizeObserver(draw).observe(picture);
  return {
    element,
    mark(logit) {
      marked = logit;
      picture.setAttribute("aria-label", describe(data, logit, isProbability));
      rank.textContent =
        logit === null ? "" : `${isProbability ? "Log-odds" : "Output"} ${signed(logit)}. ${rankText(data, logit)}`;
      setMark?.(logit);
    },
  };
}

/**
 * Says where a number stands among the others.
 * @param {Densities} data
 * @param {number} logit
 */
function rankText({ curves }, logit) {
  if (!curves.length) return "";
  const parts = curves.map(({ name, sorted }) => `${percent(fractionBelow(sorted, logit))} of ${name}`);
  return `Higher than for ${parts.join(" and ")}.`;
}

/**
 * Draws the chart with its axes: below in probabilities, above in log-odds.
 * @param {Densities} data
 * @param {boolean} isProbability
 * @param {number} width CSS pixels
 * @param {number} em size of the text in CSS pixels
 */
function drawChart(data, isProbability, width, em) {
  const [top, bottom, inner] = [isProbability ? 2.9 * em : 0.5 * em, 2.9 * em, 7 * em];
  const height = top + inner + bottom;
  const x = scaleLinear(data.domain, [0.5 * em, width - 0.5 * em]).clamp(true);
  const svg = create("svg").attr("width", width).attr("height", height).attr("aria-hidden", "true");
  drawCurves(svg, data, x, (y) => top + inner - (inner - 1.7 * em) * y);
  const numTicks = Math.max(2, Math.floor(width / (5 * em)));
  /** @param {number} y @param {string} text */
  const title = (y, text) =>
    svg
      .append("text")
      .attr("class", "axis-title")
      .attr("x", width / 2)
      .attr("y", y)
      .text(text);
  if (isProbability) {
    const ticks = probabilityTicks(x, 3.4 * em);
    const bottomAxis = axisBottom(x).tickSizeOuter(0).tickValues(ticks.map(logOdds));
    svg
      .append("g")
      .attr("class", "axis")
      .attr("transform", `translate(0,${top + inner})`)
      .call(bottomAxis.tickFormat((_, i) => `${+(100 * ticks[i]).toPrecision(6)} %`));
    const topAxis = axisTop(x).tickSizeOuter(0).ticks(numTicks);
    svg.append("g").attr("class", "axis").attr("transform", `translate(0,${top})`).call(topAxis);
    title(0.9 * em, "log-odds");
    title(height - 0.4 * em, "D\u2019s probability that the image is real");
  } else {
    const axis = axisBottom(x).tickSizeOuter(0).ticks(numTicks);
    svg
      .append("g")
      .attr("class", "axis")
      .attr("transform", `translate(0,${top + inner})`)
      .call(axis);
    title(height - 0.4 * em, "output of D, higher for real images");
  }
  const group = svg.append("g");
  return {
    svg: svg.node(),
    /** @param {number | null} logit */
    setMark(logit) {
      group.selectAll("*").remove();
      if (logit !== null) drawMark(group, x, logit, isProbability, { top, inner, em, width });
    },
  };
}

/**
 * Draws the mark of one image: a line with its value, and an arrow where it lies beyond the axis.
 * @param {import("d3-selection").Selection<SVGGElement, undefined, null, undefined>} group
 * @param {import("d3-scale").ScaleLinear<number, number>} x
 * @param {number} logit
 * @param {boolean} isProbability
 * @param {{top: number, inner: number, em: number, width: number}} size
 */
function drawMark(group, x, logit, isProbability, { top, inner, em, width }) {
  const [low, high] = x.domain();
  const position = x(logit);
  const text = isProbability ? percent(sigmoid(logit)) : signed(logit);
  const label = logit > high ? `${text} \u2192` : logit < low ? `\u2190 ${text}` : text;
  group
    .append("line")
    .attr("class", "mark")
    .attr("x1", position)
    .attr("x2", position)
    .attr("y1", top)
    .attr("y2", top + inner);
  const isRight = position > width / 2;
  group
    .append("text")
    .attr("class", "mark-label")
    .attr("x", position + (isRight ? -0.4 : 0.4) * em)
    .attr("y", top + 1.1 * em)
    .attr("text-anchor", isRight ? "end" : "start")
    .text(label);
}

/** @param {number} p */
const logOdds = (p) => Math.log(p / (1 - p));

/**
 * Returns probabilities to write at the axis, `gap` pixels apart or more.
 * @param {import("d3-scale").ScaleLinear<number, number>} x
 * @param {number} gap
 */
function probabilityTicks(x, gap) {
  const [low, high] = x.domain();
  const [left, right] = x.range();
  // Labels are centered at their ticks: none at the edge, where it would be cut.
  const inside = PROBABILITIES.filter(
    (p) =>
      logOdds(p) >= low && logOdds(p) <= high && x(logOdds(p)) >= left + gap / 3 && x(logOdds(p)) <= right - gap / 3,
  );
  // From the middle outwards, so that 50 % stays where it is inside.
  inside.sort((a, b) => Math.abs(logOdds(a)) - Math.abs(logOdds(b)));
  /** @type {number[]} */
  const chosen = [];
  for (const p of inside)
    if (chosen.every((other) => Math.abs(x(logOdds(other)) - x(logOdds(p))) >= gap)) chosen.push(p);
  return chosen;
}
