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
import { row } from "../kit/tensors";
import type { Mlp } from "./mlp";
import { Random } from "./random";

const LEARNING_RATE = 0.1;
/** λ. It keeps z where N(0, I) has its mass, unless the image needs another z. */
const PRIOR_WEIGHT = 1e-3;
const [BETA_1, BETA_2, EPSILON] = [0.9, 0.999, 1e-8];
const MAX_PAIRS = 8; // Pairs of latents that a unit of work takes, since the kernel computes pairs
/** Multiplications of a unit of work, some milliseconds, so that slices end in time. */
const UNIT = 24e6;

export interface ProjectionOptions {
  seed?: number; // Of the random latents
  samples?: number; // Random latents
  starts?: number; // N, the best of them, which Adam improves
  steps?: number; // Of Adam
  /** Of a conditional generator; by default the samples try all classes in turn. */
  class?: number | null;
}

export class Projection {
  #next = 0;
  #sampled = 0;
  #firstMoment: Float64Array;
  #secondMoment: Float64Array;
  #longestUnit = 0;
  /** Random latents that a unit of work tries. A step of half as many starts costs the same. */
  #rows: number;
  readonly noiseSize: number;
  readonly steps: number;
  readonly candidates: Float32Array; // Random latents [samples, Z]
  readonly candidateErrors: Float32Array; // RMSE of the random latents, from 0 to 2 [samples]
  latents = new Float32Array(0); // Current latents [N, Z]; empty while the random latents are tried
  /** Their images [N, P] before the last step, after all steps those of `latents`. */
  readonly images: Float32Array;
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
    this.candidates = sampleLatents(generator.inputs, numClasses, samples, new Random(seed), options.class ?? null);
    this.candidateErrors = new Float32Array(samples);
    this.images = new Float32Array(starts * generator.outputs);
    this.errors = Array.from({ length: starts }, () => []);
    this.#firstMoment = new Float64Array(starts * generator.inputs);
    this.#secondMoment = new Float64Array(starts * generator.inputs);
    this.#rows = 2 * Math.min(MAX_PAIRS, Math.max(1, Math.round(UNIT / generator.numWeights / 2)));
  }

  get step() {
    return Math.max(0, this.errors[this.errors.length - 1].length - 1);
  }

  get done() {
    return this.errors[this.errors.length - 1].length > this.steps;
  }

  get best() {
    const last = this.errors.map((curve) => curve[curve.length - 1] ?? Infinity);
    return last.indexOf(Math.min(...last));
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
      if (this.#sampled < this.candidateErrors.length) this.#sample();
      else this.#improve();
      const after = performance.now();
      this.#longestUnit = Math.max(0.9 * this.#longestUnit, after - now);
      now = after;
    } while (now + this.#longestUnit - started < milliseconds);
    return this.done;
  }

  #sample() {
    const { inputs, outputs } = this.generator;
    const [from, to] = [this.#sampled, Math.min(this.#sampled + this.#rows, this.candidateErrors.length)];
    const images = this.generator.forward(this.candidates.subarray(from * inputs, to * inputs));
    for (let n = from; n < to; n++) this.candidateErrors[n] = this.#rmse(images, (n - from) * outputs);
    this.#sampled = to;
    if (to === this.candidateErrors.length) this.#start();
  }

  /** Takes the best of the random latents. */
  #start() {
    const { inputs } = this.generator;
    const order = Array.from(this.candidateErrors.keys());
    order.sort((a, b) => this.candidateErrors[a] - this.candidateErrors[b] || a - b);
    this.latents = new Float32Array(this.errors.length * inputs);
    this.errors.forEach((_, n) => {
      this.latents.set(row(this.candidates, order[n % order.length], inputs), n * inputs);
    });
  }

  /** Makes one step of some of the starts. After the last step it only computes the images. */
  #improve() {
    const { inputs, outputs } = this.generator;
    const rows = Math.max(2, this.#rows >> 1);
    const [from, to] = [this.#next, Math.min(this.#next + rows, this.errors.length)];
    const latents = this.latents.subarray(from * inputs, to * inputs);
    const images = this.generator.forward(latents);
    this.images.set(images, from * outputs);
    const step = this.errors[from].length;
    for (let n = from; n < to; n++) this.errors[n].push(this.#rmse(images, (n - from) * outputs));
    if (step < this.steps) {
      const gradOutputs = images.map((pixel, k) => (2 / outputs) * (pixel - this.target[k % outputs]));
      this.#update(from, latents, this.generator.inputGradient(gradOutputs), step);
    }
    this.#next = to % this.errors.length;
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

  /** Returns the root-mean-square difference of an image from x. */
  #rmse(images: Float32Array, start: number): number {
    const { target } = this;
    let sum = 0;
    for (let k = 0; k < target.length; k++) {
      const difference = images[start + k] - target[k];
      sum += difference * difference;
    }
    return Math.sqrt(sum / target.length);
  }
}

/**
 * Samples latents z ~ N(0, I) [count, size]; those of a conditional generator end with a one-hot class, `classIndex` or each
 * in turn.
 */
export function sampleLatents(
  size: number,
  numClasses: number,
  count: number,
  random: Random,
  classIndex: number | null = null,
): Float32Array {
  const latents = new Float32Array(count * size);
  for (let n = 0; n < count; n++) {
    latents.set(random.normals(size - numClasses), n * size);
    if (numClasses) latents[(n + 1) * size - numClasses + (classIndex ?? n % numClasses)] = 1;
  }
  return latents;
}
