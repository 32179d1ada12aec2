/** Images of the page to train a GAN on. */
import { readBlock } from "../kit/bytes";
import type { ClassifierSpec, TensorBlock } from "../kit/manifest";
import { readTensors } from "../kit/tensors";
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
  const { offset, shape } = data.tensors.images;
  const size = shape[2];
  const bytes = (await readBlock(data.block)).slice(offset, offset + count * size * size);
  const known = classifier && { classifier: { spec: classifier, tensors: await readTensors(classifier.weights) } };
  return { bytes, size, source, ...known };
}
