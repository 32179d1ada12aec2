/**
 * Panel "Lessons": makes a new file with chosen panels, a start view and a teacher's question.
 */
import { MAX_QUESTION, MAX_TITLE, renderLesson } from "../lessons/page.js";
import { button, select, textField } from "../ui/controls.js";
import { append, fill, h } from "../ui/dom.js";
import { download } from "../ui/download.js";

/** @typedef {import("../types.js").Lesson} Lesson */
/** @typedef {import("../ui/shell.js").Shell} Shell */
/** @typedef {import("./panel.js").Panel} Panel */

/** Most characters of a file name, so that its UTF-8 has at most 255 bytes. */
const MAX_NAME = 60;

/**
 * Name of the file of a lesson: its words in any script, Latin letters without their marks.
 * @param {string} title
 */
export function fileName(title) {
  const words = title
    .normalize("NFKD")
    .toLowerCase()
    .replace(/(\p{Script=Latin})\p{M}+/gu, "$1")
    .replaceAll("ß", "ss")
    .normalize("NFC")
    .match(/[\p{L}\p{M}\p{N}]+/gu);
  const name = [...(words ?? ["lesson"]).join("-")].slice(0, MAX_NAME).join("");
  return `${name.replace(/-$/, "")}.html`;
}

/**
 * Size in words.
 * @param {number} bytes
 */
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

/**
 * @param {Shell} shell
 * @param {HTMLElement} source copy of the page as it was read
 * @returns {Panel}
 */
export function lessonPanel(shell, source) {
  return {
    id: "lesson",
    needs: [],
    title: "Lessons",
    question: "What should your students look at first?",
    observe: "A lesson opens at your start view, with your question on top, and shows only the panels that you chose.",
    limit: "A lesson is a file of its own. Later changes of this page do not reach it.",
    unavailable: () => null,
    async mount(root, explorer) {
      const panels = shell.available.filter((panel) => panel.id !== "lesson" && shell.offers(panel));
      const chosen = new Set(panels.map((panel) => panel.id));
      const text = { title: shell.lesson?.title ?? "", question: shell.lesson?.question ?? "" };
      let start = panels[0]?.id ?? "";
      const startField = h("div", {});
      const result = h("p", { class: "result" });

      /** @param {string} id */
      const isChanged = (id) => shell.fragmentOf(id) !== id;

      const fillStart = () => {
        const choices = panels.filter((panel) => chosen.has(panel.id));
        if (!chosen.has(start)) start = choices[0]?.id ?? "";
        /** @type {[string, string][]} */
        const names = choices.map(({ id, title }) => [id, isChanged(id) ? `${title}, as you left it` : title]);
        fill(startField, select("Start view", names, start, (id) => (start = id)).element);
        save.disabled = !choices.length;
      };

      const boxes = panels.map(({ id, title }) => {
        const box = h("input", {
          type: "checkbox",
          checked: true,
          onchange: () => {
            if (box.checked) chosen.add(id);
            else chosen.delete(id);
            fillStart();
          },
        });
        return h("label", { class: "choice" }, box, h("span", {}, title));
      });

      const saveLesson = async () => {
        const kept = panels.filter((panel) => chosen.has(panel.id));
        /** @type {Lesson} */
        const lesson = {
          schema: 1,
          title: text.title.trim() || "Lesson",
          question: text.question.trim(),
          panels: kept.map((panel) => panel.id),
          start: shell.fragmentOf(start),
        };
        const html = await renderLesson(source, explorer.manifest, lesson, kept);
        const name = fileName(lesson.title);
        download(name, html, "text/html");
        result.textContent = `Saved ${name}, ${megabytes(html.length)}. It opens in any browser, without a network.`;
        explorer.announce(result.textContent);
      };
      const save = button("Save as lesson", () => void saveLesson(), { class: "primary" });

      append(
        root,
        h(
          "form",
          { class: "card lesson-form", onsubmit: (/** @type {Event} */ event) => event.preventDefault() },
          textField("Title", text.title, (value) => (text.title = value), { maxLength: MAX_TITLE }).element,
          textField("Your question to the students", text.question, (value) => (text.question = value), {
            rows: 3,
            maxLength: MAX_QUESTION,
            hint: "It stands above the panels. Plain text.",
          }).element,
          h("fieldset", { class: "field" }, h("legend", {}, "Panels"), h("div", { class: "choices" }, boxes)),
          startField,
          h("div", { class: "controls" }, save),
          result,
        ),
      );
      fillStart();
      return { view: () => ({}) };
    },
  };
}
