/**
 * A slider along the x axis of a chart, which reads the values with the keyboard. It moves from value to value, whatever
 * their distance.
 */
import { h, uniqueId } from "./dom.js";

/**
 * What the slider needs to know of its chart.
 * @typedef {object} Readable
 * @property {() => {x: (value: number) => number, left: number, right: number, stops: number[]} | null} geometry scale and
 *   ends of the axis in pixels, and every x with a value, ascending; null while nothing is drawn
 * @property {(at: number) => string} describe the values at x in words
 * @property {(at: number | null) => void} read shows the values at x, or none
 */

/**
 * Creates the slider, with its label.
 * @param {Readable} chart
 */
export function chartReader({ geometry, describe, read }) {
  const id = uniqueId();
  const control = h("input", { id, type: "range", min: "0", max: "1", step: "any", value: "0", class: "chart-reader" });
  const label = h("label", { for: id, class: "chart-reader-label" }, "Move to read values");
  control.setAttribute("aria-valuetext", "start");
  let index = 0;

  /** @param {number} next index of a stop */
  const go = (next) => {
    const found = geometry();
    if (!found) return;
    const { x, left, right, stops } = found;
    index = Math.min(Math.max(next, 0), stops.length - 1);
    control.value = String((x(stops[index]) - left) / (right - left));
    read(stops[index]);
    control.setAttribute("aria-valuetext", describe(stops[index]));
  };
  control.addEventListener("input", () => {
    const found = geometry();
    if (!found) return;
    const { x, left, right, stops } = found;
    const position = left + control.valueAsNumber * (right - left);
    go(
      stops.reduce(
        (best, stop, k) => (Math.abs(x(stop) - position) < Math.abs(x(stops[best]) - position) ? k : best),
        0,
      ),
    );
  });
  control.addEventListener("keydown", (event) => {
    const count = geometry()?.stops.length ?? 0;
    const page = Math.max(1, Math.round(count / 10));
    /** @type {Record<string, number>} */
    const targets = {
      ArrowRight: index + 1,
      ArrowUp: index + 1,
      ArrowLeft: index - 1,
      ArrowDown: index - 1,
      PageUp: index + page,
      PageDown: index - page,
      Home: 0,
      End: count - 1,
    };
    if (!(event.key in targets)) return;
    event.preventDefault();
    go(targets[event.key]);
  });
  control.addEventListener("focus", () => go(index));
  control.addEventListener("blur", () => read(null));

  /**
   * Aligns the slider with the axis.
   * @param {number} left
   * @param {number} right
   */
  const place = (left, right) => {
    control.style.setProperty("margin-left", `calc(${left}px - var(--thumb) / 2)`);
    control.style.setProperty("width", `calc(${right - left}px + var(--thumb))`);
  };
  return { control, label, place };
}
