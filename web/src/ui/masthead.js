/**
 * What surrounds every panel: the header with the names of the runs, the guide of a panel, and the footer.
 */
import { h, s } from "./dom.js";

/** @typedef {import("../types.js").Manifest} Manifest */
/** @typedef {import("../types.js").Lesson} Lesson */
/** @typedef {import("../panels/panel.js").Panel} Panel */

/** The letter R in 5 × 7 pixels, the logo. */
const LOGO = ["11110", "10001", "10001", "11110", "10100", "10010", "10001"];

function logo() {
  const pixels = LOGO.flatMap((row, y) =>
    [...row].map((pixel, x) => s("rect", { x, y, width: 0.86, height: 0.86, class: pixel === "1" ? "on" : "off" })),
  );
  return s("svg", { viewBox: "-0.5 -0.5 6 8", class: "logo", "aria-hidden": "true" }, ...pixels);
}

/**
 * Names of the runs in the page.
 * @param {Manifest} manifest
 */
const runNames = (manifest) => [...manifest.gans, ...manifest.lstms].map((run) => run.name);

/**
 * The header: what the page is, and of which runs.
 * @param {Manifest} manifest
 * @param {Lesson | null} lesson
 * @param {Node} navigation
 */
export function header(manifest, lesson, navigation) {
  const runs = runNames(manifest);
  return h(
    "header",
    { class: "masthead" },
    h(
      "div",
      { class: "masthead-title" },
      logo(),
      h(
        "div",
        {},
        h("h1", {}, lesson ? lesson.title : "Reviver explorer"),
        h(
          "p",
          { class: "runs" },
          lesson ? "A lesson with " : `Trained networks of the run${runs.length > 1 ? "s" : ""} `,
          runs.flatMap((name, index) => [index ? ", " : "", h("strong", {}, name)]),
        ),
      ),
    ),
    navigation,
  );
}

/**
 * The teacher's question of a lesson.
 * @param {Lesson} lesson
 */
export const lessonQuestion = (lesson) =>
  h(
    "section",
    { class: "lesson-question", "aria-labelledby": "lesson-question" },
    h("h2", { id: "lesson-question" }, "Your question"),
    h("p", {}, lesson.question),
  );

/**
 * The link to the paragraph of a tutorial that explains a panel, where the tutorials stand beside the page.
 * @param {Panel} panel
 */
function tutorialLink({ id, tutorial }) {
  const folder = document.querySelector('meta[name="tutorials"]')?.getAttribute("content");
  const href = `${folder}${tutorial}.html#panel-${id}`;
  return folder && tutorial && h("dd", { class: "tutorial" }, h("a", { href }, "How it works: the tutorial"));
}

/**
 * Question, observation and limit of a panel.
 * @param {Panel} panel
 */
export function guide(panel) {
  const entries = [
    ["question", "Question", panel.question],
    ["observe", "Observe", panel.observe],
    ["limit", "Limit", panel.limit],
  ].filter(([, , text]) => text);
  if (!entries.length) return null;
  const items = entries.map(([kind, name, text]) =>
    h("div", { class: kind }, h("dt", {}, name), h("dd", {}, text), kind === "question" && tutorialLink(panel)),
  );
  return h("dl", { class: "guide" }, items);
}

/**
 * The footer: version, licenses, and that nothing leaves the page. A lesson, whose navigation shows only its panels,
 * links here to what makes another.
 * @param {Manifest} manifest
 * @param {Lesson | null} lesson
 */
export function footer(manifest, lesson) {
  const licenses = new Map(
    [...manifest.gans, ...manifest.lstms].flatMap((run) => run.facts.licenses).map((fact) => [fact.label, fact.value]),
  );
  const rows = [...licenses].flatMap(([label, value]) => [h("dt", {}, label), h("dd", {}, value)]);
  return h(
    "footer",
    { class: "colophon" },
    h("p", {}, "Runs offline; nothing leaves this page."),
    h("p", {}, `Made with Reviver ${manifest.version}, MIT license.`),
    lesson && h("p", {}, h("a", { href: "#lesson" }, "Make a lesson from this one")),
    rows.length > 0 && h("details", {}, h("summary", {}, "Licenses"), h("dl", { class: "facts" }, rows)),
  );
}
