/**
 * Where a digit is drawn: the pad, its tools, test images to start from, and the image that the search gets.
 */
import { button, segmented, select, slider } from "../../ui/controls.js";
import { h, uniqueId } from "../../ui/dom.js";
import { drawImage, imageCanvas } from "../../ui/image.js";
import { numberIn } from "../latent/runs.js";
import { DrawingPad } from "./pad.js";
import { preprocess } from "./preprocess.js";
import { decodeStrokes, encodeStrokes } from "./strokes.js";

/** @typedef {import("../../types.js").GanContent} GanContent */

/**
 * Real images that a drawing can start from.
 * @typedef {object} TestImages
 * @property {Float32Array[]} images each [P]
 * @property {Float32Array | null} labels class of each
 * @property {string[] | null} names of the classes
 */

/**
 * Name of the class of a test image, or null.
 * @param {TestImages} tests
 * @param {number} index
 */
export const labelName = ({ labels, names }, index) => labels && (names?.[labels[index]] ?? String(labels[index]));

/** Width of the pen, 255 for the side of the drawing. By default as wide as the strokes of MNIST. */
const BRUSH = { min: 6, max: 60, step: 2, value: 22 };
/** @param {number} width */
const brushText = (width) => `${Math.round(width / 2.55)} %`;

/**
 * A color of CSS as numbers.
 * @param {string} text #rrggbb
 * @returns {[number, number, number]}
 */
const parseColor = (text) => [byteAt(text, 1), byteAt(text, 3), byteAt(text, 5)];

/** @param {string} text @param {number} at */
const byteAt = (text, at) => parseInt(text.slice(at, at + 2), 16);

export class Desk {
  /** The image that the search gets, in [-1, 1]; null while there is none. @type {Float32Array | null} */
  target = null;
  /** Index of the test image below the strokes. @type {number | null} */
  #testIndex = null;
  /** Of a conditional G. @type {HTMLSelectElement | null} */
  #classControl = null;
  #tool = /** @type {"pen" | "eraser"} */ ("pen");
  /** @type {[number, number, number]} */
  #color = [255, 255, 255];

  /**
   * @param {GanContent} content
   * @param {TestImages} tests
   * @param {URLSearchParams} view untrusted
   * @param {{onchange: () => void, announce: (text: string) => void}} page
   * @param {Node[]} actions what to do with the drawing
   */
  constructor(content, tests, view, { onchange, announce }, actions) {
    this.content = content;
    this.tests = tests;
    this.onchange = onchange;
    this.isDigit = content.imageShape[0] === 1 && content.classifier !== null;
    this.pad = new DrawingPad(content.imageShape, { onchange: () => this.#prepare(), announce });
    const classes = Math.max(content.numClasses - 1, 0);
    this.classIndex = numberIn(view.get("class"), { min: 0, max: classes, integer: true }, 0);
    this.preview = imageCanvas(null, content.imageShape, "");
    this.undo = button("Undo", () => this.pad.undo());
    this.clear = button("Clear", () => this.#clear());
    this.element = this.#arrange(actions);
    this.#restore(view);
  }

  /** What the fragment keeps. @returns {Record<string, string>} */
  view() {
    const { strokes } = this.pad;
    return {
      ...(this.content.numClasses && { class: String(this.classIndex) }),
      ...(this.#testIndex !== null && { test: String(this.#testIndex) }),
      ...(strokes.length && { strokes: encodeStrokes(strokes) }),
    };
  }

  /** The test image that is the whole drawing, or null. */
  get pureTestIndex() {
    return this.pad.strokes.length ? null : this.#testIndex;
  }

  /** @param {URLSearchParams} view */
  #restore(view) {
    const index = numberIn(view.get("test"), { min: 0, max: this.tests.images.length - 1, integer: true }, -1);
    this.#testIndex = index < 0 ? null : index;
    this.pad.set(index < 0 ? null : this.tests.images[index], decodeStrokes(view.get("strokes") ?? ""));
  }

  /** @param {Node[]} actions */
  #arrange(actions) {
    const { imageShape } = this.content;
    const size = `${imageShape[2]} × ${imageShape[1]} pixels`;
    const how = this.isDigit
      ? "Prepared like the images of MNIST: scaled into a box of 20 × 20, with its center of mass in the middle."
      : "Your drawing, scaled.";
    return h(
      "section",
      { class: "card draw-desk", "aria-label": "Drawing" },
      this.pad.element,
      h(
        "div",
        { class: "draw-tools" },
        this.#testPicker(),
        segmented(
          "Tool",
          [
            ["pen", "Pen"],
            ["eraser", "Eraser"],
          ],
          this.#tool,
          (tool) => this.#chooseTool(tool),
        ).element,
        slider("Width of the pen", BRUSH, (width) => (this.pad.width = width), brushText).element,
        imageShape[0] > 1 && this.#colorField(),
        h("div", { class: "controls" }, this.undo, this.clear),
        this.#classSelect(),
      ),
      h(
        "div",
        { class: "draw-tools" },
        h(
          "figure",
          { class: "draw-target" },
          this.preview,
          h("figcaption", {}, h("strong", {}, `What the search gets: ${size}. `), how),
        ),
        ...actions,
      ),
    );
  }

  #testPicker() {
    const { images } = this.tests;
    if (!images.length) return h("p", { class: "muted" }, "This file has no test images to start from.");
    const buttons = images.map((image, index) => {
      const label = labelName(this.tests, index);
      const name = `Test image ${index + 1}${label === null ? "" : `, label ${label}`}`;
      const onclick = () => this.#startFrom(index);
      const picture = imageCanvas(image, this.content.imageShape, "");
      return h("button", { type: "button", "aria-label": name, title: name, onclick }, picture);
    });
    const id = uniqueId();
    return h(
      "div",
      { class: "field", role: "group", "aria-labelledby": id },
      h("span", { id, class: "field-name" }, "Or start from a test image"),
      h("div", { class: "test-picker" }, buttons),
    );
  }

  #colorField() {
    const id = uniqueId();
    const control = h("input", { id, type: "color", value: "#ffffff" });
    control.addEventListener("input", () => {
      this.#color = parseColor(control.value);
      this.#chooseTool(this.#tool);
    });
    return h("div", { class: "field" }, h("label", { for: id }, "Color of the pen"), control);
  }

  #classSelect() {
    const { numClasses, classNames } = this.content;
    if (!numClasses) return null;
    const choices = classNames.map((name, index) => /** @type {[string, string]} */ ([String(index), name]));
    const { element, control } = select("Class given to G", choices, String(this.classIndex), (value) => {
      this.classIndex = Number(value);
      this.onchange();
    });
    this.#classControl = control;
    return element;
  }

  /** @param {"pen" | "eraser"} tool */
  #chooseTool(tool) {
    this.#tool = tool;
    this.pad.color = tool === "pen" ? this.#color : [0, 0, 0];
  }

  /** @param {number} index */
  #startFrom(index) {
    this.#testIndex = index;
    if (this.#classControl && this.tests.labels) {
      this.classIndex = this.tests.labels[index];
      this.#classControl.value = String(this.classIndex);
    }
    this.pad.set(this.tests.images[index]);
    this.pad.announce(`Started from test image ${index + 1}.`);
  }

  #clear() {
    this.#testIndex = null;
    this.pad.set(null);
    this.pad.announce("Cleared.");
  }

  /** Makes the image that the search gets. A test image without strokes stays as it is. */
  #prepare() {
    const { pad, content } = this;
    if (!pad.base) this.#testIndex = null;
    if (pad.isEmpty) this.target = null;
    else if (pad.base && !pad.strokes.length) this.target = pad.base;
    else this.target = preprocess(pad.drawing(), content.imageShape, this.isDigit);
    const pixels = content.imageShape.reduce((product, length) => product * length);
    drawImage(this.preview, this.target ?? new Float32Array(pixels).fill(-1), content.imageShape);
    this.undo.disabled = this.clear.disabled = pad.isEmpty;
    this.onchange();
  }
}
