/** Files in the formats that Python reads: a zip archive without compression, and tensors as safetensors. */

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = (c >>> 1) ^ (c & 1 ? 0xedb88320 : 0);
  return c;
});

export function crc32(bytes: Uint8Array) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

export type Files = Record<string, Uint8Array<ArrayBuffer>>;

export const textBytes = (text: string) => new TextEncoder().encode(text);

/** Little-endian numbers of 16 bits. */
const shorts = (...values: number[]) => new Uint8Array(Uint16Array.from(values).buffer);
/** Little-endian numbers of 32 bits, as pairs of 16. */
const longs = (...values: number[]) => shorts(...values.flatMap((value) => [value & 0xffff, value >>> 16]));

export function join(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Returns an archive of files by their paths. */
export function zip(files: Files): Uint8Array<ArrayBuffer> {
  const [local, central]: Uint8Array[][] = [[], []];
  let offset = 0;
  for (const [path, bytes] of Object.entries(files)) {
    const name = textBytes(path);
    const sizes = longs(crc32(bytes), bytes.length, bytes.length);
    const common = join(shorts(20, 0x800, 0, 0, 0x21), sizes, shorts(name.length, 0)); // stored, 1 January 1980
    local.push(longs(0x04034b50), common, name, bytes);
    central.push(longs(0x02014b50), shorts(20), common, shorts(0, 0, 0), longs(0, offset), name);
    offset += 30 + name.length + bytes.length;
  }
  const directory = join(...central);
  const count = Object.keys(files).length;
  const end = join(longs(0x06054b50), shorts(0, 0, count, count), longs(directory.length, offset), shorts(0));
  return join(...local, directory, end);
}

/** A tensor: its numbers, bytes or integers, and its shape. */
export type Tensor = [Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer> | BigInt64Array<ArrayBuffer>, number[]];

const DTYPES: Record<number, string> = { 1: "U8", 4: "F32", 8: "I64" };

/** Returns tensors by name as safetensors. */
export function safetensors(tensors: Record<string, Tensor>): Uint8Array<ArrayBuffer> {
  const header: Record<string, unknown> = {};
  const parts: Uint8Array[] = [];
  let offset = 0;
  const order = Object.entries(tensors).sort(([, [a]], [, [b]]) => b.BYTES_PER_ELEMENT - a.BYTES_PER_ELEMENT);
  for (const [name, [values, shape]] of order) {
    header[name] = {
      ...{ dtype: DTYPES[values.BYTES_PER_ELEMENT], shape },
      data_offsets: [offset, offset + values.byteLength],
    };
    parts.push(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    offset += values.byteLength;
  }
  const text = JSON.stringify(header);
  const bytes = textBytes(text.padEnd(Math.ceil(text.length / 8) * 8));
  return join(longs(bytes.length, 0), bytes, ...parts);
}
