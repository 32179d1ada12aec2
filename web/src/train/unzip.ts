/** Readers of a zip archive and of safetensors. Files are not trusted: sizes are checked before anything is allocated. */
import { crc32 } from "./zip";

const DAMAGED = "the zip is damaged or incomplete";
/** Bytes of the list of files, and of the end of an archive with its comment, at most. */
const [MAX_LIST, MAX_END] = [1 << 22, 22 + 65535];

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

const textOf = (view: DataView, from: number, length: number) =>
  new TextDecoder().decode(new Uint8Array(view.buffer, from, length));

export class Archive {
  private constructor(
    private readonly blob: Blob,
    private readonly entries: Map<string, Entry>,
  ) {}

  static async open(blob: Blob): Promise<Archive> {
    const tail = await viewOf(blob, Math.max(0, blob.size - MAX_END), Math.min(blob.size, MAX_END));
    let at = tail.byteLength - 22;
    while (at >= 0 && tail.getUint32(at, true) !== 0x06054b50) at--;
    if (at < 0) throw new Error("it is no zip, or a part of one");
    const [count, length, from] = [
      tail.getUint16(at + 10, true),
      tail.getUint32(at + 12, true),
      tail.getUint32(at + 16, true),
    ];
    if (length > MAX_LIST) throw new Error("the zip has too many files");
    const list = await viewOf(blob, from, length);
    const entries = new Map<string, Entry>();
    for (let n = 0, p = 0; n < count; n++) {
      if (p + 46 > length || list.getUint32(p, true) !== 0x02014b50) throw new Error(DAMAGED);
      const [flags, method] = [list.getUint16(p + 8, true), list.getUint16(p + 10, true)];
      const [crc, packed, size] = [16, 20, 24].map((k) => list.getUint32(p + k, true));
      const [name, extra, comment] = [28, 30, 32].map((k) => list.getUint16(p + k, true));
      if (p + 46 + name > length) throw new Error(DAMAGED);
      const isKnown = (method === 0 || method === 8) && !(flags & 1);
      if (isKnown)
        entries.set(textOf(list, p + 46, name), {
          ...{ isDeflated: method === 8, crc, packed, size, offset: list.getUint32(p + 42, true) },
        });
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
    if (from + packed > this.blob.size || (!entry.isDeflated && packed !== size)) throw new Error(DAMAGED);
    const bytes = await fill(this.blob.slice(from, from + packed), size, entry.isDeflated);
    if (crc32(bytes) !== entry.crc) throw new Error(`${path} is damaged`);
    return bytes;
  }

  readText = async (path: string, limit: number) => new TextDecoder().decode(await this.read(path, limit));
}

/** Returns the bytes of a file, which must have as many as it says. */
async function fill(file: Blob, size: number, isDeflated: boolean) {
  const bytes = new Uint8Array(size);
  const stream = isDeflated ? file.stream().pipeThrough(new DecompressionStream("deflate-raw")) : file.stream();
  const reader = stream.getReader();
  let at = 0;
  for (;;) {
    const { done, value } = await reader.read().catch(() => ({ done: false, value: new Uint8Array(size + 1) }));
    if (done) break;
    if (at + value.length > size) throw new Error(DAMAGED);
    bytes.set(value, at);
    at += value.length;
  }
  if (at < size) throw new Error(DAMAGED);
  return bytes;
}

const WIDTHS: Record<string, number> = { U8: 1, F32: 4, I64: 8 };

/** The tensors of a safetensors file. */
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
