/**
 * A GAN run in the page: its networks, ready to use.
 *
 * Images are Float32Array of N·P numbers in [-1, 1], channel by channel and row by row; P = C·H·W.
 */
import { Classifier } from "../compute/classifier";
import { Mlp } from "../compute/mlp";
import { Projection, type ProjectionOptions } from "../compute/projection";
import { argmax } from "../kit/format";
import type { GanContent } from "../kit/manifest";
import { once } from "../kit/runs";
import { readTensors, row, size } from "../kit/tensors";

export class Gan {
  readonly pixels: number;

  constructor(
    readonly content: GanContent,
    readonly generator: Mlp,
    readonly discriminator: Mlp | null,
    readonly classifier: Classifier | null,
    readonly latents: Record<string, Float32Array>,
  ) {
    this.pixels = size(content.imageShape);
  }

  /** Returns the images [N, P] in [-1, 1] of latents [N, Z]. */
  generate = (latents: Float32Array) => this.generator.forward(latents);

  /**
   * Returns the log-odds [N] that images [N, P] are real. `classes` [N] are those of a conditional run. Only some lessons have
   * no discriminator, and no panel that asks it.
   */
  discriminate(images: Float32Array, classes: number[] | null = null): Float32Array {
    const { numClasses } = this.content;
    const count = images.length / this.pixels;
    const width = this.pixels + numClasses;
    const inputs = new Float32Array(count * width);
    for (let n = 0; n < count; n++) {
      inputs.set(row(images, n, this.pixels), n * width);
      if (classes) inputs[n * width + this.pixels + classes[n]] = 1;
    }
    return this.discriminator!.forward(inputs);
  }

  /** Returns the class probabilities [N, K] of images [N, P]; null without a classifier. */
  classify = (images: Float32Array) => this.classifier && this.classifier.probabilities(images);

  /** Returns the classes [N] in the latents [N, Z] of a conditional generator; null of another. */
  classesOf(latents: Float32Array): number[] | null {
    const { latentSize, noiseSize, numClasses } = this.content;
    if (!numClasses) return null;
    const count = latents.length / latentSize;
    return Array.from({ length: count }, (_, n) => argmax(row(latents, n, latentSize).subarray(noiseSize)));
  }

  /** Begins to project an image [P] in [-1, 1] into latent space; `advance()` works on for about 12 ms. */
  project = (image: Float32Array, options: ProjectionOptions = {}) =>
    new Projection(this.generator, image, this.content.numClasses, options);
}

export const loadGan = once(async (content: GanContent) => {
  const [generator, discriminator, classifier, latents] = await Promise.all([
    Mlp.load(content.generator),
    content.discriminator && Mlp.load(content.discriminator),
    content.classifier && Classifier.load(content.classifier),
    readTensors(content.latents),
  ]);
  return new Gan(content, generator, discriminator, classifier, latents);
});
