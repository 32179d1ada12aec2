/** Bytes as text: base64, its form for addresses, zlib-deflated data blocks, and numbers in half precision. */
import { roundToEven } from "./math";

export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text); // many times as fast; older browsers lack it
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

export function toBase64(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

/** Unpadded base64url, for addresses. */
export const toBase64url = (bytes: Uint8Array) =>
  toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

/** Returns the bytes of an unpadded base64url text, null if it is none. */
export function fromBase64url(text: string): Uint8Array<ArrayBuffer> | null {
  if (!/^[\w-]*$/.test(text) || text.length % 4 === 1) return null;
  const bytes = fromBase64(text.replaceAll("-", "+").replaceAll("_", "/"));
  return toBase64url(bytes) === text ? bytes : null; // else bits after the last byte are not zero
}

/** Sends bytes or text through a (de)compressor. */
const convert = async (content: BlobPart, through: ReadableWritablePair<Uint8Array, BufferSource>) =>
  new Uint8Array(await new Response(new Blob([content]).stream().pipeThrough(through)).arrayBuffer());

/** Data blocks that the page has made, by id. */
const made = new Map<string, Uint8Array<ArrayBuffer>>();

export const provideBlock = (id: string, bytes: Uint8Array<ArrayBuffer>) => made.set(id, bytes);

/** Returns the inflated bytes of the data block with this id: a script element that no browser runs. */
export async function readBlock(id: string): Promise<Uint8Array<ArrayBuffer>> {
  if (made.has(id)) return made.get(id)!;
  const element = document.getElementById(id);
  if (!element) throw new Error(`the file has no data block ${id}`);
  return convert(fromBase64(element.textContent ?? ""), new DecompressionStream("deflate"));
}

export const readJson = async (id: string): Promise<any> => JSON.parse(new TextDecoder().decode(await readBlock(id)));

/** Returns a value as a data block has it. */
export const writeJson = async (value: unknown) =>
  toBase64(await convert(JSON.stringify(value), new CompressionStream("deflate")));

export function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31; // 0 of a subnormal number, without the leading 1
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 1024 + fraction : fraction) * 2 ** (Math.max(exponent, 1) - 25);
}

/** The bits of a number in half precision, rounded to nearest, ties to even. */
export function toHalf(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00; // halfway from the largest, 65504, to 2¹⁶
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), -14); // also of subnormal numbers
  return sign | ((exponent + 14) * 1024 + roundToEven(magnitude * 2 ** (10 - exponent))); // 2048 carries into the exponent
}
