/** Where the parts of a line chart stand, in pixels. */
import { textWidth } from "../kit/size";
import { fitTicks, makeScale, type Scale } from "./scale";
import { withValues, type Drawn } from "./series";
import type { ChartProps } from "./chart";

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
export function layOut(props: ChartProps, lines: Drawn[], { width, height, em, font }: Size): Layout | null {
  const { xSpacing = "linear", xDomain = [], ySpacing = "linear", yDomain = [null, null], formatX, formatY } = props;
  const shown = lines.flatMap(({ points }) => withValues(points));
  if (!shown.length || !(width > 4 * em)) return null;
  const widthOf = (text: string) => textWidth(text, font);
  const ys = shown.map((point) => point.y);
  const ends: [number, number] = [yDomain[0] ?? Math.min(...ys), yDomain[1] ?? Math.max(...ys)];
  const y = makeScale(ySpacing, ends, [height - 1.9 * em, 0.7 * em], true);
  y.ticks = y.ticks.filter((list) => new Set(list.map(formatY!)).size === list.length);
  const yTicks = fitTicks(y, () => 1.5 * em, 6);
  const left = Math.max(...yTicks.map((tick) => widthOf(formatY!(tick)))) + 0.9 * em;
  const stops = [...new Set(shown.map((point) => point.x))].sort((a, b) => a - b);
  const xs = [...xDomain, ...stops];
  const names = lines.length > 1 ? Math.max(...lines.map(({ name }) => widthOf(name))) + 1.2 * em : 0;
  const isAbove = names > MAX_LABEL_SHARE * width;
  const margin = names && !isAbove ? names : 0.8 * em;
  const right = width - Math.max(margin, widthOf(formatX!(Math.max(...xs))) / 2);
  const x = makeScale(xSpacing, [Math.min(...xs), Math.max(...xs)], [left, right]);
  const extent = (tick: number) => widthOf(formatX!(tick)) + 1.2 * em;
  const xTicks = fitTicks(x, extent, Math.floor((right - left) / em));
  return { x, y, xTicks, yTicks, stops, isAbove, em };
}
