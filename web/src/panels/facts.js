/**
 * Panel "Curves and facts": what the records of a run say, alone or beside another run.
 */
import { select, toggle } from "../ui/controls.js";
import { copyField } from "../ui/copy.js";
import { fill, h } from "../ui/dom.js";
import { AXES, makeCharts } from "./facts/charts.js";
import { pairOfGrids } from "./facts/pictures.js";
import { factTable, roundingTable, scoreTable, settingsTable } from "./facts/tables.js";

/** @typedef {import("../explorer.js").Explorer} Explorer */
/** @typedef {import("./facts/charts.js").AxisChoice} AxisChoice */
/** @typedef {import("./facts/tables.js").Run} Run */

const NONE = "none";

/**
 * @typedef {object} State
 * @property {Run} run
 * @property {Run | null} other to compare with
 * @property {AxisChoice} axis
 * @property {boolean} few whether only changed settings are shown
 * @property {{left: string, right: string}} pair ids of the pictures
 */

/** @param {Explorer} explorer @returns {Run[]} */
const runsOf = ({ manifest }) => [...manifest.gans, ...manifest.lstms];

/**
 * Whether two runs have the same metrics.
 * @param {Run} a
 * @param {Run} b
 */
const sameKind = (a, b) => a !== b && "generator" in a === "generator" in b;

/** @type {import("./panel.js").Panel} */
export const factsPanel = {
  id: "facts",
  tutorial: "gan",
  title: "Curves and facts",
  question: "How did this run go, and can somebody repeat it?",
  observe: "Compare the last values of a curve with its baseline: how much better could it still become?",
  limit:
    "One run is one random seed. Another seed gives other curves, so a small difference between two runs proves nothing.",
  needs: ["generator", "snapshots"],
  unavailable: (explorer) => (runsOf(explorer).length ? null : "There is no run in this file."),

  async mount(root, explorer, view) {
    const runs = runsOf(explorer);
    const run = runs.find(({ id }) => id === view.get("run")) ?? runs[0];
    /** @type {State} */
    const state = {
      run,
      other: runs.find((other) => other.id === view.get("with") && sameKind(run, other)) ?? null,
      axis: AXES.find(([axis]) => axis === view.get("axis"))?.[0] ?? "epoch",
      few: view.get("settings") !== "all",
      pair: { left: view.get("left") ?? "", right: view.get("right") ?? "" },
    };
    const chooser = h("div", { class: "controls" });
    const body = h("div", { class: "facts-body" });
    let destroy = () => {};
    const show = () => {
      destroy();
      destroy = fillBody(body, explorer, state);
      explorer.viewChanged();
    };
    const offerRuns = () => {
      const others = runs.filter((other) => sameKind(state.run, other));
      const choice = select(
        "Run",
        runs.map(({ id, name }) => [id, name]),
        state.run.id,
        (id) => {
          state.run = runs.find((candidate) => candidate.id === id) ?? runs[0];
          state.other = null;
          state.pair = { left: "", right: "" };
          offerRuns();
          show();
          chooser.querySelector("select")?.focus();
          explorer.announce(`Facts of ${state.run.name}.`);
        },
      );
      const comparison = select(
        "Compare with",
        [[NONE, "no other run"], ...others.map((other) => /** @type {[string, string]} */ ([other.id, other.name]))],
        state.other?.id ?? NONE,
        (id) => {
          state.other = others.find((other) => other.id === id) ?? null;
          show();
          explorer.announce(state.other ? `${state.run.name} beside ${state.other.name}.` : `Only ${state.run.name}.`);
        },
      );
      fill(chooser, choice.element, others.length > 0 && comparison.element);
    };
    offerRuns();
    fill(root, runs.length > 1 && chooser, body);
    show();
    return {
      view: () => ({
        ...(runs.length > 1 && { run: state.run.id }),
        ...(state.other && { with: state.other.id }),
        axis: state.axis,
        ...(!state.few && { settings: "all" }),
        ...(state.pair.left && state.pair),
      }),
      destroy: () => destroy(),
    };
  },
};

/**
 * @param {string} title
 * @param {...(import("../ui/dom.js").Child)} content
 */
const section = (title, ...content) => h("section", {}, h("h3", {}, title), ...content);

/**
 * Sections side by side where there is room.
 * @param {...(import("../ui/dom.js").Child)} sections
 */
const beside = (...sections) => h("div", { class: "facts-beside" }, ...sections);

/**
 * Shows everything about one or two runs; returns how to stop.
 * @param {HTMLElement} body
 * @param {Explorer} explorer
 * @param {State} state
 */
function fillBody(body, explorer, state) {
  const runs = state.other ? [state.run, state.other] : [state.run];
  const place = h("div", {});
  let charts = makeCharts(runs, state.axis);
  fill(place, charts.element);
  const axis = select("Horizontal axis", AXES, state.axis, (choice) => {
    state.axis = choice;
    charts.destroy();
    charts = makeCharts(runs, state.axis);
    fill(place, charts.element);
    explorer.viewChanged();
  });
  const settings = h("div", {});
  const showSettings = () => fill(settings, settingsTable(runs, state.few));
  showSettings();
  const filter = toggle(state.other ? "Only different settings" : "Only changed settings", state.few, (few) => {
    state.few = few;
    showSettings();
    explorer.viewChanged();
  });
  const scores = scoreTable(runs);
  const rounding = roundingTable(runs);
  const pair = "generator" in state.run ? pairOfGrids(explorer, state.run, state.pair, explorer.viewChanged) : null;

  fill(
    body,
    section("Curves", axis.element, place),
    beside(
      scores && section("Scores at the end", scores),
      rounding &&
        section(
          "Rounding",
          h(
            "p",
            { class: "note" },
            "This file has its weights in half precision (fp16), so that it stays small. The errors compare its networks with the trained ones.",
          ),
          rounding,
        ),
    ),
    pair &&
      section(
        "Two generators on the same latents",
        h("p", { class: "note" }, "Images at the same place come from the same latent."),
        pair,
      ),
    section(
      state.other ? "Commands that repeat the runs" : "Command that repeats the run",
      ...runs.map(({ facts, name }) =>
        copyField(
          facts.command,
          runs.length > 1 ? `Copy the command of ${name}` : "Copy the command",
          explorer.announce,
        ),
      ),
    ),
    beside(
      section(
        "Run",
        factTable(
          "Facts about the run",
          runs,
          runs.map(({ facts }) => facts.run),
        ),
      ),
      section("Settings", filter.element, settings),
    ),
    section(
      "Licenses",
      factTable(
        "Licenses",
        runs,
        runs.map(({ facts }) => facts.licenses),
      ),
    ),
  );
  return () => charts.destroy();
}
