/**
 * The path as a strip of images: the choice of the path, downloads, and the command that makes the same strip.
 */
import { interpolate } from "../../compute/paths.js";
import { encodeView, MAX_STEPS } from "../../compute/view_code.js";
import { button, select, slider } from "../../ui/controls.js";
import { fill, h } from "../../ui/dom.js";
import { download, downloadCanvas, fileName } from "../../ui/download.js";
import { strip } from "../../ui/strip.js";
import { commandField, quote } from "./command.js";
import { makeFrames } from "./frames.js";
import { classText, dText } from "./readings.js";
import { stripCanvas, stripSvg } from "./strip_file.js";

/** @typedef {import("../../models/gan.js").Gan} Gan */
/** @typedef {import("../../compute/paths.js").PathKind} PathKind */
/** @typedef {import("./frames.js").Frame} Frame */

/**
 * @typedef {object} StripState
 * @property {PathKind} path
 * @property {number} steps images between the ends
 */

export class StripSection {
  /** @type {Frame[]} */
  #frames = [];
  #ends = { names: ["", ""] };

  /**
   * @param {Gan} gan
   * @param {StripState} state changed in place
   * @param {{onselect: (index: number) => void, onchange: (news: string) => void, announce: (text: string) => void}} actions
   */
  constructor(gan, state, { onselect, onchange, announce }) {
    const { content } = gan;
    this.gan = gan;
    this.state = state;
    this.announce = announce;
    this.title = h("h3", {});
    this.strip = strip({
      shape: content.imageShape,
      label: "Images on the path; choose one to show it",
      classNames: content.classifier && content.classifier.classNames,
      logits: content.discriminator && content.logits,
      isProbability: content.isLogOdds,
      onselect,
    });
    this.command = commandField("Command that makes this strip as a PDF", announce);
    /** @type {[PathKind, string][]} */
    const paths = [
      ["linear", "linear"],
      ["spherical", "spherical"],
    ];
    this.path = select("Path", paths, state.path, (value) => {
      state.path = value;
      onchange(`${value} path`);
    });
    const steps = slider(
      "Images between the ends",
      { min: 0, max: MAX_STEPS, step: 1, value: state.steps },
      (value) => {
        state.steps = value;
        onchange(`${value} images between the ends`);
      },
    );
    this.element = h("section", { class: "strip-section card" });
    fill(
      this.element,
      h("div", { class: "controls strip-head" }, this.title, this.path.element, steps.element),
      this.strip.element,
      h(
        "div",
        { class: "controls take" },
        button("Save strip as PNG", () => void this.#save("png")),
        button("Save strip as SVG", () => void this.#save("svg")),
        this.command.element,
      ),
    );
  }

  /**
   * Shows the path between two latents.
   * @param {Float32Array[]} ends both [Z]
   * @param {string[]} names of both, in words
   * @returns {boolean} false if there is no such path: spherical between opposite directions
   */
  draw(ends, names) {
    const { path, steps } = this.state;
    const { content } = this.gan;
    const points = interpolate(ends[0], ends[1], steps, path);
    if (!points) return false;
    this.#frames = makeFrames(this.gan, points);
    this.#ends = { names };
    this.title.textContent = `The path in ${steps + 2} images`;
    this.strip.set(
      this.#frames.map((frame, n) => ({ ...frame, label: this.#label(n), caption: classText(content, frame) })),
    );
    const code = encodeView({ path, steps, start: ends[0], end: ends[1] });
    this.command.set(`reviver gan interpolate ${quote(content.runArgument)} --view ${code} --out interpolation.pdf`);
    return true;
  }

  /** Takes the linear path. */
  setLinear() {
    this.state.path = this.path.control.value = "linear";
  }

  /**
   * Marks the image next to t.
   * @param {number} t
   */
  select(t) {
    this.strip.select(Math.round(t * (this.state.steps + 1)));
  }

  /** @param {number} n */
  #label(n) {
    return `t = ${shortNumber(n / (this.state.steps + 1))}`;
  }

  /** @param {"png" | "svg"} kind */
  async #save(kind) {
    const { content } = this.gan;
    const [start, end] = this.#ends.names;
    const notes = [`From ${start} to ${end}. Path: ${this.state.path}. Updates: ${content.step}.`];
    const meanings = [
      content.classifier && "Class: by the classifier, with its probability.",
      content.discriminator &&
        (content.isLogOdds ? "D: its probability that the image is real." : "D: its output, higher for real images."),
    ].filter(Boolean);
    if (meanings.length) notes.push(meanings.join(" "));
    const frames = this.#frames.map((frame, n) => ({
      pixels: frame.pixels,
      lines: [this.#label(n), classText(content, frame), dText(content, frame)].filter(Boolean),
    }));
    const title = `Latent interpolation of ${content.name}`;
    const name = fileName([content.name, "interpolation"], `.${kind}`);
    if (kind === "svg") download(name, stripSvg(title, notes, frames, content.imageShape), "image/svg+xml");
    else await downloadCanvas(name, stripCanvas(title, notes, frames, content.imageShape));
    this.announce(`Saved ${name}`);
  }
}

/**
 * A number from 0 to 1 with as many digits as it needs, at most three.
 * @param {number} t
 */
export const shortNumber = (t) => String(Math.round(t * 1000) / 1000);
