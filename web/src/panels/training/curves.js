/**
 * Curves of a GAN run with a cursor at the moment of the pictures.
 */
import { LineChart } from "../../ui/chart.js";
import { formatNumber } from "../../ui/chart_series.js";
import { select } from "../../ui/controls.js";
import { fill, h } from "../../ui/dom.js";
import { columnsOf, curvesOf, formatPercent, referencesOf, seriesOf } from "../facts/curves.js";

/** @typedef {import("../../types.js").GanContent} GanContent */
/** @typedef {import("../../types.js").SnapshotSpec} SnapshotSpec */
/** @typedef {import("../facts/curves.js").Curves} Curves */

/**
 * The spacing of the horizontal axis.
 * @typedef {"epoch-log" | "epoch" | "step-log" | "step" | "moment"} AxisChoice
 */

/** @type {[AxisChoice, string][]} */
export const AXES = [
  ["epoch-log", "epochs, logarithmic"],
  ["epoch", "epochs"],
  ["step-log", "updates, logarithmic"],
  ["step", "updates"],
  ["moment", "evenly from picture to picture"],
];

/**
 * What a chart needs to know of an axis.
 * @param {AxisChoice} choice
 * @param {SnapshotSpec[]} moments
 */
function axisSpec(choice, moments) {
  const column = /** @type {"epoch" | "step"} */ (choice.startsWith("epoch") ? "epoch" : "step");
  const at = moments.map((moment) => moment[column]);
  /** @type {import("../../ui/chart_scale.js").Spacing} */
  let xSpacing = choice.endsWith("-log") ? "log" : "linear";
  if (choice === "moment") xSpacing = at.filter((x, index) => index === 0 || x > at[index - 1]);
  const xDomain = /** @type {[number, number]} */ ([Math.min(...at), Math.max(...at)]);
  if (xSpacing === "log") xDomain[0] = Math.min(...at.filter((x) => x > 0));
  return { column, at, xSpacing, xDomain, xLabel: column === "epoch" ? "epoch" : "update" };
}

/**
 * Returns the record that is nearest to a step.
 * @param {(number | null)[]} steps
 * @param {number} step
 */
function nearestRecord(steps, step) {
  let best = -1;
  steps.forEach((candidate, index) => {
    if (candidate === null) return;
    if (best < 0 || Math.abs(candidate - step) < Math.abs(Number(steps[best]) - step)) best = index;
  });
  return best;
}

/**
 * Creates the charts. `show` moves their cursor to a moment.
 * @param {GanContent} content
 * @param {SnapshotSpec[]} moments
 * @param {{axis: AxisChoice, first: string, second: string}} state ids of the curves in both charts; follows the choices
 * @param {{selected: (moment: number) => void, changed: () => void}} events
 */
export function trainingCurves(content, moments, state, events) {
  const all = curvesOf(content).filter(({ id }) => id !== "seconds");
  /** @param {string} id @param {string} fallback */
  const known = (id, fallback) =>
    (all.find((curves) => curves.id === id) ?? all.find((curves) => curves.id === fallback) ?? all[0])?.id;
  let current = 0;

  /** @param {"first" | "second"} place @param {string} label @param {string} fallback */
  const makeChart = (place, label, fallback) => {
    state[place] = known(state[place], fallback);
    const note = h("p", { class: "note" });
    const chart = new LineChart({
      title: "",
      xLabel: "",
      yLabel: "",
      series: [],
      onselect: (x) => events.selected(toMoment(x)),
    });
    const choice = select(
      label,
      all.map(({ id, title }) => [id, title]),
      state[place],
      (id) => {
        state[place] = id;
        update();
        events.changed();
      },
    );
    const update = () => {
      const curves = /** @type {Curves} */ (all.find(({ id }) => id === state[place]));
      const { column, xSpacing, xDomain, xLabel } = axisSpec(state.axis, moments);
      chart.update({
        title: curves.title,
        yLabel: curves.yLabel,
        yDomain: curves.yDomain ?? [null, null],
        xLabel,
        xSpacing,
        xDomain,
        series: seriesOf(content, curves, column),
        references: referencesOf(content, curves),
        formatY: curves.percent ? formatPercent : formatNumber,
      });
      note.textContent = curves.note ?? "";
      chart.setCursor(axisSpec(state.axis, moments).at[current]);
    };
    update();
    return { chart, update, element: h("div", {}, choice.element, chart.element, note) };
  };

  /** @param {number} x */
  const toMoment = (x) => {
    const { at } = axisSpec(state.axis, moments);
    return at.reduce((best, value, index) => (Math.abs(value - x) < Math.abs(at[best] - x) ? index : best), 0);
  };

  const element = h("div", { class: "training-curves" });
  if (!all.length) {
    fill(element, h("p", { class: "note" }, "This run has no records of losses."));
    return { element, show: () => {}, values: () => "", destroy: () => {} };
  }
  const second = all.some(({ id }) => id === "fid") ? "fid" : "probability";
  const charts = [makeChart("first", "First curves", "gan-loss")];
  if (all.length > 1) charts.push(makeChart("second", "Second curves", second));
  const axis = select("Horizontal axis", AXES, state.axis, (choice) => {
    state.axis = choice;
    for (const chart of charts) chart.update();
    events.changed();
  });
  fill(element, ...charts.map((chart) => chart.element), axis.element);

  /** @param {number} moment */
  const show = (moment) => {
    current = moment;
    for (const { chart } of charts) chart.setCursor(axisSpec(state.axis, moments).at[moment]);
  };

  /**
   * The values of both charts in the records that are nearest to a moment, in words.
   * @param {number} moment
   */
  const values = (moment) =>
    [...new Set([state.first, state.second])]
      .map((id) => {
        const curves = all.find((one) => one.id === id);
        if (!curves) return "";
        const columns = columnsOf(content, curves.source);
        const index = nearestRecord(columns.step ?? [], moments[moment].step);
        if (index < 0) return "";
        const format = curves.percent ? formatPercent : formatNumber;
        const words = curves.columns.map(({ key, name }) => {
          const value = columns[key][index];
          return `${curves.columns.length > 1 ? `${name} ` : ""}${value === null ? "–" : format(value)}`;
        });
        return `${curves.title}: ${words.join(", ")} (update ${formatNumber(Number(columns.step[index]))})`;
      })
      .filter(Boolean)
      .join("; ");
  return { element, show, values, destroy: () => charts.forEach(({ chart }) => chart.destroy()) };
}
