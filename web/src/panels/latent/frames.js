/**
 * Images of latents with what D and the classifier make of them.
 */

/** @typedef {import("../../models/gan.js").Gan} Gan */
/** @typedef {import("../../types.js").GanContent} GanContent */

/**
 * @typedef {object} Frame
 * @property {Float32Array} latent z [Z]
 * @property {Float32Array} pixels [P]
 * @property {number | null} logit of D; null without D
 * @property {Float32Array | null} probabilities of the classes [K]; null without a classifier
 */

/**
 * Generates and examines the images of latents.
 * @param {Gan} gan
 * @param {Float32Array} latents [N, Z]
 * @param {{withDiscriminator?: boolean}} [options]
 * @returns {Frame[]}
 */
export function makeFrames(gan, latents, { withDiscriminator = true } = {}) {
  const { latentSize } = gan.content;
  const images = gan.generate(latents);
  const logits = withDiscriminator ? discriminate(gan, images, latents) : null;
  const probabilities = gan.classify(images);
  const count = latents.length / latentSize;
  const numClasses = probabilities ? probabilities.length / count : 0;
  return Array.from({ length: count }, (_, n) => ({
    latent: latents.subarray(n * latentSize, (n + 1) * latentSize),
    pixels: images.subarray(n * gan.pixels, (n + 1) * gan.pixels),
    logit: logits && logits[n],
    probabilities: probabilities && probabilities.slice(n * numClasses, (n + 1) * numClasses),
  }));
}

/**
 * Returns D's output for each image. A D of m packed images gets each image with m - 1 samples of the grid, which are as
 * independent as in training; copies or neighbors would look like mode collapse to it.
 * @param {Gan} gan
 * @param {Float32Array} images [N, P]
 * @param {Float32Array} latents [N, Z], whose classes D is told
 */
function discriminate(gan, images, latents) {
  const { packing, latentSize } = gan.content;
  const classes = gan.classesOf(latents);
  if (!gan.discriminator || packing === 1) return gan.discriminate(images, classes);
  const others = gan.latents.grid.slice(0, (packing - 1) * latentSize);
  const otherImages = gan.generate(others);
  const otherClasses = gan.classesOf(others) ?? [];
  return Float32Array.from({ length: images.length / gan.pixels }, (_, n) => {
    const pack = new Float32Array(packing * gan.pixels);
    pack.set(images.subarray(n * gan.pixels, (n + 1) * gan.pixels));
    pack.set(otherImages, gan.pixels);
    return /** @type {Float32Array} */ (gan.discriminate(pack, classes && [classes[n], ...otherClasses]))[0];
  });
}

/**
 * Length of the noise part of a latent.
 * @param {GanContent} content
 * @param {Float32Array} latent [Z]
 */
export const noiseNorm = ({ noiseSize }, latent) => Math.hypot(...latent.subarray(0, noiseSize));

/**
 * Returns what a reader must know about D's numbers in this run, as sentences.
 * @param {GanContent} content
 */
export function discriminatorNotes(content) {
  if (!content.discriminator) return ["This file has no discriminator."];
  const notes = [];
  if (content.packing > 1)
    notes.push(
      `This D sees ${content.packing} images at once. It gets each image with ${content.packing - 1} of the sample grid.`,
    );
  if (!content.isLogOdds) notes.push("The loss of this run gives D a number without a unit, not a probability.");
  if (content.numClasses) notes.push("D is told the class with the larger part in z.");
  if (!content.logits.real.length) notes.push("This file has no log-odds of real images.");
  return notes;
}
