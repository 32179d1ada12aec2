/**
 * The images of a map, generated a few at a time, so that moving it stays smooth.
 *
 * A cell is named by its column and row, which count from the cell where the map began, rightwards and upwards.
 */
import { argmax } from "../../ui/class_bars.js";
import { h } from "../../ui/dom.js";
import { imageCanvas } from "../../ui/image.js";
import { makeFrames } from "../latent/frames.js";

/** @typedef {import("../../models/gan.js").Gan} Gan */

/**
 * @typedef {object} Cell
 * @property {HTMLCanvasElement | null} image null where only the class is wanted
 * @property {number | null} classIndex null without a classifier
 * @property {number} confidence probability of this class
 */

/** @typedef {{column: number, row: number}} Place */

/** Milliseconds of computing per frame of the screen; the rest of 16 is for drawing. */
const BUDGET = 9;
const BATCH = 4;
/** Kept cells; beyond, those that came first are dropped. More than a map of regions shows at once. */
const MAX_CELLS = 2500;
/** Longest side of a kept image: a cell shows no more, and many large images would fill the memory. */
const MAX_SIDE = 128;

export class Cells {
  /** @type {Map<string, Cell>} */
  #cells = new Map();
  /** @type {Place[]} */
  #wanted = [];
  #request = 0;

  /** Whether images are wanted, or only classes. A change needs `clear`. */
  withImages = true;

  /**
   * @param {Gan} gan
   * @param {(place: Place) => Float32Array} latentOf
   * @param {() => void} onprogress
   */
  constructor(gan, latentOf, onprogress) {
    this.gan = gan;
    this.latentOf = latentOf;
    this.onprogress = onprogress;
  }

  /**
   * Returns a cell, or undefined as long as it is not computed.
   * @param {Place} place
   */
  get({ column, row }) {
    return this.#cells.get(`${column},${row}`);
  }

  /**
   * Replaces what is to be computed.
   * @param {Place[]} places the most urgent first
   */
  want(places) {
    this.#wanted = places.filter((place) => !this.get(place));
    if (this.#wanted.length && !this.#request) this.#request = requestAnimationFrame(this.#compute);
  }

  /** Whether cells are still to be computed. */
  get busy() {
    return this.#wanted.length > 0;
  }

  clear() {
    this.#cells.clear();
    this.stop();
  }

  stop() {
    this.#wanted = [];
    cancelAnimationFrame(this.#request);
    this.#request = 0;
  }

  #compute = () => {
    this.#request = 0;
    const start = performance.now();
    do this.#add(this.#wanted.splice(0, BATCH));
    while (this.#wanted.length && performance.now() - start < BUDGET);
    for (const key of this.#cells.keys()) {
      if (this.#cells.size <= MAX_CELLS) break;
      this.#cells.delete(key);
    }
    if (this.#wanted.length) this.#request = requestAnimationFrame(this.#compute);
    this.onprogress();
  };

  /** @param {Place[]} places */
  #add(places) {
    const { latentSize } = this.gan.content;
    const latents = new Float32Array(places.length * latentSize);
    places.forEach((place, n) => latents.set(this.latentOf(place), n * latentSize));
    const frames = makeFrames(this.gan, latents, { withDiscriminator: false });
    frames.forEach(({ pixels, probabilities }, n) => {
      const classIndex = probabilities && argmax(probabilities);
      this.#cells.set(`${places[n].column},${places[n].row}`, {
        image: this.withImages ? thumbnail(pixels, this.gan.content.imageShape) : null,
        classIndex,
        confidence: probabilities && classIndex !== null ? probabilities[classIndex] : 0,
      });
    });
  }
}

/**
 * Returns an image on a canvas of limited size.
 * @param {Float32Array} pixels
 * @param {import("../../ui/image.js").ImageShape} shape
 */
function thumbnail(pixels, shape) {
  const image = imageCanvas(pixels, shape, "");
  const scale = MAX_SIDE / Math.max(image.width, image.height);
  if (scale >= 1) return image;
  const small = h("canvas", { width: Math.round(image.width * scale), height: Math.round(image.height * scale) });
  small.getContext("2d")?.drawImage(image, 0, 0, small.width, small.height);
  return small;
}
