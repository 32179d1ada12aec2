/**
 * Facts of one run, or of two side by side, as tables.
 */
import { h } from "../../ui/dom.js";

/** @typedef {import("../../types.js").Fact} Fact */
/** @typedef {import("../../types.js").Facts} Facts */
/** @typedef {import("../../types.js").GanContent} GanContent */
/** @typedef {import("../../types.js").LstmContent} LstmContent */
/** @typedef {GanContent | LstmContent} Run */
/** @typedef {import("../../ui/dom.js").Child} Child */

/**
 * A table that scrolls inside itself where it is too wide.
 * @param {string} name
 * @param {string[]} columns
 * @param {{head: Child | Child[], cells: (Child | Child[])[], marked?: boolean}[]} rows
 */
export function scrollTable(name, columns, rows) {
  const region = h(
    "div",
    { class: "facts-table", role: "region", tabIndex: 0, "aria-label": name, "data-scrolls": "" },
    h(
      "table",
      {},
      h("caption", { class: "visually-hidden" }, name),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          columns.map((column) => h("th", { scope: "col" }, column)),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map(({ head, cells, marked }) =>
          h(
            "tr",
            { class: marked ? "marked" : null },
            h("th", { scope: "row" }, head),
            cells.map((cell) => h("td", {}, ...[cell].flat())),
          ),
        ),
      ),
    ),
  );
  return region;
}

/**
 * Facts of several runs, joined by their labels in the order of the first run.
 * @param {Fact[][]} lists one per run
 * @returns {{label: string, facts: (Fact | undefined)[]}[]}
 */
export function joinFacts(lists) {
  const labels = [...new Set(lists.flat().map(({ label }) => label))];
  return labels.map((label) => ({ label, facts: lists.map((list) => list.find((fact) => fact.label === label)) }));
}

/**
 * Whether the runs have different values.
 * @param {{facts: (Fact | undefined)[]}} row
 */
export const differs = ({ facts }) => facts.some((fact) => fact?.value !== facts[0]?.value);

/**
 * Facts with a label, a value and perhaps a note.
 * @param {string} name
 * @param {Run[]} runs
 * @param {Fact[][]} lists one per run
 */
export function factTable(name, runs, lists) {
  const rows = joinFacts(lists).map(({ label, facts }) => ({
    head: label,
    cells: facts.map((fact) => [fact?.value ?? "–", fact?.note ? h("div", { class: "note" }, fact.note) : null]),
  }));
  return scrollTable(name, ["fact", ...(runs.length > 1 ? runs.map((run) => run.name) : ["value"])], rows);
}

/**
 * The settings: all of them, or those that were changed or differ.
 * @param {Run[]} runs
 * @param {boolean} few
 */
export function settingsTable(runs, few) {
  const isPair = runs.length > 1;
  const rows = joinFacts(runs.map(({ facts }) => facts.config)).map((row) => ({
    ...row,
    marked: isPair ? differs(row) : row.facts[0]?.note === "changed",
  }));
  const shown = few ? rows.filter(({ marked }) => marked) : rows;
  if (!shown.length) return h("p", {}, isPair ? "The runs have the same settings." : "Every setting has its default.");
  const columns = isPair ? runs.map((run) => run.name) : ["value"];
  return scrollTable(
    isPair ? "Settings of both runs" : "Settings",
    ["setting", ...columns],
    shown.map(({ label, facts, marked }) => ({
      head: h("code", {}, label),
      marked,
      cells: facts.map((fact) => [
        h("span", { class: fact?.note === "changed" ? "changed" : null }, fact?.value ?? "–"),
        fact?.note === "changed" && h("span", { class: "note" }, " changed"),
      ]),
    })),
  );
}

/**
 * Scores beside their baselines.
 * @param {Run[]} runs
 */
export function scoreTable(runs) {
  const names = [...new Set(runs.flatMap(({ facts }) => facts.scores.map(({ name }) => name)))];
  if (!names.length) return null;
  const rows = names.map((name) => {
    const scores = runs.map(({ facts }) => facts.scores.find((score) => score.name === name));
    const known = scores.find(Boolean);
    return {
      head: name,
      cells: [...scores.map((score) => score?.value ?? "–"), known?.real ?? "–", known?.noise ?? "–"],
    };
  });
  const columns = runs.length > 1 ? runs.map((run) => run.name) : ["this run"];
  const notes = [...new Set(runs.map(({ facts }) => facts.scoresNote).filter(Boolean))];
  return h(
    "div",
    {},
    scrollTable("Scores", ["score", ...columns, "real images", "noise"], rows),
    notes.map((note) => h("p", { class: "note" }, note)),
  );
}

/** @param {number} value */
const small = (value) => (value === 0 ? "0" : Math.abs(value) < 1e-3 ? value.toExponential(1) : value.toPrecision(2));

/**
 * Rounding errors of the embedded weights.
 * @param {Run[]} runs
 */
export function roundingTable(runs) {
  const rows = runs.flatMap((run) =>
    run.facts.rounding.map(({ network, unit, max, mean }) => ({
      head: [
        runs.length > 1 ? `${network} of ${run.name}` : network,
        h("div", { class: "note" }, `error of a ${unit}`),
      ],
      cells: [small(max), small(mean)],
    })),
  );
  if (!rows.length) return null;
  const table = scrollTable("Rounding errors", ["network", "largest error", "mean error"], rows);
  return h("div", { class: "facts-rounding" }, table);
}
