/** Tensors by name in the format safetensors. What is read is not trusted. */
import { concatBytes, utf8ToBytes } from "@noble/hashes/utils.js";

/** A tensor: its numbers, bytes or integers, and its shape. */
export type Tensor = [Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer> | BigInt64Array<ArrayBuffer>, number[]];

/** Bytes of a number. */
const WIDTHS: Record<string, number> = { U8: 1, F32: 4, I64: 8 };

export function safetensors(
  tensors: Record<string, Tensor>,
  metadata: Record<string, string>,
): Uint8Array<ArrayBuffer> {
  const header: Record<string, unknown> = { __metadata__: metadata };
  const parts: Uint8Array[] = [];
  let offset = 0;
  const order = Object.entries(tensors).sort(([, [a]], [, [b]]) => b.BYTES_PER_ELEMENT - a.BYTES_PER_ELEMENT);
  for (const [name, [values, shape]] of order) {
    const dtype = Object.keys(WIDTHS).find((dtype) => WIDTHS[dtype] === values.BYTES_PER_ELEMENT);
    header[name] = { dtype, shape, data_offsets: [offset, offset + values.byteLength] };
    parts.push(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    offset += values.byteLength;
  }
  const text = JSON.stringify(header);
  const bytes = utf8ToBytes(text.padEnd(Math.ceil(text.length / 8) * 8));
  return concatBytes(new Uint8Array(BigUint64Array.of(BigInt(bytes.length)).buffer), bytes, ...parts);
}

export class Tensors {
  #header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
  #start: number;

  constructor(
    private readonly bytes: Uint8Array<ArrayBuffer>,
    private readonly name: string,
  ) {
    const length = bytes.length < 8 ? NaN : new DataView(bytes.buffer).getUint32(0, true);
    this.#start = 8 + length;
    if (!(this.#start <= bytes.length)) throw new Error(`${name} is damaged`);
    this.#header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, this.#start)));
  }

  get metadata(): Record<string, string> {
    return (this.#header.__metadata__ ?? {}) as object as Record<string, string>;
  }

  has = (tensor: string) => Object.hasOwn(this.#header, tensor);

  shape = (tensor: string): number[] => (this.has(tensor) ? this.#header[tensor].shape : []);

  /** Returns a copy of the bytes of a tensor, which must have this shape. */
  read(tensor: string, shape: number[], dtype = "U8"): Uint8Array<ArrayBuffer> {
    const found = this.has(tensor) ? this.#header[tensor] : null;
    const size = shape.reduce((product, n) => product * n, WIDTHS[dtype]);
    const isRight = found && found.dtype === dtype && String(found.shape) === String(shape);
    const [from, to] = isRight ? found.data_offsets : [0, 0];
    if (!isRight || to - from !== size || !(from >= 0) || this.#start + to > this.bytes.length)
      throw new Error(`${this.name} has no ${tensor} of ${dtype} [${shape}]`);
    return this.bytes.slice(this.#start + from, this.#start + to);
  }

  /** Returns finite numbers in single precision. */
  floats(tensor: string, shape: number[]): Float32Array<ArrayBuffer> {
    const values = new Float32Array(this.read(tensor, shape, "F32").buffer);
    if (!values.every(Number.isFinite)) throw new Error(`${tensor} of ${this.name} is not finite`);
    return values;
  }
}
