/** Zip archives. What is read is not trusted: sizes are checked before anything is allocated, and while it is inflated. */
import { zipSync } from "fflate";

const DAMAGED = "the zip is damaged or incomplete";
/** Bytes of the list of files, and of the end of an archive with its comment, at most. */
const [MAX_LIST, MAX_END] = [1 << 22, 22 + 65535];
/** Bytes that are inflated at once, to a thousand times as many at most. */
const PIECE = 1 << 14;

export type Files = Record<string, Uint8Array<ArrayBuffer>>;

/** Returns an archive of files by their paths, not compressed. */
export const zip = (files: Files) => zipSync(files, { level: 0, mtime: "1980-01-01T00:00" });

interface Entry {
  isDeflated: boolean;
  crc: number;
  packed: number;
  size: number;
  /** Where it begins in the archive. */
  offset: number;
}

const viewOf = async (blob: Blob, from: number, length: number) => {
  if (from < 0 || from + length > blob.size) throw new Error(DAMAGED);
  return new DataView(await blob.slice(from, from + length).arrayBuffer());
};

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

export class Archive {
  private constructor(
    private readonly blob: Blob,
    private readonly entries: Map<string, Entry>,
  ) {}

  static async open(blob: Blob): Promise<Archive> {
    const tail = await viewOf(blob, Math.max(0, blob.size - MAX_END), Math.min(blob.size, MAX_END));
    let at = tail.byteLength - 22;
    while (at >= 0 && tail.getUint32(at, true) !== 0x06054b50) at--;
    if (at < 0) throw new Error("it is not a zip, or only part of one");
    const [length, from] = [12, 16].map((k) => tail.getUint32(at + k, true));
    if (length > MAX_LIST) throw new Error("the zip has too many files");
    const list = await viewOf(blob, from, length);
    const entries = new Map<string, Entry>();
    for (let count = tail.getUint16(at + 10, true), p = 0; count > 0; count--) {
      if (p + 46 > length || list.getUint32(p, true) !== 0x02014b50) throw new Error(DAMAGED);
      const [flags, method, name, extra, comment] = [8, 10, 28, 30, 32].map((k) => list.getUint16(p + k, true));
      const [crc, packed, size, offset] = [16, 20, 24, 42].map((k) => list.getUint32(p + k, true));
      if (p + 46 + name > length) throw new Error(DAMAGED);
      const path = new TextDecoder().decode(new Uint8Array(list.buffer, p + 46, name));
      const isKnown = (method === 0 || method === 8) && !(flags & 1); // not encrypted
      if (isKnown) entries.set(path, { isDeflated: method === 8, crc, packed, size, offset });
      p += 46 + name + extra + comment;
    }
    return new Archive(blob, entries);
  }

  get paths() {
    return [...this.entries.keys()];
  }

  has = (path: string) => this.entries.has(path);

  /** Returns the content of a file of at most `limit` bytes. */
  async read(path: string, limit: number): Promise<Uint8Array<ArrayBuffer>> {
    const entry = this.entries.get(path);
    if (!entry) throw new Error(`the zip has no ${path}`);
    const { offset, packed, size } = entry;
    if (size > limit) throw new Error(`${path} has ${size} bytes, and the page reads at most ${limit}`);
    const head = await viewOf(this.blob, offset, 30);
    const from = offset + 30 + head.getUint16(26, true) + head.getUint16(28, true);
    if (from + packed > this.blob.size) throw new Error(DAMAGED);
    const bytes = await fill(this.blob.slice(from, from + packed), size, entry.isDeflated);
    if (crc32(bytes) !== entry.crc) throw new Error(`${path} is damaged`);
    return bytes;
  }

  readText = async (path: string, limit: number) => new TextDecoder().decode(await this.read(path, limit));
}

/** Returns the bytes of a file, which must have as many as it says. */
async function fill(file: Blob, size: number, isDeflated: boolean) {
  const bytes = new Uint8Array(size);
  let at = 0;
  const sink = new WritableStream<Uint8Array>({
    write(part) {
      bytes.set(part, at); // throws beyond the end
      at += part.length;
    },
  });
  const pieces = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
    transform(part, out) {
      for (let from = 0; from < part.length; from += PIECE) out.enqueue(part.subarray(from, from + PIECE));
    },
  });
  const stream = file.stream().pipeThrough(pieces);
  await (isDeflated ? stream.pipeThrough(new DecompressionStream("deflate-raw")) : stream).pipeTo(sink).catch(() => {
    throw new Error(DAMAGED);
  });
  if (at < size) throw new Error(DAMAGED);
  return bytes;
}
