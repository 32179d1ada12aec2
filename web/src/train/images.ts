/** Images to train a GAN on: of the page, and in a file of NumPy, as `reviver gan train --data` reads them. */
import { concatBytes, utf8ToBytes } from "@noble/hashes/utils.js";
import { readBlock } from "../kit/bytes";
import type { ClassifierSpec, TensorBlock } from "../kit/manifest";
import { readTensors } from "../kit/tensors";
import type { Archive } from "./archive";
import type { Images } from "./gan_run";

interface Source {
  data: TensorBlock;
  source: string | null;
  classifier: ClassifierSpec | null;
}

/** Returns the first `count` of the images, all by default, with what knows their classes. */
export async function readImages(
  { data, source, classifier }: Source,
  count = data.tensors.images.shape[0],
): Promise<Images> {
  const { dtype, offset, shape } = data.tensors.images;
  const size = shape[2];
  const stored = (await readBlock(data.block)).subarray(offset);
  const bytes = dtype === "u2" ? unpack(stored, count, size) : stored.slice(0, count * size * size);
  const known = classifier && { classifier: { spec: classifier, tensors: await readTensors(classifier.weights) } };
  return { bytes, size, source, ...known };
}

/** Returns images as bytes, of four gray levels with a byte for each 2 × 2 of their pixels. */
function unpack(stored: Uint8Array, count: number, size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(count * size * size);
  const half = size / 2;
  for (let k = 0; k < count * half * half; k++) {
    const at = 2 * size * Math.floor(k / half) + 2 * (k % half); // in the images below each other
    const four = stored[k];
    [bytes[at], bytes[at + 1]] = [85 * (four & 3), 85 * ((four >> 2) & 3)];
    [bytes[at + size], bytes[at + size + 1]] = [85 * ((four >> 4) & 3), 85 * (four >> 6)];
  }
  return bytes;
}

/** Most bytes of images that the page takes: 20,000 of 28 × 28. */
export const MAX_IMAGE_BYTES = 20_000 * 28 * 28;

/** Returns the file of images, bytes [N, 1, H, W]. */
export function imagesFile({ bytes, size }: Images): Uint8Array<ArrayBuffer> {
  const shape = `${bytes.length / size ** 2}, 1, ${size}, ${size}`;
  const header = `{'descr': '|u1', 'fortran_order': False, 'shape': (${shape}), }`.padEnd(117); // 128 bytes in all
  const head = Uint8Array.of(0x93, ...utf8ToBytes("NUMPY"), 1, 0, 118, 0);
  return concatBytes(head, utf8ToBytes(`${header}\n`), bytes);
}

export function readImagesFile(archive: Archive, path: string): Images {
  const file = archive.read(path, MAX_IMAGE_BYTES + 1024);
  const start = 10 + file[8] + 256 * file[9];
  const header = new TextDecoder().decode(file.subarray(10, start));
  const shape = /^\{'descr': '\|u1', 'fortran_order': False, 'shape': \((\d+), 1, (\d+), (\d+)\), \} *\n$/.exec(header);
  const [count, size, width] = (shape ?? []).slice(1).map(Number);
  if (!shape || size !== width || size < 4 || size > 64 || count * size * size !== file.length - start)
    throw new Error(`${path} holds no images of bytes [N, 1, H, H]`);
  return { bytes: file.slice(start), size, source: null };
}
