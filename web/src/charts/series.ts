/** Points of series, where they stand in a chart, and what they say in words. */
import { greatest, least } from "d3-array";
import { formatNumber, type Format } from "../kit/format";
import { textWidth } from "../kit/size";
import type { Point, Series } from "./marks";
import { fitTicks, makeScale, type Scale, type Spacing } from "./scale";

export interface Axes {
  xSpacing?: Spacing;
  xDomain?: [number, number]; // What the x axis shows at least
  yDomain?: [number | null, number | null]; // Ends of the y axis; null follows the data
}

export type Reference = { name: string; value: number };

export interface Drawn {
  name: string;
  style: string;
  symbol: number | null; // Index of the symbol; null of a reference
  points: Point[];
}

const MAX_SYMBOLS = 20; // Most points of a line with symbols

/** Whether an axis can show a value; a logarithmic one has no 0. */
export const canShow = (value: number | null, isLog: boolean): value is number =>
  Number.isFinite(value) && !(isLog && value! <= 0);

/** Returns the points of a series that the x axis can show; y is NaN where there is no value. */
export const pointsOf = ({ x, y }: Series, isLog: boolean): Point[] =>
  Array.from(x).flatMap((at, k) => (canShow(at, isLog) ? [{ x: at, y: canShow(y[k], false) ? y[k] : NaN }] : []));

export const withValues = (points: Point[]) => points.filter(({ y }) => !Number.isNaN(y));

export const hasSymbols = (points: Point[]) => withValues(points).length <= MAX_SYMBOLS;

/** Whether the lines have their names beside them: several, or one that the title does not name. */
export const hasNames = (lines: Drawn[]) => lines.length > 1 || lines[0]?.symbol === null;

/** Returns the point with a value that is nearest to a position in pixels. */
export const nearest = (points: Point[], scale: (x: number) => number, position: number) =>
  least(withValues(points), ({ x }) => Math.abs(scale(x) - position));

/** What a chart shows, in words: of each line the first, last, lowest and highest value. */
export function summarize(title: string, xLabel: string, lines: Drawn[], formatY: Format): string {
  const parts = lines.map(({ name, points, symbol }) => {
    const shown = withValues(points);
    if (!shown.length) return `${name}: no values`;
    if (symbol === null) return `${name}: ${formatY(shown[0].y)}`;
    const at = ({ x, y }: Point) => `${formatY(y)} at ${xLabel} ${formatNumber(x)}`;
    const [first, last] = [shown[0], shown[shown.length - 1]];
    if (shown.length === 1) return `${name}: ${at(first)}`;
    const [low, high] = [least(shown, ({ y }) => y)!, greatest(shown, ({ y }) => y)!];
    const extremes = `lowest ${formatY(low.y)} at ${formatNumber(low.x)}, highest ${formatY(high.y)} at ${formatNumber(high.x)}`;
    return `${name}: ${at(first)}, ${at(last)}, ${extremes}`;
  });
  return `${title}. ${parts.join(". ")}.`;
}

/**
 * Returns the positions of labels, as near to those wanted as they fit without covering each other, `spacing` pixels apart
 * and between `low` and `high`.
 */
export function spread(wanted: number[], spacing: number, low: number, high: number): number[] {
  const order = wanted.map((_, index) => index).sort((a, b) => wanted[a] - wanted[b]);
  const placed = wanted.map((y) => Math.min(Math.max(y, low), high));
  for (let k = 1; k < order.length; k++) placed[order[k]] = Math.max(placed[order[k]], placed[order[k - 1]] + spacing);
  // Those that were pushed out below push back from the bottom.
  for (let k = order.length - 1, limit = high; k >= 0; k--) {
    placed[order[k]] = Math.min(placed[order[k]], limit);
    limit = placed[order[k]] - spacing;
  }
  return placed;
}

export interface Layout {
  x: Scale;
  y: Scale;
  xTicks: number[];
  yTicks: number[];
  stops: number[]; // Every x with a value, ascending
  isAbove: boolean; // Whether the names of the lines stand above the chart, not at their ends
  em: number;
}

/** Share of the width that names may take; else they stand above the chart. */
const MAX_LABEL_SHARE = 0.32;

type Size = { width: number; height: number; em: number; font: string };

/** Returns the layout of a chart; null without a value, or before the page has given it a size. */
export function layOut(
  axes: Axes & { formatY: Format },
  lines: Drawn[],
  { width, height, em, font }: Size,
): Layout | null {
  const { xSpacing = "linear", xDomain = [], yDomain = [null, null], formatY } = axes;
  const shown = lines.flatMap(({ points }) => withValues(points));
  if (!shown.length || !(width > 4 * em)) return null;
  const widthOf = (text: string) => textWidth(text, font);
  const ys = shown.map((point) => point.y);
  const ends: [number, number] = [yDomain[0] ?? Math.min(...ys), yDomain[1] ?? Math.max(...ys)];
  const y = makeScale("linear", ends, [height - 1.9 * em, 0.7 * em], true);
  y.ticks = y.ticks.filter((list) => new Set(list.map(formatY)).size === list.length);
  const yTicks = fitTicks(y, () => 1.5 * em, 6);
  const left = Math.max(...yTicks.map((tick) => widthOf(formatY(tick)))) + 0.9 * em;
  const stops = [...new Set(shown.map((point) => point.x))].sort((a, b) => a - b);
  const xs = [...xDomain, ...stops];
  const names = hasNames(lines) ? Math.max(...lines.map(({ name }) => widthOf(name))) + 1.2 * em : 0;
  const isAbove = names > MAX_LABEL_SHARE * width;
  const margin = names && !isAbove ? names : 0.8 * em;
  const right = width - Math.max(margin, widthOf(formatNumber(Math.max(...xs))) / 2);
  const x = makeScale(xSpacing, [Math.min(...xs), Math.max(...xs)], [left, right]);
  const extent = (tick: number) => widthOf(formatNumber(tick)) + 1.2 * em;
  const xTicks = fitTicks(x, extent, Math.floor((right - left) / em));
  return { x, y, xTicks, yTicks, stops, isAbove, em };
}
