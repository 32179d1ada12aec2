/**
 * Panel "Draw a digit": the latent whose image is nearest to a drawing.
 *
 * The URL fragment keeps `run`, `class`, the drawing as `test` (index of a test image) and `strokes`, the seed of the
 * starts as `seed`, and `search=1` once a search has been made.
 */
import { Projection } from "../compute/projection.js";
import { encodeView, toHalf } from "../compute/view_code.js";
import { readTensors, size, toPixels } from "../data/tensors.js";
import { argmax } from "../ui/class_bars.js";
import { button, toggle } from "../ui/controls.js";
import { fill, h } from "../ui/dom.js";
import { formatFragment } from "../ui/fragment.js";
import { Desk, labelName } from "./draw/desk.js";
import { formatError, ResultView } from "./draw/result_view.js";
import { search } from "./draw/search.js";
import { SearchView } from "./draw/search_view.js";
import { makeFrames } from "./latent/frames.js";
import { formatChoice, Latents } from "./latent/endpoints.js";
import { mountRun, numberIn } from "./latent/runs.js";

/** @typedef {import("../explorer.js").Explorer} Explorer */
/** @typedef {import("../models/gan.js").Gan} Gan */
/** @typedef {import("./draw/desk.js").TestImages} TestImages */
/** @typedef {import("./latent/frames.js").Frame} Frame */
/** @typedef {import("../types.js").GanContent} GanContent */

/** Images between the ends of an interpolation. */
const STEPS_BETWEEN = 7;
const MAX_SEED = 999;

/** @type {import("./panel.js").Panel} */
export const drawPanel = {
  id: "draw",
  tutorial: "gan",
  needs: ["generator", "discriminator", "classifier", "training", "test"],
  title: "Draw a digit",
  question: "Can the generator make what you draw?",
  observe: "Draw a digit as in MNIST, then something else. Compare the errors with that of a real image.",
  limit: "The search may end in a local minimum. A large error does not prove that G cannot make the image.",
  unavailable: (explorer) => (explorer.manifest.gans.length ? null : "There is no GAN run in this file."),
  async mount(root, explorer, view) {
    const { gans } = explorer.manifest;
    const loaded = await Promise.all(gans.map(loadTests));
    const tests = new Map(gans.map((gan, index) => [gan.id, loaded[index]]));
    return mountRun(root, explorer, view, (body, gan, runView) => {
      const images = tests.get(gan.content.id) ?? NO_TESTS;
      return new DrawPanel(body, explorer, gan, images, runView);
    });
  },
};

/** @type {TestImages} */
const NO_TESTS = { images: [], labels: null, names: null };

/**
 * @param {GanContent} content
 * @returns {Promise<TestImages>}
 */
async function loadTests({ test, imageShape, labelNames }) {
  if (!test) return NO_TESTS;
  const { images, labels } = await readTensors(test);
  const pixels = size(imageShape);
  const all = toPixels(images);
  return {
    images: Array.from({ length: all.length / pixels }, (_, n) => all.subarray(n * pixels, (n + 1) * pixels)),
    labels: labels ?? null,
    names: labelNames,
  };
}

/**
 * The panel of one run.
 */
class DrawPanel {
  /** Stops what is searched for. */
  #stop = () => {};
  #slow = false;
  #seed = 0;
  /** Whether the result belongs to the drawing. */
  #found = false;
  /** @type {Promise<Float32Array> | null} */
  #training = null;

  /**
   * @param {HTMLElement} root
   * @param {Explorer} explorer
   * @param {Gan} gan
   * @param {TestImages} tests
   * @param {URLSearchParams} view untrusted
   */
  constructor(root, explorer, gan, tests, view) {
    this.explorer = explorer;
    this.gan = gan;
    this.tests = tests;
    this.#seed = numberIn(view.get("seed"), { min: 0, max: MAX_SEED, integer: true }, 0);
    this.search = button("Find the nearest image of G", () => this.#search(), { class: "primary" });
    this.again = button("Search from other starts", () => this.#searchAgain());
    this.searchView = new SearchView(gan.content);
    this.resultView = new ResultView(gan);
    const restored = view.get("search") === "1";
    const slowMotion = toggle("Slow motion", false, (slow) => (this.#slow = slow)).element;
    const page = { onchange: () => this.#drawingChanged(), announce: explorer.announce };
    this.desk = new Desk(gan.content, tests, view, page, [this.search, slowMotion, this.again]);
    fill(root, h("div", { class: "draw" }, this.desk.element, this.searchView.element, this.resultView.element));
    this.#showButtons();
    if (restored && this.desk.target) this.#search();
  }

  view() {
    return {
      ...this.desk.view(),
      ...(this.#seed && { seed: String(this.#seed) }),
      ...(this.#found && { search: "1" }),
    };
  }

  destroy() {
    this.#stop();
  }

  /** The result of another drawing is none of this one. */
  #drawingChanged() {
    if (!this.desk) return; // it is still being created
    this.#stop();
    this.#found = false;
    this.searchView.element.hidden = this.resultView.element.hidden = true;
    this.#showButtons();
    this.explorer.viewChanged();
  }

  #showButtons() {
    this.search.disabled = !this.desk.target;
    this.again.hidden = !this.#found;
  }

  #searchAgain() {
    this.#seed = (this.#seed + 1) % (MAX_SEED + 1);
    this.#search();
  }

  #search() {
    const { desk, searchView } = this;
    const { target } = desk;
    if (!target) return;
    this.#stop();
    this.resultView.element.hidden = true;
    this.explorer.announce("Searching.");
    const projection = this.#project(target, desk.classIndex);
    searchView.reset(projection);
    this.#stop = search(projection, {
      slow: this.#slow,
      onframe: () => searchView.draw(projection),
      ondone: () => {
        searchView.draw(projection);
        void this.#showResult(target, projection.result);
      },
    });
  }

  /**
   * @param {Float32Array} target
   * @param {number} classIndex class given to a conditional G
   */
  #project(target, classIndex) {
    const { generator, content } = this.gan;
    return new Projection(generator, target, content.numClasses, { seed: this.#seed, class: classIndex });
  }

  /**
   * @param {Float32Array} target
   * @param {Projection["result"]} result
   */
  async #showResult(target, { latent, error }) {
    const { gan, desk, resultView } = this;
    const [frame] = makeFrames(gan, latent);
    const name = desk.pureTestIndex === null ? "your drawing" : "the test image";
    const training = await this.#loadTraining();
    if (desk.target !== target) return; // the drawing has changed in the meantime
    this.#found = true;
    this.#showButtons();
    resultView.show(target, name, frame, this.#examine(target), training, this.#link(frame));
    this.explorer.viewChanged();
    this.explorer.announce(`Found an image of G with an error of ${formatError(error)}.`);
    this.#searchBaseline(target, error);
  }

  /**
   * Projects a real image, of the class of the drawing if there is one, for comparison.
   * @param {Float32Array} target
   * @param {number} error of the drawing
   */
  #searchBaseline(target, error) {
    const { gan, tests, desk } = this;
    const index = this.#chooseBaseline(target);
    if (index < 0) return this.resultView.showBaseline(null, error);
    const image = tests.images[index];
    const label = labelName(tests, index);
    const classIndex = gan.content.numClasses && tests.labels ? tests.labels[index] : desk.classIndex;
    const projection = this.#project(image, classIndex);
    this.#stop = search(projection, {
      ondone: () => {
        const { image: found, error: reached } = projection.result;
        this.searchView.setBaseline(reached);
        this.resultView.showBaseline({ image, label, found, error: reached }, error);
      },
    });
  }

  /**
   * Index of the real image that is the baseline, -1 if there is none.
   * @param {Float32Array} target
   */
  #chooseBaseline(target) {
    const { gan, tests, desk } = this;
    const probabilities = gan.classify(target);
    const predicted = gan.content.numClasses ? desk.classIndex : probabilities ? argmax(probabilities) : -1;
    const others = tests.images.map((_, index) => index).filter((index) => index !== desk.pureTestIndex);
    return others.find((index) => tests.labels && tests.labels[index] === predicted) ?? others[0] ?? -1;
  }

  /**
   * What D and the classifier make of the drawing.
   * @param {Float32Array} target
   * @returns {Frame}
   */
  #examine(target) {
    const { gan, desk } = this;
    const logits = gan.discriminate(target, gan.content.numClasses ? [desk.classIndex] : null);
    const logit = logits && logits[0];
    return { latent: new Float32Array(), pixels: target, logit, probabilities: gan.classify(target) };
  }

  /** @returns {Promise<Float32Array | null>} */
  async #loadTraining() {
    const { training } = this.gan.content;
    if (!training) return null;
    this.#training ??= readTensors(training).then(({ images }) => toPixels(images));
    return this.#training;
  }

  /**
   * Fragment of the interpolation from the result to an end point of another class.
   * @param {Frame} frame
   */
  #link({ latent, probabilities }) {
    const { gan } = this;
    const half = toHalf(latent);
    const own = probabilities && argmax(probabilities);
    const ends = new Latents(gan).defaults().reverse();
    const end = ends.find(({ kind, classIndex }) => kind !== "class" || classIndex !== own) ?? ends[0];
    return formatFragment("latent", {
      run: gan.content.id,
      code: encodeView({ path: "linear", steps: STEPS_BETWEEN, start: half, end: half }),
      start: "code",
      end: formatChoice(end),
    });
  }
}
