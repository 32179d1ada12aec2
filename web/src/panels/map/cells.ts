/**
 * The images of a lattice in a plane of latent space, generated a few at a time, so that moving the map stays smooth.
 *
 * A plane is z = origin + x · across + y · up. A cell is named by its column and row, which count from the anchor, rightwards
 * and upwards.
 */
import { signal } from "@preact/signals";
import { makeFrames } from "../../gan/frames";
import type { Gan } from "../../gan/gan";
import { argmax } from "../../kit/format";
import { imageCanvas } from "../../kit/image";

/** Milliseconds of computing per frame of the screen; the rest of 16 is for drawing. */
const BUDGET = 9;
const BATCH = 4;
/** Kept cells; beyond, those that came first are dropped. More than a map of regions shows at once. */
const MAX_CELLS = 2500;

export type Point = { x: number; y: number };

export type Place = { column: number; row: number };

/** Each [Z]. */
export type Plane = { origin: Float32Array; across: Float32Array; up: Float32Array };

/** What the map showed before, and where. */
export type Picture = Point & { image: HTMLCanvasElement; extent: number };

interface Cell {
  image: HTMLCanvasElement | null; // Null where only the class is wanted
  classIndex: number; // -1 without a classifier, or where its outputs are not a number
  confidence: number; // Probability of this class
}

export const latentAt = ({ origin, across, up }: Plane, { x, y }: Point) =>
  origin.map((value, i) => value + x * across[i] + y * up[i]);

export class Cells {
  #cells = new Map<string, Cell>();
  #wanted: Place[] = [];
  #request = 0;
  busy = signal(true); // Whether cells are still to be computed
  progress = signal(0); // Changes when there are new cells

  /** `anchor` is the middle of cell (0, 0), `spacing` the distance of neighbors in coordinates. */
  constructor(
    readonly gan: Gan,
    readonly plane: Plane,
    readonly anchor: Point,
    readonly spacing: number,
    readonly withImages: boolean,
    readonly before: Picture | null, // Shown until the cells are there
  ) {}

  pointOf = ({ column, row }: Place): Point => ({
    x: this.anchor.x + column * this.spacing,
    y: this.anchor.y + row * this.spacing,
  });

  placeAt = ({ x, y }: Point): Place => ({
    column: Math.round((x - this.anchor.x) / this.spacing),
    row: Math.round((y - this.anchor.y) / this.spacing),
  });

  get = ({ column, row }: Place) => this.#cells.get(`${column},${row}`);

  /** Replaces what is to be computed, the most urgent first. */
  want(places: Place[]) {
    this.#wanted = places.filter((place) => !this.get(place));
    this.busy.value = this.#wanted.length > 0;
    if (this.#wanted.length && !this.#request) this.#request = requestAnimationFrame(this.#compute);
  }

  stop() {
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
    this.progress.value += 1; // whoever draws wants the rest
  };

  #add(places: Place[]) {
    const { latentSize, imageShape } = this.gan.content;
    const latents = new Float32Array(places.length * latentSize);
    places.forEach((place, n) => latents.set(latentAt(this.plane, this.pointOf(place)), n * latentSize));
    makeFrames(this.gan, latents, { withDiscriminator: false }).forEach(({ pixels, probabilities }, n) => {
      const classIndex = probabilities ? argmax(probabilities) : -1;
      this.#cells.set(`${places[n].column},${places[n].row}`, {
        image: this.withImages ? imageCanvas(pixels, imageShape) : null,
        classIndex,
        confidence: probabilities?.[classIndex] ?? 0,
      });
    });
  }
}
