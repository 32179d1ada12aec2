/**
 * What the classifier and D make of one image.
 */
import { argmax, classBars, percent } from "../../ui/class_bars.js";
import { distribution, scoreText } from "../../ui/distribution.js";
import { h } from "../../ui/dom.js";
import { discriminatorNotes } from "./frames.js";

/** @typedef {import("../../types.js").GanContent} GanContent */
/** @typedef {import("./frames.js").Frame} Frame */

/**
 * Creates both charts.
 * @param {GanContent} content
 */
export function readings(content) {
  const { discriminator, classifier, logits } = content;
  const bars = classifier && classBars(classifier.classNames);
  const chart = discriminator && distribution(logits, { isProbability: content.isLogOdds });
  const element = h(
    "div",
    { class: "readings" },
    h(
      "section",
      {},
      h("h3", {}, "Classifier: which class?"),
      bars ? bars.element : h("p", { class: "note" }, "No classifier knows the images of this run."),
    ),
    h(
      "section",
      {},
      h("h3", {}, "Discriminator: real or generated?"),
      chart && chart.element,
      ...discriminatorNotes(content).map((note) => h("p", { class: "note" }, note)),
    ),
  );
  return {
    element,
    /** @param {Frame} frame */
    show({ probabilities, logit }) {
      if (bars && probabilities) bars.set(probabilities);
      if (chart) chart.mark(logit);
    },
  };
}

/**
 * The most probable class and its probability, or nothing without a classifier.
 * @param {GanContent} content
 * @param {Frame} frame
 */
export function classText({ classifier }, { probabilities }) {
  if (!classifier || !probabilities) return "";
  const top = argmax(probabilities);
  return `${classifier.classNames[top]},\u00a0${percent(probabilities[top])}`;
}

/**
 * D's output, or nothing without D.
 * @param {GanContent} content
 * @param {Frame} frame
 */
export const dText = (content, { logit }) => (logit === null ? "" : scoreText(logit, content.isLogOdds));

/**
 * Class and D's output in one line.
 * @param {GanContent} content
 * @param {Frame} frame
 */
export function frameText(content, frame) {
  const predicted = classText(content, frame);
  return [predicted && `Class\u00a0${predicted}`, dText(content, frame)].filter(Boolean).join(" \u00b7 ");
}
