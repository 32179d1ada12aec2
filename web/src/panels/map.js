/**
 * Panel "Map": the images of a plane in latent space.
 *
 * The URL fragment keeps `run`, `plane`, the latents `a`, `b`, `c` (see latent/endpoints.js), the middle `x`, `y`, `extent`,
 * `count` and `show`.
 */
import { encodeView, toHalf } from "../compute/view_code.js";
import { button, select, slider } from "../ui/controls.js";
import { signed } from "../ui/distribution.js";
import { fill, h } from "../ui/dom.js";
import { downloadCanvas, fileName } from "../ui/download.js";
import { formatFragment } from "../ui/fragment.js";
import { drawImage, imageCanvas } from "../ui/image.js";
import { chooser } from "./latent/chooser.js";
import { choice, formatChoice, Latents, parseChoice } from "./latent/endpoints.js";
import { makeFrames, noiseNorm } from "./latent/frames.js";
import { frameText, readings } from "./latent/readings.js";
import { mountRun, numberIn, whenQuiet } from "./latent/runs.js";
import { classLegend } from "./map/classes.js";
import { latentAt, planeAlong, planeThrough } from "./map/plane.js";
import { MapView } from "./map/view.js";

/** @typedef {import("../explorer.js").Explorer} Explorer */
/** @typedef {import("../models/gan.js").Gan} Gan */
/** @typedef {import("./map/plane.js").Point} Point */
/** @typedef {"directions" | "points"} PlaneKind */

/**
 * How large the map of each kind of plane may be.
 * @type {Record<PlaneKind, [number, number]>}
 */
const LIMITS = { points: [0.02, 30], directions: [0.1, 200] };
const [MIN_COUNT, MAX_COUNT] = [5, 15];
const NAMES = ["A", "B", "C"];
const MARKERS = [
  { point: { x: 0, y: 0 }, name: "A" },
  { point: { x: 1, y: 0 }, name: "B" },
  { point: { x: 0, y: 1 }, name: "C" },
];

const HELP =
  "Drag the map or use the arrow keys. Click an image to keep it. While the map has the focus, + and \u2212 and the wheel zoom, and Shift with an arrow key selects another image.";

/** @type {import("./panel.js").Panel} */
export const mapPanel = {
  id: "map",
  tutorial: "gan",
  needs: ["generator", "discriminator", "classifier"],
  title: "Map",
  question: "How is the latent space ordered?",
  observe: "Move across the map. Where do the images change at once, and where do they become blurred?",
  limit:
    "The map shows one plane of a space with many dimensions. Away from the chosen latents, z may be shorter or longer than any latent of the training.",
  unavailable: (explorer) => (explorer.manifest.gans.length ? null : "There is no GAN run in this file."),
  mount: (root, explorer, view) =>
    mountRun(root, explorer, view, (body, gan, runView) => new MapPanel(body, explorer, gan, runView)),
};

/**
 * Images per row that a run begins with: fewer of large images, which take longer.
 * @param {Gan} gan
 */
const defaultCount = (gan) => (gan.pixels <= 1024 ? 9 : gan.pixels <= 64 * 64 * 3 ? 7 : 5);

/**
 * Where the map begins: around the three latents, which are then in the middle of a cell, or around the origin.
 * @param {PlaneKind} kind
 * @param {Gan} gan
 */
function startOf(kind, gan) {
  const count = defaultCount(gan);
  if (kind === "directions") return { center: { x: 0, y: 0 }, extent: 9 };
  return { center: { x: 0.5, y: 0.5 }, extent: count / (count - 3) }; // one cell beyond the latents on each side
}

/**
 * The panel of one run.
 */
class MapPanel {
  /** Point of the enlarged image. */
  #point = { x: 0, y: 0 };
  #look = 0;

  /**
   * @param {HTMLElement} root
   * @param {Explorer} explorer
   * @param {Gan} gan
   * @param {URLSearchParams} view untrusted
   */
  constructor(root, explorer, gan, view) {
    const { content } = gan;
    this.explorer = explorer;
    this.gan = gan;
    this.latents = new Latents(gan);
    this.gridImages = gan.generate(gan.latents.grid);
    this.quiet = whenQuiet(explorer);
    /** @type {PlaneKind} */
    this.kind = view.get("plane") === "directions" ? "directions" : "points";
    this.choices = NAMES.map((name, n) => {
      const chosen = parseChoice(view.get(name.toLowerCase()), this.latents);
      return chosen && chosen.kind !== "code" ? chosen : this.#defaultChoice(n);
    });
    const start = startOf(this.kind, gan);
    const [min, max] = LIMITS[this.kind];
    this.state = {
      center: {
        x: numberIn(view.get("x"), { min: -1000, max: 1000 }, start.center.x),
        y: numberIn(view.get("y"), { min: -1000, max: 1000 }, start.center.y),
      },
      extent: numberIn(view.get("extent"), { min, max }, start.extent),
      count: odd(numberIn(view.get("count"), { min: MIN_COUNT, max: MAX_COUNT }, defaultCount(gan))),
      regions: content.classifier !== null && view.get("show") === "regions",
      borders: content.classifier !== null && view.get("show") !== "plain",
    };
    this.thumbnails = NAMES.map(() => imageCanvas(null, content.imageShape, ""));
    this.points = h("div", { class: "map-points" });
    this.canvas = imageCanvas(null, content.imageShape, "Enlarged image");
    this.caption = h("p", { class: "current-caption" });
    this.coordinates = h("p", { class: "note" });
    this.extent = h("p", { class: "note" });
    this.readings = readings(content);
    this.link = h("a", { class: "button" }, "Interpolate from A to this image");
    this.map = new MapView(gan, this.#plane(), this.#markers(), this.state, {
      onmove: () => this.#moved(),
      onlook: (point) => this.#lookAt(point),
      limits: LIMITS[this.kind],
    });
    this.#arrange(root);
    this.#enlarge();
    this.map.look();
  }

  /**
   * Three latents of different classes where there are any.
   * @param {number} n
   */
  #defaultChoice(n) {
    const { classes, examples, gridSize } = this.latents;
    const preferred = [3, 8, 0];
    if (classes.length > 2)
      return choice({
        kind: "class",
        classIndex: preferred.every((k) => classes.includes(k)) ? preferred[n] : classes[n],
      });
    if (examples.length > 2) return choice({ kind: "example", index: n });
    return choice({ index: Math.min(n, gridSize - 1) });
  }

  view() {
    const { center, extent, count, regions, borders } = this.state;
    /** @type {Record<string, string>} */
    const values = { plane: this.kind, a: formatChoice(this.choices[0]) };
    if (this.kind === "points")
      Object.assign(values, { b: formatChoice(this.choices[1]), c: formatChoice(this.choices[2]) });
    Object.assign(values, {
      x: rounded(center.x),
      y: rounded(center.y),
      extent: rounded(extent),
      count: String(count),
    });
    if (this.gan.content.classifier) values.show = regions ? "regions" : borders ? "classes" : "plain";
    return values;
  }

  destroy() {
    this.map.destroy();
    this.quiet.cancel();
    cancelAnimationFrame(this.#look);
  }

  /** Latents of the choices that span the plane. */
  #spanning() {
    const used = this.kind === "points" ? this.choices : this.choices.slice(0, 1);
    return used.map((chosen) => this.latents.latent(chosen));
  }

  #plane() {
    const latents = this.#spanning();
    return this.kind === "points" ? planeThrough(latents) : planeAlong(latents[0], this.gan.latents.directions);
  }

  #markers() {
    return this.kind === "points" ? MARKERS : MARKERS.slice(0, 1);
  }

  /** @param {HTMLElement} root */
  #arrange(root) {
    const { classifier } = this.gan.content;
    this.#arrangePoints();
    /** @type {[PlaneKind, string][]} */
    const kinds = [
      ["points", "three latents"],
      ["directions", "principal directions"],
    ];
    const kind = select("Plane", kinds, this.kind, (value) => this.#changeKind(value));
    const count = slider(
      "Images in a row",
      { min: MIN_COUNT, max: MAX_COUNT, step: 2, value: this.state.count },
      (value) => this.#restart({ count: value }, `${value} images in a row`),
    );
    fill(
      root,
      h(
        "div",
        { class: "map-main" },
        h("div", { class: "map-setup card" }, kind.element, this.points),
        h(
          "div",
          { class: "map-middle card" },
          h("div", { class: "controls" }, classifier && this.#showSelect(), count.element),
          this.map.element,
          classifier && classLegend(classifier.classNames),
          this.#buttons(),
          h("div", {}, this.link),
          this.extent,
          h("p", { class: "note" }, HELP),
        ),
        h(
          "div",
          { class: "map-detail card" },
          h(
            "section",
            { class: "current", "aria-label": "Enlarged image" },
            this.canvas,
            this.caption,
            this.coordinates,
          ),
          this.readings.element,
        ),
      ),
    );
  }

  #showSelect() {
    /** @type {["classes" | "plain" | "regions", string][]} */
    const choices = [
      ["classes", "images and predicted classes"],
      ["plain", "images only"],
      ["regions", "regions of predicted classes"],
    ];
    const value = this.state.regions ? "regions" : this.state.borders ? "classes" : "plain";
    return select("Show", choices, value, (shown) =>
      this.#restart(
        { regions: shown === "regions", borders: shown === "classes" },
        choices.find(([one]) => one === shown)?.[1] ?? "",
      ),
    ).element;
  }

  #buttons() {
    /** @type {[string, string, () => void][]} */
    const all = [
      ["\u2190", "Move left", () => this.map.move(-1, 0)],
      ["\u2191", "Move up", () => this.map.move(0, 1)],
      ["\u2193", "Move down", () => this.map.move(0, -1)],
      ["\u2192", "Move right", () => this.map.move(1, 0)],
      ["+", "Zoom in", () => this.map.zoom(1)],
      ["\u2212", "Zoom out", () => this.map.zoom(-1)],
    ];
    return h(
      "div",
      { class: "map-buttons" },
      ...all.map(([text, label, act]) => button(text, act, { class: "key", "aria-label": label, title: label })),
      button("Reset", () => this.#reset()),
      button("Save map as PNG", () => void this.#save()),
    );
  }

  #arrangePoints() {
    const used = this.kind === "points" ? NAMES : NAMES.slice(0, 1);
    const cards = used.map((name, n) =>
      h(
        "section",
        { class: "end" },
        h("h3", {}, this.kind === "points" ? `Latent ${name}` : "Origin A"),
        this.thumbnails[n],
        chooser(this.latents, this.choices[n], this.gridImages, false, () => this.#changePoint(n)),
      ),
    );
    fill(this.points, ...cards);
    this.#drawThumbnails();
  }

  #drawThumbnails() {
    const latents = Float32Array.from(this.#spanning().flatMap((latent) => [...latent]));
    makeFrames(this.gan, latents, { withDiscriminator: false }).forEach(({ pixels }, n) =>
      drawImage(this.thumbnails[n], pixels, this.gan.content.imageShape),
    );
  }

  /** @param {number} n */
  #changePoint(n) {
    this.#drawThumbnails();
    this.map.setPlane(this.#plane(), this.#markers());
    this.#tell(`Latent ${NAMES[n]}: ${this.latents.name(this.choices[n])}`);
  }

  /** @param {PlaneKind} kind */
  #changeKind(kind) {
    this.kind = kind;
    this.map.limits = LIMITS[kind];
    Object.assign(this.state, startOf(kind, this.gan));
    this.#arrangePoints();
    this.map.setPlane(this.#plane(), this.#markers());
    this.#tell(kind === "points" ? "Plane through three latents" : "Plane in the two principal directions");
  }

  /**
   * @param {Partial<import("./map/view.js").MapState>} change
   * @param {string} news in words
   */
  #restart(change, news) {
    Object.assign(this.state, change);
    this.map.restart();
    this.#tell(news);
  }

  #reset() {
    this.#restart(startOf(this.kind, this.gan), "The map is where it began");
  }

  #moved() {
    this.#tell("");
  }

  /** @param {string} news */
  #tell(news) {
    const { center, extent } = this.state;
    this.extent.textContent = `Middle: ${pointText(center)}. Width: ${shorter(extent)}.`;
    this.quiet.tell([news, `${pointText(this.#point)}: ${this.caption.textContent}`].filter(Boolean).join(". "));
  }

  /** @param {Point} point */
  #lookAt(point) {
    this.#point = point;
    cancelAnimationFrame(this.#look);
    this.#look = requestAnimationFrame(() => this.#enlarge());
  }

  #enlarge() {
    const { content } = this.gan;
    const [frame] = makeFrames(this.gan, latentAt(this.map.plane, this.#point));
    const text = frameText(content, frame);
    drawImage(this.canvas, frame.pixels, content.imageShape);
    this.canvas.setAttribute("aria-label", `Image at ${pointText(this.#point)}. ${text}`);
    this.caption.textContent = text;
    this.readings.show(frame);
    const [length, typical] = [noiseNorm(content, frame.latent), Math.sqrt(content.noiseSize)];
    this.coordinates.textContent = `${pointText(this.#point)}. Length of z: ${length.toFixed(1)}; random latents: about ${typical.toFixed(1)}.`;
    const { center, extent } = this.state;
    this.extent.textContent = `Middle: ${pointText(center)}. Width: ${shorter(extent)}.`;
    this.#linkTo(frame.latent);
  }

  /**
   * Links to the interpolation from A to a latent.
   * @param {Float32Array} latent
   */
  #linkTo(latent) {
    const code = encodeView({ path: "linear", steps: 7, start: toHalf(this.map.plane.origin), end: toHalf(latent) });
    this.link.href = `#${formatFragment("latent", { run: this.gan.content.id, code })}`;
  }

  async #save() {
    const name = fileName([this.gan.content.name, "map"], ".png");
    await downloadCanvas(name, this.map.canvas);
    this.explorer.announce(`Saved ${name}`);
  }
}

/** @param {number} value */
const odd = (value) => 2 * Math.floor(value / 2) + 1;

/** @param {number} value */
const rounded = (value) => String(Number(value.toPrecision(6)));

/** @param {number} value */
const shorter = (value) => String(Number(value.toPrecision(3)));

/** @param {Point} point */
const pointText = ({ x, y }) => `x = ${signed(x)}, y = ${signed(y)}`;
