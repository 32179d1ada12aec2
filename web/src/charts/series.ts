/** Points of series, and what they say in words. */
import type { Point, Series } from "./marks";

/** A horizontal line, such as a baseline. */
export type Reference = { name: string; value: number };

/** A series or a reference as a chart draws it. */
export interface Drawn {
  name: string;
  style: string;
  symbol: number | null; // Index of the symbol; null of a reference
  points: Point[];
}

const MAX_SYMBOLS = 20; // Most points of a line with symbols

/** Returns the points of a series that the axes can show; y is NaN where there is no value. */
export function pointsOf({ x, y }: Series, positiveX: boolean, positiveY: boolean): Point[] {
  const points: Point[] = [];
  for (let k = 0; k < x.length; k++) {
    const [at, value] = [x[k], y[k]];
    if (typeof at !== "number" || !Number.isFinite(at) || (positiveX && at <= 0)) continue;
    const shown = typeof value === "number" && Number.isFinite(value) && !(positiveY && value <= 0);
    points.push({ x: at, y: shown ? value : NaN });
  }
  return points;
}

export const withValues = (points: Point[]) => points.filter(({ y }) => !Number.isNaN(y));

/** Whether the points of a line get symbols. */
export const hasSymbols = (points: Point[]) => withValues(points).length <= MAX_SYMBOLS;

/** Returns the point with a value that is nearest to a position in pixels. */
export function nearest(points: Point[], scale: (x: number) => number, position: number): Point | null {
  const distance = ({ x }: Point) => Math.abs(scale(x) - position);
  return withValues(points).reduce<Point | null>((a, b) => (a && distance(a) <= distance(b) ? a : b), null);
}

type Format = (value: number) => string;

/** What a chart shows, in words: of each line the first, last, lowest and highest value. */
export function summarize(title: string, xLabel: string, lines: Drawn[], formatX: Format, formatY: Format): string {
  const parts = lines.map(({ name, points, symbol }) => {
    const shown = withValues(points);
    if (!shown.length) return `${name}: no values`;
    if (symbol === null) return `${name}: ${formatY(shown[0].y)}`;
    const at = ({ x, y }: Point) => `${formatY(y)} at ${xLabel} ${formatX(x)}`;
    const [first, last] = [shown[0], shown[shown.length - 1]];
    if (shown.length === 1) return `${name}: ${at(first)}`;
    const low = shown.reduce((a, b) => (b.y < a.y ? b : a));
    const high = shown.reduce((a, b) => (b.y > a.y ? b : a));
    const extremes = `lowest ${formatY(low.y)} at ${formatX(low.x)}, highest ${formatY(high.y)} at ${formatX(high.x)}`;
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
