/** The weights of a network in training, with their gradients and optimizers. */
import type { Matrix, Memory } from "../compute/memory";

/** β₂ of Adam. */
export const BETA2 = 0.999;

/** Shape of each weight as torch has it; a vector [O] is a matrix [1, O] here. */
export type Shapes = Record<string, number[]>;

/** The weights of a network, one after the other, and what belongs to each of them, in the same order: gradients, means. */
export class Weights {
  readonly w: Record<string, Matrix>;
  readonly g: Record<string, Matrix>;
  readonly v: Record<string, Matrix>; // Mean of the squared gradients, and of the gradients
  readonly m: Record<string, Matrix>;
  readonly size: number;
  #powers: [number, number] = [1, 1]; // β₁ᵗ and β₂ᵗ of Adam
  readonly #starts: number[];

  constructor(
    private memory: Memory,
    readonly shapes: Shapes,
  ) {
    const layers = () => matricesOf(memory, shapes);
    [this.w, this.g, this.v, this.m] = [layers(), layers(), layers(), layers()];
    const ends = [this.w, this.g, this.v, this.m].map((part) => Object.values(part));
    this.#starts = ends.map(([first]) => first.address);
    this.size = ends[0].at(-1)!.end - this.#starts[0];
  }

  clearGradients() {
    for (const matrix of Object.values(this.g)) matrix.values.fill(0);
  }

  /** Scales the gradients so that their norm is at most `maxNorm`, and returns the norm before, as `clip_grad_norm_`. */
  clip(maxNorm: number): number {
    const start = this.#starts[1];
    const norm = Math.sqrt(this.memory.kernel.squares(start, start + this.size));
    const factor = maxNorm / (norm + 1e-6);
    if (factor < 1) this.memory.kernel.scale(start, start + this.size, factor);
    return norm;
  }

  /** An update of torch's RMSprop. */
  rmsprop(lr: number, alpha = 0.99, eps = 1e-8) {
    const [w, g, v] = this.#starts;
    this.memory.kernel.rmsprop(w, this.size, g, v, lr, alpha, 1 - alpha, eps);
  }

  /** An update of torch's Adam. */
  adam(lr: number, beta1: number, beta2 = BETA2, eps = 1e-8) {
    const [w, g, v, m] = this.#starts;
    this.#powers = [this.#powers[0] * beta1, this.#powers[1] * beta2];
    const [rate, root] = [lr / (1 - this.#powers[0]), Math.sqrt(1 - this.#powers[1])];
    this.memory.kernel.adam(w, this.size, g, m, v, rate, root, 1 - beta1, beta2, 1 - beta2, eps);
  }

  /** Returns copies of the weights and of what the optimizer keeps, by name. */
  save(): SavedWeights {
    return { w: readAll(this.w), v: readAll(this.v), m: readAll(this.m), powers: this.#powers };
  }

  /** Takes its part of what was saved. */
  restore(saved: SavedWeights) {
    for (const part of ["w", "v", "m"] as const) writeAll(this[part], saved[part]);
    this.#powers = saved.powers;
  }
}

export const matricesOf = (memory: Memory, shapes: Shapes): Record<string, Matrix> =>
  Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [name, memory.matrix(shape.at(-2) ?? 1, shape.at(-1)!)]),
  );

/** Numbers of matrices by name. */
export type Floats = Record<string, Float32Array<ArrayBuffer>>;
export type SavedWeights = { w: Floats; v: Floats; m: Floats; powers: [number, number] };

export const readAll = (matrices: Record<string, Matrix>): Floats =>
  Object.fromEntries(Object.entries(matrices).map(([name, matrix]) => [name, matrix.read()]));

/** Writes the numbers that there are. */
export function writeAll(matrices: Record<string, Matrix>, numbers: Floats) {
  for (const [name, matrix] of Object.entries(matrices)) if (numbers[name]) matrix.write(numbers[name]);
}
