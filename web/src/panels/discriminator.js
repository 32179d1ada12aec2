/**
 * Panel "Be the discriminator": a game against D. One image after the other, as D judges them.
 */
import { button, select, toggle } from "../ui/controls.js";
import { fill, h, uniqueId } from "../ui/dom.js";
import { drawImage, imageCanvas } from "../ui/image.js";
import { kind, output, results } from "./discriminator/results.js";
import { deal, sourcesOf } from "./discriminator/round.js";

/** @typedef {import("../explorer.js").Explorer} Explorer */
/** @typedef {import("./discriminator/round.js").Card} Card */
/** @typedef {import("./discriminator/round.js").Source} Source */

const MAX_SEED = 2 ** 31;

/** @param {Explorer} explorer */
const runsOf = (explorer) => explorer.manifest.gans.filter((content) => sourcesOf(content, explorer).length);

/**
 * Returns a seed from the fragment or from the field.
 * @param {string | null} text
 */
function readSeed(text) {
  const seed = Number(text || NaN);
  return Number.isInteger(seed) && seed >= 0 && seed < MAX_SEED ? seed : null;
}

/** @type {import("./panel.js").Panel} */
export const discriminatorPanel = {
  id: "discriminator",
  tutorial: "gan",
  needs: ["snapshots", "generator", "discriminator", "test", "training"],
  title: "Be the discriminator",
  question: "Can you tell real images from generated ones better than D can?",
  observe: "Play an early moment and a late one. Whose score falls more, yours or D's?",
  limit:
    "The real images of a moment are training images, which D has learned from. There are only 25 of them, and as many generated ones: after some rounds you know them too.",
  unavailable: (explorer) =>
    runsOf(explorer).length ? null : "No GAN run in this file has real images that D has judged.",

  async mount(root, explorer, view) {
    const runs = runsOf(explorer);
    let content = runs.find(({ id }) => id === view.get("run")) ?? runs[0];
    let sources = sourcesOf(content, explorer);
    /** @param {string | null} id */
    const find = (id) => sources.find((source) => source.id === id) ?? sources[Math.min(1, sources.length - 1)];
    let source = find(view.get("at"));
    let seed = readSeed(view.get("seed")) ?? 0;
    /** @type {Card[]} */
    let round = [];
    /** @type {boolean[]} */
    let answers = [];
    let feedback = false;
    let keys = true;
    let dealing = 0;

    const canvas = imageCanvas(null, content.imageShape, "the image to judge");
    const progress = h("p", { class: "game-progress" });
    const last = h("p", { class: "game-feedback" });
    const real = button("Real (R)", () => answer(true));
    const generated = button("Generated (G)", () => answer(false));
    const back = button("Take back", () => takeBack());
    const table = h(
      "div",
      { class: "game-table" },
      canvas,
      h(
        "div",
        {},
        progress,
        h("p", {}, "Is this image real or generated? Each one is real with probability ½."),
        h("div", { class: "buttons" }, real, generated, back),
        last,
      ),
    );
    const outcome = h("div", {});

    const start = async () => {
      const turn = ++dealing;
      const dealt = await deal(source, seed, content.isLogOdds);
      if (turn !== dealing) return; // another round was chosen meanwhile
      [round, answers] = [dealt, []];
      last.textContent = "";
      canvas.width = content.imageShape[2];
      canvas.height = content.imageShape[1];
      fill(outcome);
      table.hidden = false;
      show();
      explorer.viewChanged();
    };
    const show = () => {
      progress.textContent = `Image ${answers.length + 1} of ${round.length}`;
      back.disabled = answers.length === 0 || feedback;
      drawImage(canvas, round[answers.length].pixels, content.imageShape);
    };
    /** @param {boolean} guess true: real */
    const answer = (guess) => {
      const card = round[answers.length];
      if (!card) return;
      answers.push(guess);
      const words = `Image ${answers.length} was ${kind(card.real)}. You: ${guess === card.real ? "right" : "wrong"}. D: ${output(card.logit, content.isLogOdds)}, ${card.answer === card.real ? "right" : "wrong"}.`;
      last.textContent = feedback ? words : "";
      if (answers.length === round.length) return finish();
      show();
      explorer.announce(`${feedback ? words : ""} Image ${answers.length + 1} of ${round.length}.`);
    };
    const takeBack = () => {
      answers.pop();
      last.textContent = "";
      show();
      explorer.announce(`Image ${answers.length + 1} of ${round.length} again.`);
    };
    const finish = () => {
      const { element, summary } = results(round, answers, content.imageShape, content.isLogOdds, () => playAgain());
      fill(outcome, element);
      table.hidden = true;
      /** @type {HTMLElement} */ (element.querySelector("h3")).focus();
      explorer.announce(summary);
    };

    const moment = h("div", {});
    const offerMoments = () => {
      const choice = select(
        "Images from",
        sources.map(({ id, name }) => [id, name]),
        source.id,
        (id) => {
          source = find(id);
          void start();
        },
      );
      fill(moment, choice.element);
    };
    const run = select(
      "Run",
      runs.map(({ id, name }) => [id, name]),
      content.id,
      (id) => {
        content = runs.find((candidate) => candidate.id === id) ?? runs[0];
        sources = sourcesOf(content, explorer);
        source = find(source.id);
        offerMoments();
        void start();
      },
    );
    const seedId = uniqueId();
    const seedField = h("input", {
      id: seedId,
      type: "number",
      min: "0",
      max: String(MAX_SEED - 1),
      step: "1",
      value: String(seed),
      onchange: () => {
        seed = readSeed(seedField.value) ?? seed;
        seedField.value = String(seed);
        void start();
      },
    });
    const playAgain = () => {
      seed = (seed + 1) % MAX_SEED;
      seedField.value = String(seed);
      void start().then(() => real.focus());
    };
    const again = button("New round", playAgain);
    offerMoments();
    fill(
      root,
      h("div", { class: "game-controls" }, runs.length > 1 && run.element, moment),
      table,
      outcome,
      h(
        "div",
        { class: "game-controls" },
        h("div", { class: "field" }, h("label", { for: seedId }, "Seed of the round"), seedField),
        again,
        toggle("Tell me after each image", feedback, (checked) => {
          feedback = checked;
          if (answers.length < round.length) show();
        }).element,
        toggle("Answer with the keys R and G", keys, (checked) => (keys = checked)).element,
      ),
    );

    /** @param {KeyboardEvent} event */
    const onkeydown = (event) => {
      const typing =
        event.target instanceof Element && event.target.closest("input:not([type=checkbox]), select, textarea");
      if (!keys || typing || table.hidden || event.altKey || event.ctrlKey || event.metaKey || event.repeat) return;
      if (event.key === "r" || event.key === "R") answer(true);
      else if (event.key === "g" || event.key === "G") answer(false);
    };
    document.addEventListener("keydown", onkeydown);
    await start();
    return {
      view: () => ({ ...(runs.length > 1 && { run: content.id }), at: source.id, seed: String(seed) }),
      destroy: () => document.removeEventListener("keydown", onkeydown),
    };
  },
};
