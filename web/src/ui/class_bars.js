/**
 * Class probabilities as bars.
 */
import { h } from "./dom.js";

/** Classes with less than this count as 0 in the text alternative of compact bars. */
const MIN_TOLD = 0.01;
/** Compact bars have names below them only where these names are short and few. */
const MAX_NAMES = 12;

/**
 * @typedef {object} ClassBars
 * @property {HTMLElement} element
 * @property {(probabilities: ArrayLike<number>) => void} set shows the probabilities [K]
 */

/**
 * A probability in words: percent, and never "0 %" or "100 %" for what is only near it. No line breaks inside.
 * @param {number} p
 */
export function percent(p) {
  if (p > 0 && p < 0.01) return "<\u00a01\u00a0%";
  if (p < 1 && p > 0.99) return ">\u00a099\u00a0%";
  return `${Math.round(100 * p)}\u00a0%`;
}

/**
 * Index of the largest number.
 * @param {ArrayLike<number>} values
 */
export function argmax(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/**
 * Creates bars, one per class: a list of horizontal bars with name and percentage, or, if compact, vertical bars with one
 * text alternative.
 * @param {string[]} names of the classes
 * @param {{compact?: boolean}} [options]
 * @returns {ClassBars}
 */
export const classBars = (names, { compact = false } = {}) => (compact ? compactBars(names) : barList(names));

/**
 * @param {string[]} names
 * @returns {ClassBars}
 */
function barList(names) {
  const rows = names.map((name) => {
    const fill = h("span", { class: "bar-fill" });
    const value = h("span", { class: "bar-value" });
    const row = h(
      "li",
      {},
      h("span", { class: "bar-name" }, name),
      h("span", { class: "bar-track", "aria-hidden": "true" }, fill),
      value,
    );
    return { row, fill, value };
  });
  // Without the role, Safari does not treat a list without bullets as one.
  const element = h("ul", { class: "class-bars", role: "list" }, ...rows.map(({ row }) => row));
  return {
    element,
    set(probabilities) {
      const top = argmax(probabilities);
      rows.forEach(({ row, fill, value }, k) => {
        fill.style.setProperty("width", `${100 * probabilities[k]}%`);
        value.textContent = percent(probabilities[k]);
        row.classList.toggle("top", k === top);
      });
    },
  };
}

/**
 * @param {string[]} names
 * @returns {ClassBars}
 */
function compactBars(names) {
  const withNames = names.length <= MAX_NAMES && names.every((name) => name.length <= 2);
  const fills = names.map(() => h("span", { class: "bar-fill" }));
  const columns = names.map((name, k) =>
    h("span", {}, h("span", { class: "bar-track" }, fills[k]), withNames && h("span", { class: "bar-name" }, name)),
  );
  const element = h("div", { class: "class-columns", role: "img" }, ...columns);
  return {
    element,
    set(probabilities) {
      const top = argmax(probabilities);
      fills.forEach((fill, k) => {
        fill.style.setProperty("height", `${100 * probabilities[k]}%`);
        columns[k].classList.toggle("top", k === top);
      });
      const told = names.map((name, k) => ({ name, p: probabilities[k] })).filter(({ p }) => p >= MIN_TOLD);
      told.sort((a, b) => b.p - a.p);
      element.setAttribute(
        "aria-label",
        `Class probabilities: ${told.map(({ name, p }) => `${name} ${percent(p)}`).join(", ")}`,
      );
    },
  };
}
