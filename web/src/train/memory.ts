/** The memory of a network that is trained: matrices for kernel/training.ts, which `Memory` instantiates. */
import kernelBytes from "wasm:training";
import { fromBase64 } from "../kit/bytes";

/** What kernel/training.ts exports; u64 is a bigint here. */
export interface Kernel {
  memory: WebAssembly.Memory;
  squares: (from: number, end: number) => number;
  masks: (seed: bigint, t: bigint, ...values: number[]) => void;
  [name: string]: any;
}

const BYTES = 4;
const PAGE = 65536;
const LINE = 16;

/** Rounds up to a multiple of `unit`. */
export const pad = (n: number, unit: number) => Math.ceil(n / unit) * unit;

/** A matrix in a memory: rows of a multiple of 8 numbers, filled up with zeros, a multiple of 8 of them. */
export class Matrix {
  #view: Float32Array<ArrayBuffer> | null = null;

  constructor(
    private memory: WebAssembly.Memory,
    /** In bytes. */
    readonly address: number,
    readonly rows: number,
    readonly columns: number,
    /** Numbers from a row to the next. */
    readonly width: number,
  ) {}

  /** Bytes from a row to the next. */
  get stride() {
    return this.width * BYTES;
  }

  /** Rows in memory. */
  get height() {
    return pad(this.rows, 8);
  }

  get end() {
    return this.address + this.height * this.stride;
  }

  /** All numbers with what fills them up, [height, width]. */
  get values(): Float32Array<ArrayBuffer> {
    const buffer = this.memory.buffer as ArrayBuffer;
    if (this.#view?.buffer !== buffer) this.#view = new Float32Array(buffer, this.address, this.height * this.width);
    return this.#view;
  }

  /** The matrix from a column on, a multiple of 8, with the same numbers. */
  from(column: number): Matrix {
    return new Matrix(this.memory, this.address + column * BYTES, this.rows, this.columns - column, this.width);
  }

  /** Sets the first columns to 0. */
  clear(columns: number) {
    for (let r = 0; r < this.rows; r++) this.values.fill(0, r * this.width, r * this.width + columns);
  }

  /** Writes numbers [rows, columns]. */
  write(numbers: Float32Array) {
    for (let r = 0; r < this.rows; r++)
      this.values.set(numbers.subarray(r * this.columns, (r + 1) * this.columns), r * this.width);
  }

  /** Returns the numbers [rows, columns]. */
  read(): Float32Array<ArrayBuffer> {
    const { rows, columns, width, values } = this;
    const numbers = new Float32Array(rows * columns);
    for (let r = 0; r < rows; r++) numbers.set(values.subarray(r * width, r * width + columns), r * columns);
    return numbers;
  }
}

/**
 * Width of a row: a multiple of 8, and an odd number of cache lines where there are several, so that the numbers of a column
 * do not lie in the same few places of the cache.
 */
function rowWidth(columns: number) {
  const width = pad(columns, 8);
  return width >= 2 * LINE && pad(width, LINE) % (2 * LINE) === 0 ? pad(width, LINE) + LINE : width;
}

export class Memory {
  #used = 1024;

  private constructor(readonly kernel: Kernel) {}

  static async create() {
    const { instance } = await WebAssembly.instantiate(fromBase64(kernelBytes));
    return new Memory(instance.exports as unknown as Kernel);
  }

  /** Returns a new matrix of zeros. */
  matrix(rows: number, columns: number): Matrix {
    const { memory } = this.kernel;
    const matrix = new Matrix(memory, this.#used, rows, columns, rowWidth(columns));
    this.#used = pad(matrix.end, 64);
    const missing = this.#used - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / PAGE));
    return matrix;
  }

  /** The dropout mask of step t of a seed: each number is 0 with probability p. */
  mask(m: Matrix, p: number, seed: bigint, t: number, columns: number) {
    const threshold = Math.min(Math.floor(p * 2 ** 32 + 0.5), 2 ** 32 - 1);
    this.kernel.masks(seed, BigInt(t), m.address, m.stride, m.rows, columns, threshold, Math.fround(1 / (1 - p)));
  }

  /** C += A B, of the first columns of B and C. */
  product(a: Matrix, b: Matrix, c: Matrix, columns: number) {
    this.#product(a, a.stride, BYTES, b, c, a.columns, columns);
  }

  /** The same for an A whose rows and columns are `down` and `right` bytes apart; `inner` of its columns. */
  #product(a: Matrix, down: number, right: number, b: Matrix, c: Matrix, inner: number, columns: number) {
    this.kernel.product(
      ...[a.address, down, right, b.address, b.stride, c.address, c.stride],
      ...[c.height, inner, columns],
    );
  }

  /** C += A Bᵀ over the first columns of A and B; `room` is for Bᵀ. */
  productTransposed(a: Matrix, b: Matrix, c: Matrix, room: Matrix, columns: number) {
    this.transpose(b, room, columns);
    this.productRoom(a, b, c, room, columns);
  }

  /** Puts Bᵀ into `room`. */
  transpose(b: Matrix, room: Matrix, columns: number) {
    this.kernel.transpose(b.address, b.stride, room.address, rowWidth(b.rows) * BYTES, b.height, columns);
  }

  /** C += A Bᵀ with Bᵀ in `room`. */
  productRoom(a: Matrix, b: Matrix, c: Matrix, room: Matrix, columns: number) {
    const width = rowWidth(b.rows) * BYTES;
    this.kernel.product(
      ...[a.address, a.stride, BYTES, room.address, width, c.address, c.stride],
      ...[c.height, columns, pad(c.columns, 8)],
    );
  }

  /** Y = W X + b, of the first columns. */
  linear(x: Matrix, W: Matrix, b: Matrix, y: Matrix, columns: number) {
    this.kernel.broadcast(b.address, y.address, y.stride, y.rows, columns);
    this.product(W, x, y, columns);
  }

  /** Adds the gradients of W and b to dW and db, from those of Y and from X; `room` is for Xᵀ. */
  linearGradient(dy: Matrix, x: Matrix, dW: Matrix, db: Matrix, room: Matrix, columns: number) {
    this.productTransposed(dy, x, dW, room, columns);
    this.rowSums(dy, db, columns);
  }

  /** dX = Wᵀ dY. */
  inputGradient(dy: Matrix, W: Matrix, dx: Matrix, columns: number) {
    dx.clear(columns);
    this.addInputGradient(dy, W, dx, columns);
  }

  /** dX += Wᵀ dY. */
  addInputGradient(dy: Matrix, W: Matrix, dx: Matrix, columns: number) {
    this.#product(W, BYTES, W.stride, dy, dx, W.rows, columns);
  }

  /** s [1, rows] += the sums over the first columns of Y. */
  rowSums(y: Matrix, s: Matrix, columns: number) {
    this.kernel.rowSums(y.address, y.stride, s.address, y.rows, columns);
  }
}

/** Shape of each weight as torch has it; a vector [O] is a matrix [1, O] here. */
export type Shapes = Record<string, number[]>;

/** The weights of a network, one after the other, and what belongs to each of them, in the same order: gradients, means. */
export class Weights {
  readonly w: Record<string, Matrix>;
  readonly g: Record<string, Matrix>;
  /** Mean of the squared gradients, and of the gradients. */
  readonly v: Record<string, Matrix>;
  readonly m: Record<string, Matrix>;
  readonly size: number;
  readonly #starts: number[];

  constructor(
    private memory: Memory,
    readonly shapes: Shapes,
  ) {
    const layers = () =>
      Object.fromEntries(
        Object.entries(shapes).map(([name, shape]) => [name, memory.matrix(shape.at(-2) ?? 1, shape.at(-1)!)]),
      );
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

  /** An update of torch's Adam; `powers` are β₁ᵗ and β₂ᵗ. */
  adam(lr: number, [beta1, beta2]: [number, number], powers: [number, number], eps = 1e-8) {
    const [w, g, v, m] = this.#starts;
    const [rate, root] = [lr / (1 - powers[0]), Math.sqrt(1 - powers[1])];
    this.memory.kernel.adam(w, this.size, g, m, v, rate, root, 1 - beta1, beta2, 1 - beta2, eps);
  }

  /** Returns copies of the weights and of the means that the optimizer keeps, by name. */
  save(): SavedWeights {
    return { w: readAll(this.w), v: readAll(this.v), m: readAll(this.m) };
  }

  restore(saved: SavedWeights) {
    for (const part of ["w", "v", "m"] as const) writeAll(this[part], saved[part]);
  }
}

/** Numbers of matrices by name. */
export type Floats = Record<string, Float32Array<ArrayBuffer>>;
export type SavedWeights = { w: Floats; v: Floats; m: Floats };

export const readAll = (matrices: Record<string, Matrix>): Floats =>
  Object.fromEntries(Object.entries(matrices).map(([name, matrix]) => [name, matrix.read()]));

export function writeAll(matrices: Record<string, Matrix>, numbers: Floats) {
  for (const [name, values] of Object.entries(numbers)) matrices[name].write(values);
}
