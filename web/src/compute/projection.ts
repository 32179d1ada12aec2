/**
 * Projection of an image x into latent space (Creswell & Bharath 2018), as src/reviver/gan/inversion.py:
 *
 *     z* = argmin_z  mean (G(z) - x)² + λ ‖z‖²/Z
 *
 * Adam minimizes it from a few starts, the best of many random latents. The class in the latent of a conditional
 * generator stays as it is. All happens in slices of a few milliseconds, between which a page can show the progress.
 *
 * Shapes: N starts, Z latent size, P pixels.
 */
import { minIndex } from "d3-array";
import { row } from "../kit/tensors";
import type { Mlp } from "./mlp";
import { makeRng, type Rng } from "./random";

const LEARNING_RATE = 0.1;
/** λ. It keeps z where N(0, I) has its mass, unless the image needs another z. */
const PRIOR_WEIGHT = 1e-3;
const [BETA_1, BETA_2, EPSILON] = [0.9, 0.999, 1e-8];
const UNIT = 8; // Latents of a unit of work, some milliseconds, so that slices end in time

export interface ProjectionOptions {
  seed?: number; // Of the random latents
  samples?: number; // Random latents
  starts?: number; // N, the best of them, which Adam improves
  steps?: number; // Of Adam
  class?: number | null; // Of a conditional generator; by default the samples try all classes in turn
}

export class Projection {
  #firstMoment: Float64Array;
  #secondMoment: Float64Array;
  #units: Iterator<void>;
  #longestUnit = 0;
  readonly noiseSize: number;
  readonly steps: number;
  readonly candidates: Float32Array; // Random latents [samples, Z]
  readonly candidateErrors: Float32Array; // RMSE of the random latents, from 0 to 2 [samples]
  latents = new Float32Array(0); // Current latents [N, Z]; empty while the random latents are tried
  readonly images: Float32Array; // Their images [N, P] before the last step, after all steps those of `latents`
  readonly errors: number[][]; // RMSE of each start before each step, and after the last: N curves

  /** `target` is x [P] in [-1, 1]; `numClasses` is 0 unless the generator is conditional. */
  constructor(
    readonly generator: Mlp,
    readonly target: Float32Array,
    numClasses: number,
    options: ProjectionOptions = {},
  ) {
    const { seed = 0, samples = 512, starts = 4, steps = 150 } = options;
    this.noiseSize = generator.inputs - numClasses;
    this.steps = steps;
    this.candidates = sampleLatents(generator.inputs, numClasses, samples, makeRng(seed, "projection"), options.class);
    this.candidateErrors = new Float32Array(samples);
    this.images = new Float32Array(starts * generator.outputs);
    this.errors = Array.from({ length: starts }, () => []);
    this.#firstMoment = new Float64Array(starts * generator.inputs);
    this.#secondMoment = new Float64Array(starts * generator.inputs);
    this.#units = this.#search();
    this.#units.next(); // to where the first unit begins
  }

  get step() {
    return Math.max(0, this.errors.at(-1)!.length - 1);
  }

  get done() {
    return this.errors.at(-1)!.length > this.steps;
  }

  get best() {
    return minIndex(this.errors, (curve) => curve.at(-1) ?? Infinity);
  }

  /** The best start so far: latent z [Z], and image [P] and RMSE, before all is done those before the last step. */
  get result() {
    const { best } = this;
    const { inputs, outputs } = this.generator;
    const curve = this.errors[best];
    return {
      latent: row(this.latents, best, inputs).slice(),
      image: row(this.images, best, outputs).slice(),
      error: curve[curve.length - 1] ?? NaN,
    };
  }

  /** Works on for a slice of time: at least one unit of work, and no other that would not fit, as far as one can tell. */
  advance(milliseconds = 12) {
    const started = performance.now();
    let now = started;
    do {
      if (this.done) break;
      this.#units.next();
      const after = performance.now();
      this.#longestUnit = Math.max(0.9 * this.#longestUnit, after - now);
      now = after;
    } while (now + this.#longestUnit - started < milliseconds);
    return this.done;
  }

  /** Tries the random latents, and improves the best ones; yields before each unit of work. */
  *#search() {
    const { generator, target, candidates, candidateErrors, errors } = this;
    const { inputs, outputs } = generator;
    for (let from = 0; from < candidateErrors.length; from += UNIT) {
      yield;
      const images = generator.forward(candidates.subarray(from * inputs, (from + UNIT) * inputs));
      candidateErrors.set(errorsOf(target, images), from);
    }
    const order = [...candidateErrors.keys()].sort((a, b) => candidateErrors[a] - candidateErrors[b]);
    this.latents = new Float32Array(errors.length * inputs);
    errors.forEach((_, n) => this.latents.set(row(candidates, order[n % order.length], inputs), n * inputs));
    for (let step = 0; step <= this.steps; step++)
      for (let from = 0; from < errors.length; from += UNIT) {
        yield;
        const latents = this.latents.subarray(from * inputs, (from + UNIT) * inputs);
        const images = generator.forward(latents);
        this.images.set(images, from * outputs);
        errorsOf(target, images).forEach((error, n) => errors[from + n].push(error));
        if (step === this.steps) continue; // only the images
        const gradOutputs = images.map((pixel, k) => (2 / outputs) * (pixel - target[k % outputs]));
        this.#update(from, latents, generator.inputGradient(gradOutputs), step);
      }
  }

  /** Updates latents, from the start `from` on, by Adam (Kingma & Ba 2015) with a cosine learning-rate schedule. */
  #update(from: number, latents: Float32Array, gradient: Float32Array, step: number) {
    const { inputs } = this.generator;
    const rate = (LEARNING_RATE * (1 + Math.cos((Math.PI * step) / this.steps))) / 2;
    const scale_1 = rate / (1 - BETA_1 ** (step + 1));
    const scale_2 = Math.sqrt(1 - BETA_2 ** (step + 1));
    const m = this.#firstMoment.subarray(from * inputs);
    const v = this.#secondMoment.subarray(from * inputs);
    for (let k = 0; k < latents.length; k++) {
      if (k % inputs >= this.noiseSize) continue; // the class
      const g = gradient[k] + ((2 * PRIOR_WEIGHT) / inputs) * latents[k];
      m[k] = BETA_1 * m[k] + (1 - BETA_1) * g;
      v[k] = BETA_2 * v[k] + (1 - BETA_2) * g * g;
      latents[k] -= (scale_1 * m[k]) / (Math.sqrt(v[k]) / scale_2 + EPSILON);
    }
  }
}

/** Returns the root-mean-square differences [N] of images [N, P] from another x [P]. */
export const errorsOf = (x: Float32Array, images: Float32Array) =>
  Array.from({ length: images.length / x.length }, (_, n) => {
    let sum = 0;
    for (let k = 0; k < x.length; k++) {
      const difference = images[n * x.length + k] - x[k];
      sum += difference * difference;
    }
    return Math.sqrt(sum / x.length);
  });

/**
 * Samples latents z ~ N(0, I) [count, size]; those of a conditional generator end with a one-hot class: the same for all, or
 * one of each; by default each class in turn.
 */
export function sampleLatents(
  size: number,
  numClasses: number,
  count: number,
  rng: Rng,
  classes: number | number[] | null = null,
): Float32Array {
  const noiseSize = size - numClasses;
  const noise = rng.normals(count * noiseSize);
  const latents = new Float32Array(count * size);
  for (let n = 0; n < count; n++) {
    latents.set(row(noise, n, noiseSize), n * size);
    const classIndex = Array.isArray(classes) ? classes[n] : (classes ?? n % numClasses);
    if (numClasses) latents[(n + 1) * size - numClasses + classIndex] = 1;
  }
  return latents;
}
