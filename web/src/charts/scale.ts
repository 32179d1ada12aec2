/** Scales of charts and their ticks. */
import { nice, ticks } from "d3-array";
import { clamp } from "../kit/format";

/** Spacing of an axis: even in the number, or in its logarithm. */
export type Spacing = "linear" | "log";
export type Interval = [number, number];

/** From a number to pixels. */
export interface Scale {
  (value: number): number;
  domain: Interval;
  range: Interval;
  ticks: number[][]; // Lists of ticks, from many to few
}

/** Mantissas of the ticks of a logarithmic axis, from many to few. */
const MANTISSAS = [[1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 5], [1, 3], [1]];
const COUNTS = [10, 8, 6, 5, 4, 3, 2, 1];

/** Creates a scale. `isNice` lets a linear axis end at round numbers. */
export function makeScale(spacing: Spacing, [low, high]: Interval, range: Interval, isNice = false): Scale {
  if (low === high) [low, high] = spacing === "log" ? [low / 2, high * 2] : [low - 0.5, high + 0.5];
  if (isNice && spacing !== "log") [low, high] = nice(low, high, 5);
  const even = (value: number) => (spacing === "log" ? Math.log(value) : value);
  const [a, b] = [even(low), even(high)];
  const at = (value: number) => range[0] + ((even(value) - a) / (b - a)) * (range[1] - range[0]);
  const lists = spacing === "log" ? logTicks(low, high) : COUNTS.map((count) => ticks(low, high, count));
  return Object.assign(at, { domain: [low, high] as Interval, range, ticks: lists });
}

export const clamped = (scale: Scale): Scale => {
  const [low, high] = [Math.min(...scale.range), Math.max(...scale.range)];
  return Object.assign((value: number) => clamp(scale(value), low, high), { ...scale });
};

function logTicks(low: number, high: number): number[][] {
  const first = Math.floor(Math.log10(low));
  const decades = Array.from({ length: Math.ceil(Math.log10(high)) - first + 1 }, (_, k) => first + k);
  const lists = MANTISSAS.map((mantissas) => decades.flatMap((k) => mantissas.map((m) => Number(`${m}e${k}`))));
  for (const stride of [2, 3, 5, 8]) lists.push(decades.filter((_, k) => k % stride === 0).map((k) => 10 ** k));
  return lists.map((list) => list.filter((tick) => tick >= low && tick <= high));
}

/** Returns the longest list of ticks whose labels, of some extent in pixels, fit; with at least two if possible. */
export function fitTicks(scale: Scale, extent: (tick: number) => number, max: number): number[] {
  const fits = scale.ticks.find(
    (list) =>
      list.length <= max &&
      list.every((tick, index) => {
        if (index === 0) return true;
        const before = list[index - 1];
        return Math.abs(scale(tick) - scale(before)) >= (extent(tick) + extent(before)) / 2;
      }),
  );
  return fits && fits.length > 1 ? fits : scale.domain;
}
