/**
 * Series of a line chart: their points, their look and their numbers in words.
 *
 * A series has a color, a dash pattern and a symbol, so that nobody needs the color to tell it from another.
 */
import { line, symbol, symbolCircle, symbolDiamond, symbolSquare, symbolTriangle } from "d3-shape";
import { select } from "d3-selection";

/**
 * A line of a chart.
 * @typedef {object} Series
 * @property {string} name
 * @property {(number | null)[]} x ascending
 * @property {(number | null)[]} y null where there is no value
 * @property {boolean} [strong] whether the line is thick, as the one to look at
 */

/**
 * A horizontal line, such as a baseline.
 * @typedef {object} Reference
 * @property {string} name
 * @property {number} value
 */

/** @typedef {{x: number, y: number}} Point */

const SYMBOLS = [symbolCircle, symbolSquare, symbolTriangle, symbolDiamond];
const NUM_STYLES = 6;
/** Most points of a line with symbols. */
const MAX_SYMBOLS = 20;

/** @param {number} value */
export const formatNumber = (value) =>
  value.toLocaleString("en", Math.abs(value) >= 1000 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 });

/**
 * Class of a series, or of a reference, with its color and dash pattern.
 * @param {number} index
 */
export const styleOf = (index) => `series-${index % NUM_STYLES}`;

/**
 * Returns the points of a series that an axis can show.
 * @param {Series} series
 * @param {boolean} positiveX whether the x axis is logarithmic
 * @param {boolean} positiveY
 * @returns {Point[]}
 */
export function pointsOf(series, positiveX, positiveY) {
  const points = [];
  for (let index = 0; index < series.x.length; index++) {
    const [x, y] = [series.x[index], series.y[index]];
    if (typeof x !== "number" || !Number.isFinite(x) || (positiveX && x <= 0)) continue;
    const shown = typeof y === "number" && Number.isFinite(y) && !(positiveY && y <= 0);
    points.push({ x, y: shown ? y : NaN });
  }
  return points;
}

/**
 * Returns the point with a value that is nearest to a position.
 * @param {Point[]} points
 * @param {(x: number) => number} scale
 * @param {number} position pixels
 * @returns {Point | null}
 */
export function nearest(points, scale, position) {
  let best = null;
  let distance = Infinity;
  for (const point of points) {
    const d = Math.abs(scale(point.x) - position);
    if (d < distance && !Number.isNaN(point.y)) [best, distance] = [point, d];
  }
  return best;
}

/**
 * Returns the path of a symbol at the origin.
 * @param {number} index of the series
 * @param {number} size its area, square pixels
 */
export const symbolPath = (index, size) => symbol(SYMBOLS[index % SYMBOLS.length], size)() ?? "";

/**
 * Whether the points of a line get symbols.
 * @param {Point[]} points
 */
export const hasSymbols = (points) => points.filter(({ y }) => !Number.isNaN(y)).length <= MAX_SYMBOLS;

/**
 * Draws a line, with a gap where a point has no y.
 * @param {import("d3-selection").Selection<SVGSVGElement, unknown, null, undefined>} svg
 * @param {string} style class
 * @param {number | null} symbolIndex of the symbols; null for none
 * @param {Point[]} points in pixels
 * @param {number} area of a symbol, square pixels
 */
export function drawLine(svg, style, symbolIndex, points, area) {
  const path = line()
    .defined(([, y]) => Number.isFinite(y)) // a scale makes undefined of NaN
    .x(([x]) => x)
    .y(([, y]) => y);
  const group = svg.append("g").attr("class", style);
  group
    .append("path")
    .attr("class", "chart-line")
    .attr("d", path(points.map(({ x, y }) => [x, y])));
  if (symbolIndex === null) return;
  for (const { x, y } of points) if (Number.isFinite(y)) appendSymbol(group, symbolIndex, x, y, area);
}

/**
 * @param {import("d3-selection").Selection<SVGGElement, unknown, null, undefined>} group
 * @param {number} index of the series
 * @param {number} x
 * @param {number} y
 * @param {number} area square pixels
 */
export function appendSymbol(group, index, x, y, area) {
  group
    .append("path")
    .attr("class", "chart-symbol")
    .attr("transform", `translate(${x},${y})`)
    .attr("d", symbolPath(index, area));
}

/**
 * A short piece of a line with its symbol, for legends.
 * @param {string} style class
 * @param {number | null} symbolIndex
 */
export function lineSample(style, symbolIndex) {
  const svg = select(document.createElementNS("http://www.w3.org/2000/svg", "svg"))
    .attr("class", `chart-sample ${style}`)
    .attr("viewBox", "0 0 32 12")
    .attr("aria-hidden", "true");
  svg.append("path").attr("class", "chart-line").attr("d", "M1,6H31");
  if (symbolIndex !== null) {
    svg
      .append("path")
      .attr("class", "chart-symbol")
      .attr("transform", "translate(16,6)")
      .attr("d", symbolPath(symbolIndex, 40));
  }
  return /** @type {SVGSVGElement} */ (svg.node());
}

/**
 * What a chart shows, in words.
 * @param {string} title
 * @param {string} xLabel
 * @param {{name: string, points: Point[]}[]} lines
 * @param {Reference[]} references
 * @param {(x: number) => string} formatX
 * @param {(y: number) => string} formatY
 */
export function summarize(title, xLabel, lines, references, formatX, formatY) {
  const parts = lines.map(({ name, points }) => {
    const shown = points.filter(({ y }) => !Number.isNaN(y));
    if (!shown.length) return `${name}: no values`;
    const [first, last] = [shown[0], shown[shown.length - 1]];
    if (shown.length === 1) return `${name}: ${formatY(first.y)} at ${xLabel} ${formatX(first.x)}`;
    const low = shown.reduce((a, b) => (b.y < a.y ? b : a));
    const high = shown.reduce((a, b) => (b.y > a.y ? b : a));
    return (
      `${name}: ${formatY(first.y)} at ${xLabel} ${formatX(first.x)}, ${formatY(last.y)} at ${xLabel} ` +
      `${formatX(last.x)}, lowest ${formatY(low.y)} at ${formatX(low.x)}, highest ${formatY(high.y)} at ${formatX(high.x)}`
    );
  });
  for (const { name, value } of references) parts.push(`${name}: ${formatY(value)}`);
  return `${title}. ${parts.join(". ")}.`;
}
