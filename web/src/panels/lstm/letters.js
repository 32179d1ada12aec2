/**
 * The report's letters with their indices, as elements.
 */
import { h } from "../../ui/dom.js";

/**
 * A letter with an index: i with t below.
 * @param {string} name
 * @param {string} [index]
 * @returns {HTMLElement[]}
 */
export const letter = (name, index) => [h("var", {}, name), ...(index ? [h("sub", {}, index)] : [])];
