/**
 * The result beside the drawing: difference, error, baseline, nearest training image, and the opinions of D and the
 * classifier.
 */
import { fill, h } from "../../ui/dom.js";
import { imageCanvas } from "../../ui/image.js";
import { classText, dText, readings } from "../latent/readings.js";
import { difference, findNearest, rmse } from "./compare.js";

/** @typedef {import("../../models/gan.js").Gan} Gan */
/** @typedef {import("../latent/frames.js").Frame} Frame */
/** @typedef {import("../panel.js").Explorer} Explorer */

/**
 * A real image, and the one that the search reaches for it.
 * @typedef {{image: Float32Array, label: string | null, found: Float32Array, error: number}} Baseline
 */

/** Errors whose ratio is at most this count as about equal. */
const EQUAL = 1.1;

/** @param {number} error */
export const formatError = (error) => error.toFixed(3);

export class ResultView {
  /** @param {Gan} gan */
  constructor(gan) {
    this.gan = gan;
    this.images = h("div", { class: "result-images" });
    this.summary = h("p", { class: "result-summary" });
    this.baseline = h("div", { class: "card" });
    this.nearest = h("div", { class: "card" });
    this.opinions = h("dl", { class: "opinions" });
    this.readings = readings(gan.content);
    this.use = h("a", { class: "button", href: "#latent" }, "Use as an end of an interpolation");
    this.element = h(
      "section",
      { class: "draw-result", hidden: true, "aria-label": "Result" },
      h(
        "div",
        { class: "card result-main" },
        h("h3", {}, "The result"),
        h(
          "div",
          { class: "result-row" },
          this.images,
          h("div", { class: "result-text" }, this.summary, this.opinions, this.use),
        ),
      ),
      h("div", { class: "columns" }, this.baseline, this.nearest),
      h("div", { class: "card" }, this.readings.element),
    );
  }

  /**
   * Shows the result.
   * @param {Float32Array} target
   * @param {string} name of the target, such as "your drawing"
   * @param {Frame} frame of the result
   * @param {Frame} original what D and the classifier make of the target
   * @param {Float32Array | null} training images [N, P]
   * @param {string} link fragment of the interpolation with the result as an end
   */
  show(target, name, frame, original, training, link) {
    const { imageShape } = this.gan.content;
    this.element.hidden = false;
    fill(
      this.images,
      picture(imageCanvas(target, imageShape, capital(name)), capital(name)),
      picture(imageCanvas(frame.pixels, imageShape, "Nearest image of G"), "Nearest image of G"),
      picture(
        imageCanvas(difference(frame.pixels, target, imageShape), [3, imageShape[1], imageShape[2]], "Difference"),
        "Difference: blue where G\u2019s image is brighter, orange where it is darker",
      ),
    );
    fill(
      this.summary,
      "Error ",
      h("strong", {}, formatError(rmse(frame.pixels, target))),
      ": the root-mean-square difference of the pixels, from 0 (equal) to 2 (black against white).",
    );
    this.use.href = `#${link}`;
    this.readings.show(frame);
    this.#showOpinions(name, frame, original);
    this.#showNearest(frame.pixels, training);
    fill(this.baseline, h("h3", {}, "A real image as baseline"), h("p", { class: "muted" }, "Searching …"));
  }

  /**
   * Says what the classifier and D make of the target and of the result.
   * @param {string} name
   * @param {Frame} frame
   * @param {Frame} original
   */
  #showOpinions(name, frame, original) {
    const { content } = this.gan;
    /** @param {Frame} one */
    const text = (one) => [classText(content, one), dText(content, one)].filter(Boolean).join(" \u00b7 ");
    const rows = [
      [capital(name), text(original)],
      ["G\u2019s image", text(frame)],
    ].filter(([, opinion]) => opinion);
    fill(this.opinions, ...rows.map(([image, opinion]) => h("div", {}, h("dt", {}, image), h("dd", {}, opinion))));
  }

  /**
   * @param {Float32Array} result
   * @param {Float32Array | null} training
   */
  #showNearest(result, training) {
    const heading = h("h3", {}, "Has G copied a training image?");
    if (!training) return fill(this.nearest, heading, h("p", {}, "This file has no training images to compare with."));
    const { imageShape } = this.gan.content;
    const { index, error } = findNearest(result, training);
    const size = result.length;
    const count = (training.length / size).toLocaleString("en");
    const label = `Nearest of ${count} training images`;
    fill(
      this.nearest,
      heading,
      h(
        "div",
        { class: "result-images" },
        picture(imageCanvas(result, imageShape, "G\u2019s image"), "G\u2019s image"),
        picture(imageCanvas(training.subarray(index * size, (index + 1) * size), imageShape, label), label),
      ),
      h("p", {}, "Their difference is ", h("strong", {}, formatError(error)), ". A copy has a difference near 0."),
    );
  }

  /**
   * @param {Baseline | null} baseline null without test images
   * @param {number} error of the result
   */
  showBaseline(baseline, error) {
    const heading = h("h3", {}, "A real image as baseline");
    if (!baseline) return fill(this.baseline, heading, h("p", {}, "This file has no test images to compare with."));
    const { imageShape } = this.gan.content;
    const name = baseline.label === null ? "Real test image" : `Real test image, label ${baseline.label}`;
    const verdict = compareErrors(error, baseline.error);
    fill(
      this.baseline,
      heading,
      h(
        "div",
        { class: "result-images" },
        picture(imageCanvas(baseline.image, imageShape, name), name),
        picture(imageCanvas(baseline.found, imageShape, "Nearest image of G"), "Nearest image of G"),
      ),
      h(
        "p",
        {},
        "For it, the search reaches an error of ",
        h("strong", {}, formatError(baseline.error)),
        `. ${verdict}`,
      ),
    );
  }
}

/**
 * Says how near G comes to the target, beside how near it comes to a real image.
 * @param {number} error of the target
 * @param {number} real error of the real image
 */
function compareErrors(error, real) {
  if (error > EQUAL * real) return `Yours is ${(error / real).toFixed(1)} times as far away from what G can make.`;
  return error * EQUAL < real
    ? "G comes nearer to yours than to this real image."
    : "G comes about as near to yours as to this real image.";
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {string} caption
 */
const picture = (canvas, caption) => h("figure", {}, canvas, h("figcaption", {}, caption));

/** @param {string} text */
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
