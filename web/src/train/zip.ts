/** Files in the formats that Python reads: a zip archive without compression, and tensors as safetensors. */

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = (c >>> 1) ^ (c & 1 ? 0xedb88320 : 0);
  return c;
});

function crc32(bytes: Uint8Array) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

export type Files = Record<string, Uint8Array<ArrayBuffer>>;

export const textBytes = (text: string) => new TextEncoder().encode(text);

/** Little-endian numbers of the given widths in bytes. */
function numbers(...fields: [width: 2 | 4, value: number][]) {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [width]) => sum + width, 0)));
  let at = 0;
  for (const [width, value] of fields) {
    if (width === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += width;
  }
  return new Uint8Array(view.buffer);
}

function join(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
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
    const common: [2 | 4, number][] = [
      ...([
        [2, 20],
        [2, 0x800],
        [2, 0],
        [2, 0],
        [2, 0x21],
      ] as [2 | 4, number][]), // no compression, 1 January 1980
      ...([
        [4, crc32(bytes)],
        [4, bytes.length],
        [4, bytes.length],
        [2, name.length],
        [2, 0],
      ] as [2 | 4, number][]),
    ];
    local.push(numbers([4, 0x04034b50], ...common), name, bytes);
    central.push(numbers([4, 0x02014b50], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]), name);
    offset += 30 + name.length + bytes.length;
  }
  const directory = join(central);
  const count = Object.keys(files).length;
  const end = numbers(
    [4, 0x06054b50],
    [2, 0],
    [2, 0],
    [2, count],
    [2, count],
    [4, directory.length],
    [4, offset],
    [2, 0],
  );
  return join([...local, directory, end]);
}

/** A tensor: its numbers or bytes, and its shape. */
export type Tensor = [Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>, number[]];

/** Returns tensors by name as safetensors. */
export function safetensors(tensors: Record<string, Tensor>): Uint8Array<ArrayBuffer> {
  const header: Record<string, unknown> = {};
  const parts: Uint8Array[] = [];
  let offset = 0;
  const order = Object.entries(tensors).sort(([, [a]], [, [b]]) => b.BYTES_PER_ELEMENT - a.BYTES_PER_ELEMENT);
  for (const [name, [values, shape]] of order) {
    const dtype = values instanceof Float32Array ? "F32" : "U8";
    header[name] = { dtype, shape, data_offsets: [offset, offset + values.byteLength] };
    parts.push(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    offset += values.byteLength;
  }
  const text = JSON.stringify(header);
  const bytes = textBytes(text.padEnd(Math.ceil(text.length / 8) * 8));
  return join([numbers([4, bytes.length], [4, 0]), bytes, ...parts]);
}
