/**
 * The CODE of `reviver gan interpolate RUN --view CODE`: the two ends of an interpolation and its path, as text.
 *
 * Unpadded base64url of: version 1; path (0 linear, 1 spherical); steps between the ends; 0; the latent size Z (uint16);
 * z₀ and z₁ in half precision; the CRC-32 of all bytes before (uint32). All little-endian. src/reviver/gan/interpolation.py reads it.
 */
import { PATHS, type PathKind } from "../compute/paths";
import { fromBase64url, fromHalf, toBase64url, toHalf } from "../kit/bytes";

export interface InterpolationView {
  path: PathKind;
  steps: number; // Images between the ends, at most `MAX_STEPS`
  start: Float32Array; // z₀ [Z], in half precision, see `rounded`
  end: Float32Array; // z₁ [Z]
}

const VERSION = 1;
export const MAX_STEPS = 48;
const HEADER = 6;
const CHECKSUM = 4;

/** Rounds numbers to half precision, so that they survive a code as they are. */
export const rounded = (values: Float32Array) => values.map((value) => fromHalf(toHalf(value)));

export function encodeView({ path, steps, start, end }: InterpolationView): string {
  const size = start.length;
  const bytes = new Uint8Array(HEADER + 4 * size + CHECKSUM);
  const data = new DataView(bytes.buffer);
  bytes.set([VERSION, PATHS.indexOf(path), steps, 0]);
  data.setUint16(4, size, true);
  [...start, ...end].forEach((value, k) => data.setUint16(HEADER + 2 * k, toHalf(value), true));
  data.setUint32(bytes.length - CHECKSUM, crc32(bytes.subarray(0, -CHECKSUM)), true);
  return toBase64url(bytes);
}

/** Decodes a view of latents of a size, which may come from a URL; null if it is damaged or of another size. */
export function decodeView(code: string, size: number): InterpolationView | null {
  const bytes = fromBase64url(code);
  if (!bytes || bytes.length !== HEADER + 4 * size + CHECKSUM) return null;
  const data = new DataView(bytes.buffer);
  const [version, path, steps, zero] = bytes;
  if (version !== VERSION || path >= PATHS.length || steps > MAX_STEPS || zero !== 0) return null;
  if (data.getUint16(4, true) !== size) return null;
  if (data.getUint32(bytes.length - CHECKSUM, true) !== crc32(bytes.subarray(0, -CHECKSUM))) return null;
  const latents = Float32Array.from({ length: 2 * size }, (_, k) => fromHalf(data.getUint16(HEADER + 2 * k, true)));
  if (!latents.every(Number.isFinite)) return null;
  return { path: PATHS[path], steps, start: latents.slice(0, size), end: latents.slice(size) };
}

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}
