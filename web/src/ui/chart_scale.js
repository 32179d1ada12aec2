/**
 * Scales of a line chart and their ticks.
 */
import { scaleLinear, scaleLog } from "d3-scale";

/**
 * Spacing of an axis: even in the number, even in its logarithm, or even from stop to stop.
 * @typedef {"linear" | "log" | number[]} Spacing
 */

/**
 * @typedef {object} Axis
 * @property {import("d3-scale").ScaleContinuousNumeric<number, number>} scale
 * @property {number[][]} ticks lists of ticks, from many to few
 */

/** Mantissas of the ticks of a logarithmic axis, from many to few. */
const MANTISSAS = [[1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 5], [1, 3], [1]];

/**
 * Returns the ticks of a logarithmic axis, from many to few.
 * @param {number} low
 * @param {number} high
 */
function logTicks(low, high) {
  const first = Math.floor(Math.log10(low));
  const decades = Array.from({ length: Math.ceil(Math.log10(high)) - first + 1 }, (_, k) => first + k);
  const lists = MANTISSAS.map((mantissas) => decades.flatMap((k) => mantissas.map((m) => Number(`${m}e${k}`))));
  for (const stride of [2, 3, 5, 8]) lists.push(decades.filter((_, k) => k % stride === 0).map((k) => 10 ** k));
  return lists.map((list) => list.filter((tick) => tick >= low && tick <= high));
}

/**
 * Returns every k-th stop, for some k.
 * @param {number[]} stops
 */
const stopTicks = (stops) =>
  [1, 2, 3, 4, 6, 8, 12, 20].map((stride) => stops.filter((_, index) => index % stride === 0));

/**
 * Creates an axis.
 * @param {Spacing} spacing
 * @param {[number, number]} domain
 * @param {[number, number]} range pixels
 * @param {boolean} [nice] whether a linear axis ends at round numbers
 * @returns {Axis}
 */
export function makeAxis(spacing, [low, high], range, nice = false) {
  if (low === high) [low, high] = spacing === "log" ? [low / 2, high * 2] : [low - 0.5, high + 0.5];
  if (spacing === "log") {
    return { scale: scaleLog().domain([low, high]).range(range), ticks: logTicks(low, high) };
  }
  if (spacing !== "linear" && spacing.length > 1) {
    const step = (range[1] - range[0]) / (spacing.length - 1);
    const scale = scaleLinear(
      spacing,
      spacing.map((_, index) => range[0] + index * step),
    ).clamp(true);
    return { scale, ticks: stopTicks(spacing) };
  }
  const scale = scaleLinear().domain([low, high]).range(range);
  if (nice) scale.nice(5);
  return { scale, ticks: [10, 8, 6, 5, 4, 3, 2, 1].map((count) => scale.ticks(count)) };
}

/**
 * Returns the longest list of ticks that fits, with at least two if possible.
 * @param {Axis} axis
 * @param {(tick: number) => number} extent of a tick's label along the axis, pixels
 * @param {number} max
 */
export function fitTicks({ scale, ticks }, extent, max) {
  const fits = ticks.find((list) => {
    if (list.length > max) return false;
    return list.every((tick, index) => {
      if (index === 0) return true;
      const distance = Math.abs(scale(tick) - scale(list[index - 1]));
      return distance >= (extent(tick) + extent(list[index - 1])) / 2;
    });
  });
  return fits && fits.length > 1 ? fits : scale.domain().filter((_, index, all) => index % (all.length - 1) === 0);
}
