/**
 * The curves of a run, or of two runs: then each chart has one metric of both.
 */
import { LineChart } from "../../ui/chart.js";
import { formatNumber } from "../../ui/chart_series.js";
import { h } from "../../ui/dom.js";
import { curvesOf, formatPercent, referencesOf, seriesOf } from "./curves.js";

/** @typedef {import("./curves.js").Curves} Curves */
/** @typedef {import("./tables.js").Run} Run */
/** Charts that are shown at once; a click shows the others. */
const NUM_FIRST = 4;

/** @typedef {"epoch" | "epoch-log" | "step" | "step-log"} AxisChoice */

/** @type {[AxisChoice, string][]} */
export const AXES = [
  ["epoch", "epochs"],
  ["epoch-log", "epochs, logarithmic"],
  ["step", "updates"],
  ["step-log", "updates, logarithmic"],
];

/**
 * Splits curves of several metrics into one chart per metric.
 * @param {Curves} curves
 * @returns {Curves[]}
 */
const split = (curves) =>
  curves.columns.length === 1
    ? [curves]
    : curves.columns.map((column) => ({ ...curves, title: `${curves.title}: ${column.name}`, columns: [column] }));

/**
 * Returns the horizontal lines of some curves: the same for all runs, or else those of each run, with its name.
 * @param {Run[]} runs
 * @param {Curves} curves
 */
function sharedReferences(runs, curves) {
  const lists = runs.map((run) => referencesOf(run, curves));
  if (lists.every((list) => JSON.stringify(list) === JSON.stringify(lists[0]))) return lists[0];
  return lists.flatMap((list, k) => list.map((line) => ({ ...line, name: `${line.name}, ${runs[k].name}` })));
}

/**
 * Creates the charts.
 * @param {Run[]} runs one or two
 * @param {AxisChoice} axis
 */
export function makeCharts(runs, axis) {
  const column = /** @type {"epoch" | "step"} */ (axis.split("-")[0]);
  const isPair = runs.length > 1;
  const all = curvesOf(runs[0], runs);
  const shown = isPair ? all.flatMap(split) : all;
  const charts = shown.map((curves) => {
    const series = runs.flatMap((run) =>
      seriesOf(run, curves, column).map((one) => (isPair ? { ...one, name: run.name } : one)),
    );
    const chart = new LineChart({
      title: curves.title,
      xLabel: column === "epoch" ? "epoch" : "update",
      yLabel: curves.yLabel,
      xSpacing: axis.endsWith("-log") ? "log" : "linear",
      yDomain: curves.yDomain,
      series,
      references: sharedReferences(runs, curves),
      formatY: curves.percent ? formatPercent : formatNumber,
      reader: true,
    });
    return { chart, element: h("div", {}, chart.element, curves.note && h("p", { class: "note" }, curves.note)) };
  });
  const elements = charts.map(({ element }) => element);
  const more = elements.splice(NUM_FIRST);
  return {
    element: charts.length
      ? h(
          "div",
          { class: "facts-curves" },
          h("div", { class: "facts-charts" }, elements),
          more.length > 0 &&
            h("details", {}, h("summary", {}, `${more.length} more curves`), h("div", { class: "facts-charts" }, more)),
        )
      : h("p", {}, "This run has no records yet."),
    destroy: () => charts.forEach(({ chart }) => chart.destroy()),
  };
}
