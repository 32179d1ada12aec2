/**
 * A GAN run in the page: its networks, ready to use.
 *
 * Images are Float32Array of N·P numbers in [-1, 1], channel by channel and row by row; P = C·H·W.
 */
import { Classifier } from "../compute/classifier.js";
import { Mlp } from "../compute/mlp.js";
import { Projection, sampleLatents } from "../compute/projection.js";
import { Random } from "../compute/random.js";
import { readTensors, size } from "../data/tensors.js";

/** @typedef {import("../types.js").GanContent} GanContent */
/** @typedef {import("../compute/kernel.js").Kernel} Kernel */

export class Gan {
  /**
   * @param {GanContent} content
   * @param {Mlp} generator
   * @param {Mlp | null} discriminator
   * @param {Classifier | null} classifier
   * @param {Record<string, Float32Array>} latents
   */
  constructor(content, generator, discriminator, classifier, latents) {
    this.content = content;
    this.generator = generator;
    this.discriminator = discriminator;
    this.classifier = classifier;
    this.latents = latents;
    this.pixels = size(content.imageShape);
  }

  /**
   * Loads the networks of a run.
   * @param {GanContent} content
   * @param {Kernel} kernel
   */
  static async load(content, kernel) {
    const [generator, discriminator, classifier, latents] = await Promise.all([
      Mlp.load(content.generator, kernel),
      content.discriminator && Mlp.load(content.discriminator, kernel),
      content.classifier && Classifier.load(content.classifier, kernel),
      readTensors(content.latents),
    ]);
    return new Gan(content, generator, discriminator, classifier, latents);
  }

  /**
   * Returns the images of latents.
   * @param {Float32Array} latents [N, Z]
   * @returns {Float32Array} [N, P] in [-1, 1]
   */
  generate(latents) {
    return this.generator.forward(latents, latents.length / this.content.latentSize);
  }

  /**
   * Returns the log-odds that images are real.
   * @param {Float32Array} images [N, P]
   * @param {number[] | null} [classes] of a conditional run [N]
   * @returns {Float32Array | null} [N]; null without a discriminator
   */
  discriminate(images, classes = null) {
    if (!this.discriminator) return null;
    const { numClasses } = this.content;
    const count = images.length / this.pixels;
    const width = this.pixels + numClasses;
    const inputs = new Float32Array(count * width);
    for (let n = 0; n < count; n++) {
      inputs.set(images.subarray(n * this.pixels, (n + 1) * this.pixels), n * width);
      if (classes) inputs[n * width + this.pixels + classes[n]] = 1;
    }
    return this.discriminator.forward(inputs, count);
  }

  /**
   * Returns the class probabilities of images.
   * @param {Float32Array} images [N, P]
   * @returns {Float32Array | null} [N, K]; null without a classifier
   */
  classify(images) {
    return this.classifier && this.classifier.probabilities(images);
  }

  /**
   * Samples latents; the classes of a conditional generator come in turn.
   * @param {number} count N
   * @param {number} seed integer from 0 to 2³² - 1
   * @param {number | null} [classIndex] class of all samples of a conditional generator
   * @returns {Float32Array} [N, Z]
   */
  sampleLatents(count, seed, classIndex = null) {
    const { latentSize, numClasses } = this.content;
    return sampleLatents(latentSize, numClasses, count, new Random(seed), classIndex);
  }

  /**
   * Returns the classes in the latents of a conditional generator.
   * @param {Float32Array} latents [N, Z]
   * @returns {number[] | null} [N]; null unless conditional
   */
  classesOf(latents) {
    const { latentSize, noiseSize, numClasses } = this.content;
    if (!numClasses) return null;
    return Array.from({ length: latents.length / latentSize }, (_, n) => {
      const labels = latents.subarray(n * latentSize + noiseSize, (n + 1) * latentSize);
      return labels.indexOf(Math.max(...labels));
    });
  }

  /**
   * Begins to project an image into latent space. The caller lets it work, slice by slice:
   *
   *     const projection = gan.project(image);
   *     const frame = () => {
   *       const done = projection.advance();       // about 12 ms
   *       show(projection.errors, projection.images, projection.best, projection.progress);
   *       if (!done) requestAnimationFrame(frame);
   *     };
   *
   * @param {Float32Array} image [P] in [-1, 1]
   * @param {import("../compute/projection.js").ProjectionOptions} [options]
   */
  project(image, options = {}) {
    return new Projection(this.generator, image, this.content.numClasses, options);
  }
}
