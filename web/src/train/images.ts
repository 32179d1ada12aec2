/** Images of the page to train a GAN on. */
import { readBlock } from "../kit/bytes";
import type { ClassifierSpec, TrainingImages } from "../kit/manifest";
import { readTensors } from "../kit/tensors";
import type { Images } from "./gan_run";

/** Returns the first `count` of the images, all by default. */
export async function readImages(
  { data, source, classifier }: TrainingImages,
  count = data.tensors.images.shape[0],
): Promise<Images> {
  const { offset, shape } = data.tensors.images;
  const size = shape[2];
  const bytes = (await readBlock(data.block)).slice(offset, offset + count * size * size);
  return { bytes, size, source, ...(await readClassifier(classifier)) };
}

/** Returns the classifier of images, if there is one. */
export const readClassifier = async (spec: ClassifierSpec | null): Promise<Pick<Images, "classifier">> =>
  spec ? { classifier: { spec, tensors: await readTensors(spec.weights) } } : {};
