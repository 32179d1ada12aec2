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
  const logits = withDiscriminator ? gan.discriminate(images, gan.classesOf(latents)) : null;
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
  if (!content.isLogOdds) notes.push("The loss of this run gives D a number without a unit, not a probability.");
  if (content.numClasses) notes.push("D is told the class with the larger part in z.");
  if (!content.logits.real.length) notes.push("This file has no log-odds of real images.");
  return notes;
}
