/**
 * The matrix multiplication of all networks of a GAN: in WebAssembly with SIMD where there is any, else in plain
 * JavaScript.
 *
 * Matrices live in the memory of the kernel. Their rows are padded with zeros to a multiple of 4 numbers, and the weights
 * of a layer to a multiple of 4 rows, so that neither kernel has a special case for the rest. Memory is never freed:
 * networks stay as long as the page.
 */
import { PlainKernel } from "./plain.js";
import { SimdKernel } from "./simd.js";

/**
 * A stretch of the kernel's memory. `values` is valid until the next allocation, which may move the memory.
 * @typedef {{readonly start: number, readonly values: Float32Array}} Stretch
 */

/**
 * The operations of `linear` and `transposed`, with counts in numbers, see `Kernel`.
 * @typedef {object} KernelBackend
 * @property {(length: number) => Stretch} allocate returns zeros
 * @property {(x: Matrix, rows: Rows, W: Matrix, b: Matrix, y: Matrix, firstRow: number, slope: number) => void} linear
 * @property {(dy: Matrix, count: number, W: Matrix, dx: Matrix) => void} transposed adds to dx
 */

/**
 * Where the rows of x lie in its matrix: by default, as they do in any matrix. A convolution reads overlapping rows, each
 * of several pieces.
 * @typedef {object} Rows
 * @property {number} count
 * @property {number} start of the first, numbers
 * @property {number} stride from one row to the next, numbers
 * @property {number} length of a piece, numbers, a multiple of 4
 * @property {number} pieces
 * @property {number} gap from the end of a piece to the next, numbers
 */

/**
 * Rounds up to a multiple of 4.
 * @param {number} n
 */
export const pad = (n) => Math.ceil(n / 4) * 4;

/** A matrix in the memory of the kernel. */
export class Matrix {
  /** @type {Stretch} */
  #stretch;

  /**
   * @param {KernelBackend} backend
   * @param {number} rows
   * @param {number} columns
   */
  constructor(backend, rows, columns) {
    this.rows = rows;
    this.columns = columns;
    /** Numbers from one row to the next. */
    this.stride = pad(columns);
    this.#stretch = backend.allocate(rows * this.stride);
  }

  /** All numbers with the padding, [rows, stride]; valid until the next allocation. */
  get values() {
    return this.#stretch.values;
  }

  /** First number in the memory of the kernel. */
  get start() {
    return this.#stretch.start;
  }

  /**
   * Writes rows, from the first.
   * @param {Float32Array} values [N, columns]
   */
  write(values) {
    const { columns, stride } = this;
    const target = this.values;
    if (columns === stride) return target.set(values);
    for (let from = 0, to = 0; from < values.length; from += columns, to += stride)
      target.set(values.subarray(from, from + columns), to);
  }

  /**
   * Copies rows, from the first.
   * @param {Float32Array} target [N, columns]
   */
  read(target) {
    const { columns, stride, values } = this;
    if (columns === stride) return target.set(values.subarray(0, target.length));
    for (let to = 0, from = 0; to < target.length; to += columns, from += stride)
      target.set(values.subarray(from, from + columns), to);
  }
}

export class Kernel {
  /**
   * Creates the kernel.
   * @param {{simd?: "auto" | boolean, bytes?: Uint8Array<ArrayBuffer> | null}} [options] `bytes` of the module that
   *   kernel.wat is assembled to. `"auto"` is SIMD if the browser has it, `true` an error if it has not
   */
  static async create({ simd = "auto", bytes = null } = {}) {
    if (simd === false || (simd === "auto" && !bytes)) return new Kernel(new PlainKernel(), false);
    try {
      return new Kernel(await SimdKernel.create(bytes ?? new Uint8Array()), true);
    } catch (error) {
      if (simd === true) throw error;
      return new Kernel(new PlainKernel(), false);
    }
  }

  /**
   * @param {KernelBackend} backend
   * @param {boolean} simd
   */
  constructor(backend, simd) {
    this.backend = backend;
    this.simd = simd;
  }

  /**
   * Returns a new matrix of zeros.
   * @param {number} rows
   * @param {number} columns
   */
  matrix(rows, columns) {
    return new Matrix(this.backend, rows, columns);
  }

  /**
   * Returns the weights W [O, I] of a layer.
   * @param {Float32Array} values
   * @param {number} outputs O
   */
  weights(values, outputs) {
    const matrix = this.matrix(pad(outputs), values.length / outputs);
    matrix.write(values);
    return matrix;
  }

  /**
   * Returns the bias b [O] of a layer.
   * @param {Float32Array} values
   */
  bias(values) {
    const matrix = this.matrix(1, values.length);
    matrix.write(values);
    return matrix;
  }

  /**
   * Computes y = x W^T + b and then LeakyReLU, max(y, slope · y).
   * @param {Matrix} x [N, I]
   * @param {number | Rows} rows N, or where the rows lie in x
   * @param {Matrix} W [O, I]
   * @param {Matrix} b [O]
   * @param {Matrix} y [N, O], from `firstRow`
   * @param {{firstRow?: number, slope?: number}} [options] slope from 0, as ReLU, to 1, the default, which changes nothing
   */
  linear(x, rows, W, b, y, { firstRow = 0, slope = 1 } = {}) {
    const { stride } = x;
    const layout =
      typeof rows === "number" ? { count: rows, start: 0, stride, length: stride, pieces: 1, gap: 0 } : rows;
    this.backend.linear(x, layout, W, b, y, firstRow, slope);
  }

  /**
   * Computes dx = dy W, the gradient with respect to the input of a linear layer.
   * @param {Matrix} dy [N, O]
   * @param {number} count N
   * @param {Matrix} W [O, I]
   * @param {Matrix} dx [N, I]
   */
  transposed(dy, count, W, dx) {
    dx.values.fill(0, 0, count * dx.stride);
    this.backend.transposed(dy, count, W, dx);
  }
}
