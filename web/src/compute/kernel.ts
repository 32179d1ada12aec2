/**
 * The kernel: matrix products and elementwise functions of networks in single precision, in WebAssembly with SIMD.
 *
 * Each network has a `Memory` of its own, which goes with it. Its layout: matrices one after the other, each from an address
 * that is a multiple of 16 bytes, row by row; the rows are padded with zeros to a multiple of 4 numbers, and the weights of a
 * layer to a multiple of 4 rows, so that no loop has a special case for the rest. An allocation may move the memory, so
 * `values` of a matrix is valid until the next one: whoever trains allocates everything at the start.
 *
 *     const memory = await newMemory();
 *     const [x, y] = [memory.matrix(N, I), memory.matrix(N, O)];
 *     const [W, b] = [memory.weights(values, O), memory.bias(values)];
 *     memory.linear(x, N, W, b, y);          // y = x Wᵀ + b
 *     memory.inputGradient(dy, N, W, dx);    // dx = dy W
 *     memory.tanh(y, N);
 */
import kernelBytes from "wasm:networks";
import { fromBase64 } from "../kit/bytes";

const PAGE = 65536;
const BYTES = 4; // Bytes of a number

/** Rounds up to a multiple of 4. */
export const pad = (n: number) => Math.ceil(n / 4) * 4;

/** Where rows of x lie in its matrix. A convolution reads overlapping rows, each of several pieces. Lengths in numbers. */
export interface Rows {
  count: number;
  start: number;
  stride: number; // From one row to the next
  length: number; // Of a piece, a multiple of 4
  pieces: number;
  gap: number; // From the end of a piece to the next
}

interface Exports {
  memory: WebAssembly.Memory;
  linear: (...values: number[]) => void;
  transposed: (...values: number[]) => void;
  tanh: (from: number, end: number) => void;
}

let compiled: Promise<WebAssembly.Module> | null = null;

/** Compiles the kernel; rejects in a browser without SIMD. */
export function compileKernel(): Promise<WebAssembly.Module> {
  const bytes = fromBase64(kernelBytes);
  if (typeof WebAssembly === "undefined" || !WebAssembly.validate(bytes))
    throw new Error(
      "this browser lacks WebAssembly with SIMD (Chrome 91, Firefox 89 and Safari 16.4 and later have it)",
    );
  return (compiled ??= WebAssembly.compile(bytes));
}

export async function newMemory(): Promise<Memory> {
  const { exports } = await WebAssembly.instantiate(await compileKernel());
  return new Memory(exports as unknown as Exports);
}

export class Matrix {
  readonly stride: number; // Numbers from one row to the next

  /** `address` in bytes. */
  constructor(
    private memory: WebAssembly.Memory,
    readonly address: number,
    readonly rows: number,
    readonly columns: number,
  ) {
    this.stride = pad(columns);
  }

  /** All numbers with the padding, [rows, stride]; valid until the next allocation. */
  get values(): Float32Array {
    return new Float32Array(this.memory.buffer, this.address, this.rows * this.stride);
  }

  /** Writes rows [N, columns], from the first. */
  write(values: Float32Array) {
    const { columns, stride, values: target } = this;
    if (columns === stride) return target.set(values);
    for (let from = 0, to = 0; from < values.length; from += columns, to += stride)
      target.set(values.subarray(from, from + columns), to);
  }

  /** Copies rows, from the first, to `target` [N, columns]. */
  read(target: Float32Array) {
    const { columns, stride, values } = this;
    if (columns === stride) return target.set(values.subarray(0, target.length));
    for (let to = 0, from = 0; to < target.length; to += columns, from += stride)
      target.set(values.subarray(from, from + columns), to);
  }
}

/** The memory of one network, and what the kernel computes in it. */
export class Memory {
  #used = 16; // Bytes in use; none stand at address 0

  constructor(private kernel: Exports) {}

  /** Returns a new matrix of zeros, or of values. */
  matrix(rows: number, columns: number, values?: Float32Array): Matrix {
    const { memory } = this.kernel;
    const address = this.#used;
    this.#used += rows * pad(columns) * BYTES;
    const missing = this.#used - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / PAGE));
    const matrix = new Matrix(memory, address, rows, columns);
    if (values) matrix.write(values);
    return matrix;
  }

  /** Returns the weights W [O, I] of a layer. */
  weights = (values: Float32Array, outputs: number) => this.matrix(pad(outputs), values.length / outputs, values);

  /** Returns the bias b [O] of a layer. */
  bias = (values: Float32Array) => this.matrix(1, values.length, values);

  /**
   * Computes y = x Wᵀ + b and then LeakyReLU, max(y, slope · y), of N rows, or of those that `rows` describes, into y from
   * `firstRow`. A slope of 0 is ReLU, 1 changes nothing.
   */
  linear(x: Matrix, rows: number | Rows, W: Matrix, b: Matrix, y: Matrix, slope = 1, firstRow = 0) {
    const given: Partial<Rows> = typeof rows === "number" ? { count: rows } : rows;
    const { count = 0, start = 0, stride = x.stride, length = x.stride, pieces = 1, gap = 0 } = given;
    this.kernel.linear(
      ...[x.address + start * BYTES, stride * BYTES, count, length * BYTES, pieces, gap * BYTES],
      ...[W.address, W.rows, b.address, y.address + firstRow * y.stride * BYTES, y.stride * BYTES, slope],
    );
  }

  /** Computes dx = dy W, the gradient with respect to the input of a layer, of N rows. */
  inputGradient(dy: Matrix, count: number, W: Matrix, dx: Matrix) {
    dx.values.fill(0, 0, count * dx.stride);
    const source = [dy.address, dy.stride * BYTES, count];
    this.kernel.transposed(...source, W.address, W.rows, W.stride * BYTES, dx.address, dx.stride * BYTES);
  }

  /** Replaces N rows by their tanh. */
  tanh(y: Matrix, count: number) {
    this.kernel.tanh(y.address, y.address + count * y.stride * BYTES);
  }
}
