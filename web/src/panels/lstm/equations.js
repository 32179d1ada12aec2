/**
 * The equations of one unit at one step with their numbers, in the letters of the report.
 */
import { fill, h } from "../../ui/dom.js";
import { formatNumber, formatTerm } from "./format.js";
import { letter } from "./letters.js";
import { mapNames } from "./scene.js";

/** @typedef {import("../../models/lstm.js").GateTerms} GateTerms */
/** @typedef {import("../../models/lstm.js").CellTrace} CellTrace */
/** @typedef {import("./state.js").MapName} MapName */
/** @typedef {import("../../ui/dom.js").Child} Child */

/** Letter of the weights of each gate: those of the candidate g are W_c, U_c, b_c. */
const WEIGHTS = /** @type {const} */ ({ i: "i", f: "f", g: "c", o: "o", h: "" });

/** A row of equations per map: the equation in letters, and in numbers for each sequence. */
export class Equations {
  /** @param {import("../../types.js").LstmContent} content */
  constructor(content) {
    this.content = content;
    this.element = h("div", { class: "lstm-equations", "data-count": String(mapNames(content).length) });
  }

  /** The selected equation as text. */
  get summary() {
    return this.element.querySelector(".selected")?.textContent ?? "";
  }

  /**
   * @param {MapName} selected
   * @param {{name: string, terms: GateTerms}[]} traces one per sequence
   * @param {CellTrace} cell
   */
  show(selected, traces, cell) {
    const previous = cell.direction === "backward" ? "t+1" : "t−1";
    fill(
      this.element,
      mapNames(this.content).map((map) =>
        h(
          "div",
          { class: map === selected ? "lstm-equation selected" : "lstm-equation", "data-map": map },
          h("p", { class: "lstm-equation-letters" }, letters(map, this.content, previous, cell.mask !== null)),
          traces.map(({ name, terms }) =>
            h(
              "p",
              { class: "lstm-equation-numbers" },
              name ? h("span", { class: "lstm-equation-name" }, `${name} `) : null,
              numbers(map, terms, this.content),
            ),
          ),
        ),
      ),
    );
  }
}

/**
 * The equation of a value in letters.
 * @param {MapName} map
 * @param {import("../../types.js").LstmContent} content
 * @param {string} previous index of the step before
 * @param {boolean} hasMask
 * @returns {Child[]}
 */
function letters(map, content, previous, hasMask) {
  const left = [...letter(map, "t"), " = "];
  const isRnn = content.cell === "rnn";
  if (map === "c")
    return [
      ...left,
      ...letter("f", "t"),
      " ",
      ...letter("c", previous),
      " + ",
      ...letter("i", "t"),
      " ",
      ...letter("g", "t"),
    ];
  const affine = () => {
    const weights = WEIGHTS[map];
    return [
      ...letter("W", weights),
      " ",
      ...letter("x", "t"),
      " + ",
      ...letter("U", weights),
      " ",
      ...letter("h", previous),
      " + ",
      ...letter("b", weights),
    ];
  };
  if (map === "h") {
    const value = isRnn ? ["tanh(", ...affine(), ")"] : [...letter("o", "t"), " tanh(", ...letter("c", "t"), ")"];
    if (!hasMask) return [...left, ...value];
    const masked = [...left, ...letter("m", "t"), " ", ...value];
    if (content.hiddenDropoutKind !== "zoneout") return masked;
    return [...masked, " + (1 − ", ...letter("m", "t"), ") ", ...letter("h", previous)];
  }
  return [...left, map === "g" ? "tanh(" : "σ(", ...affine(), ")"];
}

/**
 * The same with numbers.
 * @param {MapName} map
 * @param {GateTerms} terms
 * @param {import("../../types.js").LstmContent} content
 * @returns {Child[]}
 */
function numbers(map, terms, content) {
  if (map === "c") {
    const { c, gates } = terms;
    if (!c) return [];
    const kept = `${formatNumber(gates.f?.value ?? NaN)} · ${formatTerm(c.previous)}`;
    const written = `${formatNumber(gates.i?.value ?? NaN)} · ${formatTerm(gates.g?.value ?? NaN)}`;
    return [
      chunk(`= ${kept} + ${written}`),
      chunk(`= ${formatNumber(c.kept)} + ${formatTerm(c.written)}`),
      result(c.value),
    ];
  }
  if (map === "h") return hiddenNumbers(terms, content);
  const gate = terms.gates[map];
  if (!gate) return [];
  return [...affineNumbers(map === "g" ? "tanh" : "σ", gate), result(gate.value)];
}

/**
 * @param {GateTerms} terms
 * @param {import("../../types.js").LstmContent} content
 * @returns {Child[]}
 */
function hiddenNumbers({ gates, c, h: hidden }, content) {
  const { mask, previous, beforeDropout, value } = hidden;
  const plain = gates.h
    ? affineNumbers("tanh", gates.h)
    : [chunk(`= ${formatNumber(gates.o?.value ?? NaN)} · tanh(${formatNumber(c?.value ?? NaN)})`)];
  if (mask === null) return [...plain, result(value)];
  const kept = content.hiddenDropoutKind === "zoneout" ? ` + ${formatNumber(1 - mask)} · ${formatTerm(previous)}` : "";
  return [chunk(`= ${formatNumber(mask)} · ${formatTerm(beforeDropout)}${kept}`), result(value)];
}

/**
 * @param {string} activation
 * @param {import("../../models/lstm.js").AffineTerms} terms
 * @returns {Child[]}
 */
const affineNumbers = (activation, { Wx, Uh, b, z }) => [
  chunk(`= ${activation}(${formatNumber(Wx)} + ${formatTerm(Uh)} + ${formatTerm(b)})`),
  chunk(`= ${activation}(${formatNumber(z)})`),
];

/**
 * A part of an equation that stays on one line if it fits.
 * @param {string} text
 */
const chunk = (text) => h("span", { class: "lstm-chunk" }, text);

/** @param {number} value */
const result = (value) => h("strong", { class: "lstm-chunk" }, `= ${formatNumber(value)}`);
