/**
 * The memory of a network, one for each: matrices for kernel/, which `Memory` instantiates. Activations are [features, N].
 *
 * An allocation may move the memory, so `values` of a matrix is valid until the next one.
 */
import kernelBytes from "wasm:kernel";
import { fromBase64 } from "../kit/bytes";

/** What kernel/kernel.ts exports; u64 is a bigint here. */
export interface Kernel {
  memory: WebAssembly.Memory;
  squares: (from: number, end: number) => number;
  masks: (seed: bigint, t: bigint, ...values: number[]) => void;
  [name: string]: any;
}

/** Of a number. */
export const BYTES = 4;
const PAGE = 65536;
const LINE = 16;

/** Rounds up to a multiple of `unit`. */
export const pad = (n: number, unit: number) => Math.ceil(n / unit) * unit;

/** A matrix in a memory: rows of a multiple of 8 numbers, filled up with zeros, a multiple of 8 of them. */
export class Matrix {
  #view: Float32Array<ArrayBuffer> | null = null;

  constructor(
    private memory: WebAssembly.Memory,
    readonly address: number, // In bytes
    readonly rows: number,
    readonly columns: number,
    readonly width: number, // Numbers from a row to the next
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

  /** Some rows from a row on, both multiples of 8, with the same numbers. */
  part(first: number, rows: number): Matrix {
    return new Matrix(this.memory, this.address + first * this.stride, rows, this.columns, this.width);
  }

  clear(columns: number) {
    for (let r = 0; r < this.rows; r++) this.values.fill(0, r * this.width, r * this.width + columns);
  }

  /** Writes numbers [rows, columns] into the first columns. */
  write(numbers: Float32Array, columns = this.columns) {
    for (let r = 0; r < this.rows; r++)
      this.values.set(numbers.subarray(r * columns, (r + 1) * columns), r * this.width);
  }

  /** Returns the numbers [rows, columns] of the first columns, in a buffer. */
  read(columns = this.columns, numbers = new Float32Array(this.rows * columns)): Float32Array<ArrayBuffer> {
    const { rows, width, values } = this;
    for (let r = 0; r < rows; r++) numbers.set(values.subarray(r * width, r * width + columns), r * columns);
    return numbers;
  }

  /** Writes numbers [N, rows] into the first columns, each into one. */
  writeColumns(numbers: Float32Array) {
    const { rows, width, values } = this;
    const count = numbers.length / rows;
    for (let n = 0; n < count; n++) for (let r = 0; r < rows; r++) values[r * width + n] = numbers[n * rows + r];
  }

  /** Returns the numbers [count, rows] of columns from `first` on. */
  readColumns(count: number, first = 0): Float32Array<ArrayBuffer> {
    const { rows, width, values } = this;
    const numbers = new Float32Array(count * rows);
    for (let r = 0; r < rows; r++)
      for (let n = 0; n < count; n++) numbers[n * rows + r] = values[r * width + first + n];
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

let compiled: Promise<WebAssembly.Module> | null = null;

/** Compiles the kernel; throws in a browser without SIMD. */
export function compileKernel(): Promise<WebAssembly.Module> {
  const bytes = fromBase64(kernelBytes);
  if (typeof WebAssembly === "undefined" || !WebAssembly.validate(bytes))
    throw new Error(
      "this browser lacks WebAssembly with SIMD (Chrome 91, Firefox 89 and Safari 16.4 and later have it)",
    );
  return (compiled ??= WebAssembly.compile(bytes));
}

export class Memory {
  #used = 1024;

  private constructor(readonly kernel: Kernel) {}

  static async create() {
    const { exports } = await WebAssembly.instantiate(await compileKernel());
    return new Memory(exports as unknown as Kernel);
  }

  /** Returns a new matrix of zeros, or of numbers [rows, columns]. */
  matrix(rows: number, columns: number, numbers?: Float32Array): Matrix {
    const { memory } = this.kernel;
    const matrix = new Matrix(memory, this.#used, rows, columns, rowWidth(columns));
    this.#used = pad(matrix.end, 64);
    const missing = this.#used - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / PAGE));
    if (numbers) matrix.write(numbers);
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
