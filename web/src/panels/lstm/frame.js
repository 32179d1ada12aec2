/**
 * Frame of a picture over time: caption, axis of the rows, the picture in a box that scrolls, axis of the steps, and a
 * line that reads out a value. All frames have the same margins, so that their steps align.
 */
import { scaleLinear } from "d3-scale";
import { append, fill, h } from "../../ui/dom.js";

/** Characters of a name below a column. */
const MAX_NAME = 2;
/** Up to so many steps each column has its number and its symbol. */
const MAX_LABELLED = 60;
const MIN_COLUMN = 0.8; // rem, the width of a labeled column
const LABEL = 28; // CSS pixels, the width of a step number

/**
 * The axis of the steps.
 * @typedef {object} Steps
 * @property {number} count
 * @property {string[] | null} names what the network reads at each step, in few characters; null if that is too long
 * @property {string[] | null} others the same of the second sequence, null without one
 * @property {string} noun "step" or "patch"
 */

export class Frame {
  /**
   * @param {import("../../ui/dom.js").Child | import("../../ui/dom.js").Child[]} title
   * @param {{legend?: Element, height: string, onresize: () => void}} options `height` of the picture in CSS
   */
  constructor(title, { legend, height, onresize }) {
    this.title = h("span", { class: "lstm-frame-title" }, title);
    this.rows = h("div", { class: "lstm-frame-rows", "aria-hidden": "true" });
    this.plot = h("div", { class: "lstm-frame-plot" });
    this.axis = h("div", { class: "lstm-frame-axis", "aria-hidden": "true" });
    this.content = h("div", { class: "lstm-frame-content" }, this.plot, this.axis);
    this.scroll = h("div", { class: "lstm-frame-scroll" }, this.content);
    this.readout = h("p", { class: "lstm-frame-readout" });
    this.element = h(
      "figure",
      { class: "lstm-frame" },
      h("figcaption", {}, this.title, legend ?? null),
      h("div", { class: "lstm-frame-body" }, this.rows, this.scroll),
      this.readout,
    );
    this.setHeight(height);
    /** Size of the picture in CSS pixels, measured after each layout, so that drawing does not wait for one. */
    this.width = 0;
    this.height = 0;
    this.scrolls = false;
    /** Part of the picture that must show, also after its size has changed. */
    this.revealed = { start: 0, end: 0 };
    this.observer = new ResizeObserver(() => {
      this.#letScroll();
      this.#scrollTo(this.revealed);
      const { clientWidth, clientHeight } = this.plot;
      if (this.width === clientWidth && this.height === clientHeight) return;
      [this.width, this.height] = [clientWidth, clientHeight];
      onresize();
    });
    this.observer.observe(this.content);
  }

  /** Makes a box that scrolls reachable with the keyboard, unless something in it is. */
  #letScroll() {
    const isReachable = this.plot.querySelector("[tabindex]") !== null;
    this.scrolls = this.scroll.scrollWidth > this.scroll.clientWidth;
    if (!isReachable && this.scrolls) this.scroll.tabIndex = 0;
    else this.scroll.removeAttribute("tabindex");
  }

  /** @param {string} height in CSS */
  setHeight(height) {
    this.element.style.setProperty("--plot-height", height);
  }

  /**
   * Scrolls the box so that a part of the picture shows.
   * @param {number} start from 0 to 1
   * @param {number} end
   */
  reveal(start, end) {
    this.revealed = { start, end };
    this.#scrollTo(this.revealed);
  }

  /** @param {{start: number, end: number}} part */
  #scrollTo({ start, end }) {
    if (!this.scrolls) return;
    const { scrollWidth, clientWidth, scrollLeft } = this.scroll;
    if (start * scrollWidth < scrollLeft) this.scroll.scrollLeft = start * scrollWidth;
    else if (end * scrollWidth > scrollLeft + clientWidth) this.scroll.scrollLeft = end * scrollWidth - clientWidth;
  }

  destroy() {
    this.observer.disconnect();
  }

  /**
   * Draws the axis of the steps.
   * @param {Steps} steps
   */
  showSteps({ count, names, others, noun }) {
    const isLabelled = names !== null && count <= MAX_LABELLED;
    this.content.style.setProperty("min-width", isLabelled ? `${count * MIN_COLUMN}rem` : "12rem");
    fill(this.axis);
    const width = this.width || 1;
    const every = Math.ceil((LABEL * count) / width);
    const ticks =
      count <= MAX_LABELLED
        ? Array.from({ length: count }, (_, t) => t).filter((t) => (t + 1) % every === 0)
        : scaleLinear([1, count], [0, 1])
            .ticks(Math.max(2, Math.floor(width / 70)))
            .filter((tick) => Number.isInteger(tick) && tick >= 1)
            .map((tick) => tick - 1);
    for (const t of ticks) {
      this.#label(t, count, String(t + 1), "lstm-frame-number");
    }
    if (isLabelled) {
      for (let t = 0; t < count; t++) {
        const name = this.#label(t, count, shorten(names[t]), "lstm-frame-symbol");
        if (!others) continue;
        const isChanged = others[t] !== names[t];
        const other = shorten(others[t] ?? "");
        append(name, h("span", { class: isChanged ? "lstm-frame-other changed" : "lstm-frame-other" }, other));
      }
    }
    this.axis.setAttribute("data-rows", isLabelled ? (others ? "3" : "2") : "1");
    this.axis.setAttribute("data-noun", noun);
  }

  /**
   * @param {number} t
   * @param {number} count
   * @param {string} text
   * @param {string} name of the CSS class
   */
  #label(t, count, text, name) {
    const label = h("span", { class: name }, text);
    label.style.setProperty("left", `${(100 * (t + 0.5)) / count}%`);
    this.axis.append(label);
    return label;
  }

  /**
   * Draws the axis of the rows: names at their places, from top (0) to bottom (1).
   * @param {{place: number, name: string, marked?: boolean}[]} labels
   */
  showRows(labels) {
    fill(
      this.rows,
      labels.map(({ place, name, marked }) => {
        const label = h("span", { class: marked ? "marked" : "", title: name }, name);
        label.style.setProperty("top", `${100 * place}%`);
        return label;
      }),
    );
  }
}

/**
 * Shortens a name to what fits below a column.
 * @param {string} name
 */
const shorten = (name) => (name === "blank" ? "·" : name.slice(0, MAX_NAME));
