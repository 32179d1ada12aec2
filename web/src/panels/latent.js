/**
 * Panel "Latent interpolation": two ends, a path between them, and what lies on it.
 *
 * The URL fragment keeps `run`, `start` and `end` (see endpoints.js), `t`, `path`, `steps`, and `code`, a view code with the
 * latents of ends that another panel passed on. A fragment with a code alone takes ends, path and steps from it.
 */
import { interpolateAt } from "../compute/paths.js";
import { decodeView, encodeView, MAX_STEPS, toHalf } from "../compute/view_code.js";
import { button, slider } from "../ui/controls.js";
import { fill, h } from "../ui/dom.js";
import { downloadCanvas, fileName } from "../ui/download.js";
import { drawImage, enlarge, imageCanvas, scaleTo } from "../ui/image.js";
import { Player } from "../ui/player.js";
import { chooser } from "./latent/chooser.js";
import { choice, formatChoice, Latents, parseChoice } from "./latent/endpoints.js";
import { makeFrames, noiseNorm } from "./latent/frames.js";
import { frameText, readings } from "./latent/readings.js";
import { mountRun, numberIn, whenQuiet } from "./latent/runs.js";
import { shortNumber, StripSection } from "./latent/strip_section.js";

/** @typedef {import("../explorer.js").Explorer} Explorer */
/** @typedef {import("../models/gan.js").Gan} Gan */
/** @typedef {import("./latent/endpoints.js").Choice} Choice */

/** Images between the ends, as in the report's Figure 5. */
const DEFAULT_STEPS = 7;
/** Milliseconds from one end to the other. */
const DURATION = 6000;
/** A longer gap between two frames, as after a change of the tab, counts as this many milliseconds. */
const MAX_GAP = 100;
/** Width of the saved current image in pixels, about. */
const SAVED_WIDTH = 560;

/** @type {import("./panel.js").Panel} */
export const latentPanel = {
  id: "latent",
  tutorial: "gan",
  needs: ["generator", "discriminator", "classifier"],
  title: "Latent interpolation",
  question: "What lies between two generated images?",
  observe: "Move t from 0 to 1. Find the place where one class becomes another. Does D notice it?",
  limit:
    "D and the classifier do not know that the images belong together. Neither tells whether a person would take an image for real.",
  unavailable: (explorer) => (explorer.manifest.gans.length ? null : "There is no GAN run in this file."),
  mount: (root, explorer, view) =>
    mountRun(root, explorer, view, (body, gan, runView) => new LatentPanel(body, explorer, gan, runView)),
};

/**
 * The panel of one run.
 */
class LatentPanel {
  #t;
  // Latents of both ends, rounded to half precision, so that Python makes the same images of a view code.
  /** @type {Float32Array[]} */
  #ends = [];
  #redraw = 0;
  #direction = 1;

  /**
   * @param {HTMLElement} root
   * @param {Explorer} explorer
   * @param {Gan} gan
   * @param {URLSearchParams} view untrusted
   */
  constructor(root, explorer, gan, view) {
    const { imageShape, latentSize } = gan.content;
    this.explorer = explorer;
    this.gan = gan;
    this.latents = new Latents(gan);
    this.gridImages = gan.generate(gan.latents.grid);
    this.quiet = whenQuiet(explorer);
    const passed = decodeView(view.get("code") ?? "", latentSize);
    this.passed = passed && [passed.start, passed.end];
    /** @type {import("./latent/strip_section.js").StripState} */
    this.state = {
      path: (view.get("path") ?? passed?.path) === "spherical" ? "spherical" : "linear",
      steps: numberIn(view.get("steps"), { min: 0, max: MAX_STEPS, integer: true }, passed?.steps ?? DEFAULT_STEPS),
    };
    this.#t = numberIn(view.get("t"), { min: 0, max: 1 }, 0.5);
    this.choices = this.#restoreChoices(view);
    this.player = new Player(
      0,
      (elapsed, still) => this.#advance(still ? 1 / (this.state.steps + 1) : Math.min(elapsed, MAX_GAP) / DURATION),
      () => this.#showPlay(),
    );
    this.canvas = imageCanvas(null, imageShape, "Current image");
    this.caption = h("p", { class: "current-caption" });
    this.norm = h("p", { class: "note" });
    this.thumbnails = [0, 1].map(() => imageCanvas(null, imageShape, ""));
    this.ends = h("div", { class: "ends" });
    this.slider = slider("Position t", { min: 0, max: 1, step: 0.005, value: this.#t }, (t) => this.#jumpTo(t));
    this.playButton = button("", () => this.#togglePlay(), { class: "play" });
    this.readings = readings(gan.content);
    this.strip = new StripSection(gan, this.state, {
      onselect: (index) => this.#jumpTo(index / (this.state.steps + 1)),
      onchange: (news) => this.#changePath(news),
      announce: explorer.announce,
    });
    this.#arrange(root);
    this.#showPlay();
    this.#roundEnds();
    this.#drawPath();
  }

  /**
   * Takes the ends from the fragment, or else from the code, or else the default ones.
   * @param {URLSearchParams} view
   */
  #restoreChoices(view) {
    const defaults = this.passed ? [choice({ kind: "code" }), choice({ kind: "code" })] : this.latents.defaults();
    return ["start", "end"].map((name, n) => {
      const chosen = parseChoice(view.get(name), this.latents);
      return !chosen || (chosen.kind === "code" && !this.passed) ? defaults[n] : chosen;
    });
  }

  view() {
    /** @type {Record<string, string>} */
    const values = {
      start: formatChoice(this.choices[0]),
      end: formatChoice(this.choices[1]),
      t: shortNumber(this.#t),
      path: this.state.path,
      steps: String(this.state.steps),
    };
    if (this.choices.some(({ kind }) => kind === "code"))
      values.code = encodeView({ ...this.state, start: this.#ends[0], end: this.#ends[1] });
    return values;
  }

  destroy() {
    this.player.pause();
    this.quiet.cancel();
    cancelAnimationFrame(this.#redraw);
  }

  /** @param {HTMLElement} root */
  #arrange(root) {
    this.#arrangeEnds();
    const position = h("div", { class: "position" }, this.playButton, this.slider.element);
    fill(
      root,
      h(
        "div",
        { class: "latent-main" },
        h(
          "div",
          { class: "ends-column card" },
          this.ends,
          button("Swap start and end", () => this.#swap()),
        ),
        h(
          "section",
          { class: "current card", "aria-label": "Current image" },
          this.canvas,
          this.caption,
          position,
          this.norm,
          button("Save image as PNG", () => void this.#save()),
        ),
        h("div", { class: "card" }, this.readings.element),
      ),
      this.strip.element,
    );
  }

  #arrangeEnds() {
    const cards = this.choices.map((chosen, n) =>
      h(
        "section",
        { class: "end" },
        h("h3", {}, n ? "End, t = 1" : "Start, t = 0"),
        this.thumbnails[n],
        chooser(this.latents, chosen, this.gridImages, this.passed !== null, () => this.#changeEnd(n)),
      ),
    );
    fill(this.ends, ...cards);
  }

  /** @param {number} n */
  #changeEnd(n) {
    this.#roundEnds();
    this.#changePath(`${n ? "End" : "Start"}: ${this.latents.name(this.choices[n])}`);
  }

  #roundEnds() {
    this.#ends = this.choices.map((chosen, n) => toHalf(this.latents.latent(chosen, this.passed && this.passed[n])));
    const { imageShape } = this.gan.content;
    const both = Float32Array.from([...this.#ends[0], ...this.#ends[1]]);
    makeFrames(this.gan, both).forEach(({ pixels }, n) => drawImage(this.thumbnails[n], pixels, imageShape));
  }

  /**
   * Shows another path, at most once per frame of the screen.
   * @param {string} news what changed, in words
   */
  #changePath(news) {
    cancelAnimationFrame(this.#redraw);
    this.#redraw = requestAnimationFrame(() => {
      this.#drawPath();
      this.quiet.tell(`${news}. ${this.caption.textContent}`);
    });
  }

  #drawPath() {
    const names = this.choices.map((chosen) => this.latents.name(chosen));
    if (!this.strip.draw(this.#ends, names)) {
      this.strip.setLinear();
      this.strip.draw(this.#ends, names);
    }
    this.#moveTo(this.#t);
  }

  /** @param {number} t */
  #frameAt(t) {
    const point = interpolateAt(this.#ends[0], this.#ends[1], [t], this.state.path);
    return makeFrames(this.gan, /** @type {Float32Array} */ (point))[0]; // #drawPath has made sure that there is one
  }

  /**
   * Shows the image at t.
   * @param {number} t
   */
  #moveTo(t) {
    this.#t = t;
    const { content } = this.gan;
    const frame = this.#frameAt(t);
    const text = frameText(content, frame);
    drawImage(this.canvas, frame.pixels, content.imageShape);
    this.canvas.setAttribute("aria-label", `Image at t = ${shortNumber(t)}. ${text}`);
    this.caption.textContent = text;
    this.readings.show(frame);
    this.slider.set(t);
    this.slider.control.setAttribute("aria-valuetext", `t = ${shortNumber(t)}. ${text}`);
    const [length, typical] = [noiseNorm(content, frame.latent), Math.sqrt(content.noiseSize)];
    this.norm.textContent = `Length of z: ${length.toFixed(1)}. Random latents have about ${typical.toFixed(1)}.`;
    this.strip.select(t);
  }

  /**
   * Stops playing and shows the image at t.
   * @param {number} t
   */
  #jumpTo(t) {
    this.player.pause();
    this.#moveTo(t);
    this.quiet.tell(`t = ${shortNumber(t)}. ${this.caption.textContent}`);
  }

  #togglePlay() {
    if (this.player.playing) return this.#jumpTo(this.#t);
    this.player.play();
  }

  /**
   * Moves forth and back between the ends.
   * @param {number} distance
   */
  #advance(distance) {
    const t = this.#t + this.#direction * distance;
    if (t >= 1) this.#direction = -1;
    else if (t <= 0) this.#direction = 1;
    this.#moveTo(Math.min(Math.max(t, 0), 1));
    return true;
  }

  #showPlay() {
    this.playButton.textContent = this.player.playing ? "Pause" : "Play";
  }

  #swap() {
    this.choices.reverse();
    this.passed?.reverse();
    this.#arrangeEnds();
    this.#t = 1 - this.#t;
    this.#roundEnds();
    this.#changePath("Start and end are swapped");
  }

  async #save() {
    const { name, imageShape } = this.gan.content;
    const file = fileName([name, `t${shortNumber(this.#t)}`], ".png");
    await downloadCanvas(file, enlarge(this.#frameAt(this.#t).pixels, imageShape, scaleTo(imageShape, SAVED_WIDTH)));
    this.explorer.announce(`Saved ${file}`);
  }
}
