/** Images of the page to train a GAN on. */
import { readBlock } from "../kit/bytes";
import type { TrainingImages } from "../kit/manifest";
import type { Images } from "./gan_run";

/** Returns the first `count` of the images, all by default. */
export async function readImages(
  { data, source }: TrainingImages,
  count = data.tensors.images.shape[0],
): Promise<Images> {
  const { offset, shape } = data.tensors.images;
  const size = shape[2];
  return { bytes: (await readBlock(data.block)).slice(offset, offset + count * size * size), size, source };
}
