/**
 * The result of a round: the player's score beside D's and beside guessing, and every image with its answers.
 */
import { sigmoid } from "../../compute/activations.js";
import { button } from "../../ui/controls.js";
import { h } from "../../ui/dom.js";
import { imageCanvas } from "../../ui/image.js";

/** @typedef {import("./round.js").Card} Card */

/** Part of the rounds in which guessing stays inside its band. */
const BAND = 0.95;

/**
 * Returns the smallest band around half of n that a guesser's score is in, in at least 95 % of the rounds.
 * @param {number} n
 * @returns {[number, number]}
 */
export function guessingBand(n) {
  /** @type {number[]} */
  const probabilities = [];
  for (let k = 0, p = 2 ** -n; k <= n; k++, p = (p * (n - k + 1)) / k) probabilities.push(p);
  let low = Math.floor(n / 2);
  let high = Math.ceil(n / 2);
  const inside = () => probabilities.slice(low, high + 1).reduce((sum, p) => sum + p, 0);
  while (low > 0 && inside() < BAND) [low, high] = [low - 1, high + 1];
  return [low, high];
}

/**
 * What the comparison means.
 * @param {boolean} player whether the player is better than guessing
 * @param {boolean} D whether D is
 */
function meaning(player, D) {
  if (player && D) return "You and D both tell them apart. D's gradient still shows G what to improve.";
  if (player)
    return "You see errors that D does not see. G learns only from D, so nothing tells G to correct these errors.";
  if (D)
    return "D uses differences that you do not see. G's next updates follow D's gradient and make these differences smaller.";
  return "Neither you nor D is better than guessing. One by one, these images look real. Whether they are as varied as the real ones is another question.";
}

/**
 * A bar from 0 to n with the band of guessing.
 * @param {string} name
 * @param {number} correct
 * @param {number} n
 * @param {[number, number]} band
 * @param {string} style class
 */
function bar(name, correct, n, [low, high], style) {
  const chance = h("div", { class: "score-chance" });
  chance.style.setProperty("left", `${(100 * low) / n}%`);
  chance.style.setProperty("width", `${(100 * (high - low)) / n}%`);
  const fillBar = h("div", { class: `score-fill ${style}` });
  fillBar.style.setProperty("width", `${(100 * correct) / n}%`);
  return h(
    "div",
    { class: "score-row" },
    h("span", { class: "score-name" }, name),
    h("div", { class: "score-track", "aria-hidden": "true" }, fillBar, chance),
    h("span", {}, h("strong", {}, `${correct} of ${n}`)),
  );
}

/** @param {boolean} real */
export const kind = (real) => (real ? "real" : "generated");

/**
 * D's output as text.
 * @param {number} logit
 * @param {boolean} isProbability
 */
export function output(logit, isProbability) {
  if (!isProbability) return logit.toFixed(2);
  const probability = sigmoid(logit);
  const nearHalf = Math.abs(probability - 0.5) < 0.005; // so that a reader sees on which side it is
  return probability.toFixed(nearHalf ? 4 : 2);
}

/** @param {boolean} right */
const mark = (right) => (right ? "✓" : "✗");

/**
 * Returns the result of a round.
 * @param {Card[]} round
 * @param {boolean[]} answers true: real
 * @param {[number, number, number]} shape
 * @param {boolean} isProbability whether D's output gives a probability
 * @param {() => void} playAgain
 */
export function results(round, answers, shape, isProbability, playAgain) {
  const n = round.length;
  const player = round.filter(({ real }, index) => answers[index] === real).length;
  const D = round.filter(({ real, answer }) => answer === real).length;
  const band = guessingBand(n);
  const summary = `You: ${player} of ${n} right. D: ${D} of ${n}. Guessing: ${n / 2} on average.`;
  const images = round.map(({ pixels, real, logit, answer: byD }, index) => {
    const answer = answers[index];
    return h(
      "li",
      { class: real ? "is-real" : "is-generated" },
      imageCanvas(pixels, shape, `image ${index + 1}`),
      h("strong", {}, kind(real)),
      h("span", { class: answer === real ? "right" : "wrong" }, `${mark(answer === real)} you: ${kind(answer)}`),
      h(
        "span",
        { class: byD === real ? "right" : "wrong" },
        `${mark(byD === real)} D: ${output(logit, isProbability)}`,
      ),
    );
  });
  const element = h(
    "section",
    { class: "game-results" },
    h("h3", { tabIndex: -1 }, `You: ${player} of ${n}. D: ${D} of ${n}.`),
    h(
      "div",
      { class: "score-bars" },
      bar("you", player, n, band, "series-0"),
      bar("D", D, n, band, "series-1"),
      h(
        "p",
        { class: "note" },
        `Hatched: whoever guesses has ${band[0]} to ${band[1]} right in 19 of 20 rounds, ${n / 2} on average.`,
      ),
    ),
    h("p", { class: "meaning" }, meaning(player > band[1], D > band[1])),
    h(
      "p",
      { class: "note" },
      isProbability
        ? "D's number is its probability that the image is real; above ½ it answers “real”."
        : "The loss of this run gives D a number without a unit. Above the middle of its means for real and generated images, it counts as “real”.",
      " With so few images, a difference of two or three can be luck.",
    ),
    button("Play another round", playAgain, { class: "primary" }),
    h("ol", { class: "game-grid" }, images),
  );
  return { element, summary };
}
