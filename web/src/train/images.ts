/** Images of the page to train a GAN on. */
import { readBlock } from "../kit/bytes";
import type { Images } from "./gan_run";

/** Id of the data block with the first images of MNIST, bytes [count, 28, 28]. */
const BLOCK = "training-images";

/** Whether the page has them. */
export const hasImages = () => document.getElementById(BLOCK) !== null;

/** Returns the first `count` of them, all by default. */
export async function readImages(count?: number): Promise<Images> {
  const bytes = await readBlock(BLOCK);
  return { bytes: count === undefined ? bytes : bytes.slice(0, count * 28 * 28), size: 28 };
}
