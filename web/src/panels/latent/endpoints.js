/**
 * Choices of a latent: by class, at random, from the sample grid, or passed on by another panel.
 *
 * In the URL fragment a choice is `class-3-0`, `example-0`, `random-17`, `grid-4` or `code`. A conditional generator's may
 * end with `-as-5`, the class that it is given.
 */
/** @typedef {import("../../models/gan.js").Gan} Gan */

/**
 * @typedef {object} Choice
 * @property {"class" | "example" | "random" | "grid" | "code"} kind `example` counts end points without a class
 * @property {number} classIndex of kind `class`
 * @property {number} index of the example or in the grid
 * @property {number} seed of kind `random`
 * @property {number | null} condition class that a conditional generator is given instead of the latent's own
 */

export const MAX_SEED = 999_999;

/**
 * A choice with default values.
 * @param {Partial<Choice>} values
 * @returns {Choice}
 */
export const choice = (values) => ({ kind: "grid", classIndex: 0, index: 0, seed: 0, condition: null, ...values });

/**
 * What there is to choose from in a run.
 */
export class Latents {
  /** @param {Gan} gan */
  constructor(gan) {
    this.gan = gan;
    const { latentSize } = gan.content;
    this.gridSize = gan.latents.grid.length / latentSize;
    /** @type {Map<number, number[]>} indices of end points by class */
    this.byClass = new Map();
    /** @type {number[]} indices of end points without a class */
    this.examples = [];
    const count = gan.latents.endpoints.length / latentSize;
    gan.content.endpointClasses.slice(0, count).forEach((classIndex, index) => {
      if (classIndex === null) this.examples.push(index);
      else this.byClass.set(classIndex, [...(this.byClass.get(classIndex) ?? []), index]);
    });
    this.classes = [...this.byClass.keys()].sort((a, b) => a - b);
  }

  /** Names of the classes that choices name. */
  get classNames() {
    return this.gan.content.classifier?.classNames ?? this.gan.content.classNames;
  }

  /** @param {number} index */
  className(index) {
    return this.classNames[index] ?? String(index);
  }

  /**
   * Returns two choices to begin with, of different classes where there are any.
   * @returns {[Choice, Choice]}
   */
  defaults() {
    const { classes, examples } = this;
    if (classes.length > 1) {
      // The classes of the report's Figure 5, if there are.
      const [first, last] = [
        classes.includes(3) ? 3 : classes[0],
        classes.includes(8) ? 8 : classes[classes.length - 1],
      ];
      return [choice({ kind: "class", classIndex: first }), choice({ kind: "class", classIndex: last })];
    }
    if (examples.length > 1) return [choice({ kind: "example" }), choice({ kind: "example", index: 1 })];
    return [choice({}), choice({ index: Math.min(1, this.gridSize - 1) })];
  }

  /**
   * Returns whether a choice names something that this run has.
   * @param {Choice} chosen
   */
  has({ kind, classIndex, index, seed, condition }) {
    if (condition !== null && condition >= this.gan.content.numClasses) return false;
    if (kind === "class") return index < (this.byClass.get(classIndex)?.length ?? 0);
    if (kind === "example") return index < this.examples.length;
    if (kind === "grid") return index < this.gridSize;
    return kind === "code" || seed <= MAX_SEED;
  }

  /**
   * Returns the latent of a choice.
   * @param {Choice} chosen
   * @param {Float32Array | null} [passed] latent of kind `code`
   * @returns {Float32Array} [Z]
   */
  latent(chosen, passed = null) {
    const { gan } = this;
    const latent = this.#latent(chosen, passed);
    if (chosen.condition !== null) {
      latent.fill(0, gan.content.noiseSize);
      latent[gan.content.noiseSize + chosen.condition] = 1;
    }
    return latent;
  }

  /**
   * @param {Choice} chosen
   * @param {Float32Array | null} passed
   */
  #latent({ kind, classIndex, index, seed }, passed) {
    const { latents, content } = this.gan;
    const size = content.latentSize;
    /** @param {Float32Array} all @param {number} n */
    const row = (all, n) => all.slice(n * size, (n + 1) * size);
    if (kind === "class") return row(latents.endpoints, (this.byClass.get(classIndex) ?? [0])[index]);
    if (kind === "example") return row(latents.endpoints, this.examples[index]);
    // Its own class differs from seed to seed.
    if (kind === "random")
      return this.gan.sampleLatents(1, seed, content.numClasses ? seed % content.numClasses : null);
    if (kind === "code" && passed) return passed.slice();
    return row(latents.grid, index);
  }

  /**
   * Names a choice.
   * @param {Choice} chosen
   */
  name({ kind, classIndex, index, seed, condition }) {
    const given = condition === null ? "" : ` as class ${this.gan.content.classNames[condition]}`;
    if (kind === "class") return `class ${this.className(classIndex)}, example ${index + 1}`;
    if (kind === "example") return `example ${index + 1}${given}`;
    if (kind === "random") return `random, seed ${seed}${given}`;
    if (kind === "grid") return `sample ${index + 1} of the grid${given}`;
    return `a latent from a link${given}`;
  }
}

/**
 * Returns a choice as text for the URL fragment.
 * @param {Choice} chosen
 */
export function formatChoice({ kind, classIndex, index, seed, condition }) {
  const given = condition === null ? "" : `-as-${condition}`;
  if (kind === "class") return `class-${classIndex}-${index}${given}`;
  if (kind === "random") return `random-${seed}${given}`;
  return kind === "code" ? `code${given}` : `${kind}-${index}${given}`;
}

/**
 * Returns the choice of an untrusted text, or null if it names none of this run.
 * @param {string | null} text
 * @param {Latents} latents
 * @returns {Choice | null}
 */
export function parseChoice(text, latents) {
  const found = /^(class|example|random|grid|code)(?:-(\d{1,6}))?(?:-(\d{1,6}))?(?:-as-(\d{1,4}))?$/.exec(text ?? "");
  if (!found) return null;
  const [first, second] = [Number(found[2] ?? 0), Number(found[3] ?? 0)];
  const kind = /** @type {Choice["kind"]} */ (found[1]);
  const parsed = choice({ kind, condition: found[4] === undefined ? null : Number(found[4]) });
  if (kind === "class") Object.assign(parsed, { classIndex: first, index: second });
  else if (kind === "random") parsed.seed = first;
  else parsed.index = first;
  return latents.has(parsed) ? parsed : null;
}
