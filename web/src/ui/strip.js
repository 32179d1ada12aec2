/**
 * A strip of images in a row, each a button with what is known about it below.
 */
import { classBars } from "./class_bars.js";
import { distribution, scoreText } from "./distribution.js";
import { fill, h } from "./dom.js";
import { drawImage, imageCanvas } from "./image.js";
import { countInRow, rove } from "./roving.js";

/** Width of a frame at least, and gap between two, in em. */
const [MIN_WIDTH, GAP] = [5.25, 0.5];

/**
 * @typedef {object} StripFrame
 * @property {Float32Array} pixels [P]
 * @property {string} label such as "t = 0.25"
 * @property {string} caption such as "3, 98 %"; may be empty
 * @property {number | null} logit of D
 * @property {ArrayLike<number> | null} probabilities of the classes
 */

/**
 * @typedef {object} StripOptions
 * @property {import("./image.js").ImageShape} shape
 * @property {string} label of the strip
 * @property {string[] | null} classNames null without a classifier
 * @property {import("./distribution.js").LogitContext | null} logits null without D
 * @property {boolean} isProbability whether D's output is a log-odds
 * @property {(index: number) => void} onselect
 */

/**
 * Creates a strip.
 * @param {StripOptions} options
 */
export function strip(options) {
  const list = h("div", { class: "strip", role: "group", "aria-label": options.label });
  /** @type {ReturnType<typeof cell>[]} */
  let cells = [];
  const setStop = rove(
    list,
    () => cells.map(({ control }) => control),
    options.onselect,
    () => countInRow(cells.map(({ element }) => element)),
  );
  let selected = -1;
  // Rows of equal length, as few as there is room for.
  const spread = () => {
    const em = parseFloat(getComputedStyle(list).fontSize);
    const inRow = Math.max(Math.floor((list.clientWidth / em + GAP) / (MIN_WIDTH + GAP)), 1);
    const rows = Math.ceil(cells.length / inRow);
    list.style.setProperty("--columns", String(Math.ceil(cells.length / rows) || 1));
  };
  new ResizeObserver(spread).observe(list);
  return {
    element: list,
    /** @param {StripFrame[]} frames */
    set(frames) {
      if (cells.length !== frames.length) {
        cells = frames.map((_, index) => cell(options, () => options.onselect(index)));
        fill(list, ...cells.map(({ element }) => element));
        spread();
        setStop(Math.min(Math.max(selected, 0), frames.length - 1));
      }
      frames.forEach((frame, index) => cells[index].set(frame));
    },
    /**
     * Marks the frame that stands for the current image.
     * @param {number} index
     */
    select(index) {
      selected = index;
      cells.forEach(({ control }, n) => control.setAttribute("aria-current", String(n === index)));
      // Not while the focus is inside: it would leave the button that has it.
      if (!list.contains(document.activeElement)) setStop(index);
    },
  };
}

/**
 * One image with its charts.
 * @param {StripOptions} options
 * @param {() => void} onclick
 */
function cell({ shape, classNames, logits, isProbability }, onclick) {
  const canvas = imageCanvas(null, shape, "");
  const label = h("span", { class: "frame-label" });
  const caption = h("span", { class: "frame-caption" });
  const control = h("button", { type: "button", class: "frame", onclick }, canvas, label);
  const bars = classNames && classBars(classNames, { compact: true });
  const score = logits && h("span", { class: "frame-caption" });
  const chart = logits && distribution(logits, { compact: true, isProbability });
  const element = h(
    "div",
    { class: "strip-cell" },
    control,
    score,
    chart && chart.element,
    classNames && caption,
    bars && bars.element,
  );
  return {
    element,
    control,
    /** @param {StripFrame} frame */
    set(frame) {
      drawImage(canvas, frame.pixels, shape);
      label.textContent = frame.label;
      caption.textContent = frame.caption;
      if (bars && frame.probabilities) bars.set(frame.probabilities);
      if (chart) chart.mark(frame.logit);
      if (score) score.textContent = frame.logit === null ? "" : scoreText(frame.logit, isProbability);
    },
  };
}
