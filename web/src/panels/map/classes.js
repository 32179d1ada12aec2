/**
 * Colors of classes, and what stands for their names where there is little room. No class is told by its color alone.
 */
import { h } from "../../ui/dom.js";

/** Text on each of them is black: contrast at least 7. */
const COLORS = [
  "#6fb7e6",
  "#f2a33a",
  "#7cc77c",
  "#ef8a86",
  "#bfa3e0",
  "#c79f8c",
  "#eba3cf",
  "#b4b4b4",
  "#cfd04f",
  "#58c9cf",
];

/** @param {number} classIndex */
export const classColor = (classIndex) => COLORS[classIndex % COLORS.length];

/**
 * A name of at most three letters, else the index.
 * @param {string[]} names
 * @param {number} classIndex
 */
export const shortName = (names, classIndex) =>
  names[classIndex]?.length <= 3 ? names[classIndex] : String(classIndex);

/**
 * The legend of the colors.
 * @param {string[]} names
 */
export function classLegend(names) {
  const items = names.map((name, k) => {
    const swatch = h("span", { class: "class-swatch" }, shortName(names, k));
    swatch.style.setProperty("background", classColor(k));
    return h("li", {}, swatch, shortName(names, k) === name ? null : name);
  });
  return h("ul", { class: "class-legend", role: "list", "aria-label": "Colors of the predicted classes" }, ...items);
}
