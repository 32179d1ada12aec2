/** Image files as what a GAN learns from. */
import type { Images } from "../../train/protocol";
import { cropAndResize, toGray } from "../../train/resize";

const SIZE = 28;
/** Images at least and at most, bytes of a file, and pixels of a side. */
const [MIN_IMAGES, MAX_IMAGES, MAX_FILE, MAX_SIDE] = [64, 20_000, 20 << 20, 4096];

/** Reads image files, in the order of their names as Python; throws a sentence for people. */
export async function readImageFiles(files: File[]): Promise<Images> {
  if (files.length < MIN_IMAGES || files.length > MAX_IMAGES)
    throw new Error(`${files.length} images; choose from ${MIN_IMAGES} to ${MAX_IMAGES.toLocaleString("en")}`);
  const sorted = [...files].sort((a, b) => (a.name < b.name ? -1 : 1));
  const count = files.length - (files.length % 8); // a batch is a multiple of 8
  const bytes = new Uint8Array(count * SIZE * SIZE);
  for (let n = 0; n < count; n++) bytes.set(await readImage(sorted[n]), n * SIZE * SIZE);
  return { bytes, size: SIZE, source: null };
}

async function readImage(file: File) {
  if (file.size > MAX_FILE) throw new Error(`${file.name} has ${file.size} bytes; give at most ${MAX_FILE}`);
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" }).catch(() => {
    throw new Error(`${file.name} is damaged, or not an image that this browser reads; remove it`);
  });
  const { width, height } = bitmap;
  try {
    if (Math.max(width, height) > MAX_SIDE)
      throw new Error(`${file.name} has ${width} × ${height} pixels; give at most ${MAX_SIDE} on a side`);
    const context = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d")!;
    context.drawImage(bitmap, 0, 0);
    return cropAndResize(toGray(context.getImageData(0, 0, width, height).data), width, SIZE);
  } finally {
    bitmap.close();
  }
}
