/** Tensors in data blocks, see `TensorSpec`. */
import { fromHalf, readBlock } from "./bytes";
import type { TensorBlock, TensorSpec } from "./manifest";

export const size = (shape: number[]) => shape.reduce((product, length) => product * length, 1);

let halves: Float32Array | null = null;

function decode(bytes: Uint8Array<ArrayBuffer>, { dtype, offset, shape, scale }: TensorSpec): Float32Array {
  const count = size(shape);
  if (dtype === "f32") return new Float32Array(bytes.buffer, bytes.byteOffset + offset, count);
  if (dtype === "u8") return Float32Array.from(bytes.subarray(offset, offset + count));
  halves ??= Float32Array.from({ length: 1 << 16 }, (_, bits) => fromHalf(bits));
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++)
    values[i] = (scale ?? 1) * halves[bytes[offset + i] | (bytes[offset + count + i] << 8)];
  return values;
}

export async function readTensors(block: TensorBlock): Promise<Record<string, Float32Array>> {
  const bytes = await readBlock(block.block);
  return Object.fromEntries(Object.entries(block.tensors).map(([name, spec]) => [name, decode(bytes, spec)]));
}

/** Returns images of a block, bytes as numbers, as pixels in [-1, 1]. */
export const toPixels = (bytes: Float32Array) => bytes.map((byte) => byte / 127.5 - 1);

/** Returns row n of values [N, length], without a copy. */
export const row = <A extends Float32Array | Float64Array | Uint8Array>(values: A, n: number, length: number) =>
  values.subarray(n * length, (n + 1) * length) as A;
