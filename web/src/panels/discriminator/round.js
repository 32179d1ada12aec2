/**
 * A round of the game: images in random order, real or generated, with the logits of D.
 */
import { Random } from "../../compute/random.js";
import { readTensors, toPixels } from "../../data/tensors.js";
import { Snapshots } from "../../models/snapshots.js";

/** @typedef {import("../../explorer.js").Explorer} Explorer */
/** @typedef {import("../../types.js").GanContent} GanContent */

/**
 * An image of the game.
 * @typedef {object} Card
 * @property {Float32Array} pixels [P] in [-1, 1]
 * @property {boolean} real
 * @property {number} logit of D
 * @property {boolean} answer of D; true: real
 */

/** @typedef {Omit<Card, "answer">} Judged */

/**
 * Where the images come from.
 * @typedef {object} Source
 * @property {string} id in the URL fragment
 * @property {string} name
 * @property {(random: Random) => Promise<{real: Judged[], fake: Judged[]}>} load
 */

export const ROUND_SIZE = 20;
/** The early moment: as a fraction of the updates, but not while the images are noise, nor late in a short run. */
const [EARLY, NOISE, QUARTER] = [0.02, 150, 0.25];

/**
 * Shuffles in place.
 * @template T
 * @param {T[]} list
 * @param {Random} random
 */
function shuffle(list, random) {
  for (let index = list.length - 1; index > 0; index--) {
    const other = random.integer(index + 1);
    [list[index], list[other]] = [list[other], list[index]];
  }
  return list;
}

/**
 * Returns where a run's images can come from: three moments of its training, and new samples of its networks.
 * @param {GanContent} content
 * @param {Explorer} explorer
 * @returns {Source[]}
 */
export function sourcesOf(content, explorer) {
  const moments = content.snapshots?.data.tensors.real ? content.snapshots.moments : [];
  /** @type {Source[]} */
  const sources = [];
  /** @type {Set<number>} */
  const chosen = new Set();
  const last = moments[moments.length - 1]?.step ?? 0;
  const early = Math.min(Math.max(EARLY * last, NOISE), QUARTER * last);
  for (const [id, step] of Object.entries({ early, middle: Math.sqrt(early * last), late: last })) {
    const moment = moments.findIndex((candidate) => candidate.step >= step);
    const known = moment < 0 || chosen.has(moment);
    if (known) continue;
    chosen.add(moment);
    sources.push({ id, name: `${id}: ${moments[moment].label}`, load: () => fromMoment(content, moment) });
  }
  const labeled = content.numClasses === 0 || realBlock(content)?.tensors.labels;
  if (content.discriminator && realBlock(content) && labeled)
    sources.push({
      id: "end",
      name: "end of training: new samples",
      load: (random) => fromNetworks(content, explorer, random),
    });
  return sources;
}

/** @param {GanContent} content */
const realBlock = (content) => content.test ?? content.training;

/**
 * Pictures and logits of a moment of the training.
 * @param {GanContent} content
 * @param {number} moment
 */
async function fromMoment(content, moment) {
  const snapshots = await Snapshots.load(content);
  const { realLogits, fakeLogits } = snapshots.moments[moment];
  return {
    real: realLogits.map((logit, n) => ({ pixels: snapshots.real(n), real: true, logit })),
    fake: fakeLogits.map((logit, n) => ({ pixels: snapshots.image(moment, n), real: false, logit })),
  };
}

/**
 * Real images that are in the file, and new samples.
 * @param {GanContent} content
 * @param {Explorer} explorer
 * @param {Random} random
 */
async function fromNetworks(content, explorer, random) {
  const gan = await explorer.gan(content.id);
  const { images, labels } = await readTensors(
    /** @type {import("../../types.js").TensorBlock} */ (realBlock(content)),
  );
  const { pixels } = gan;
  const chosen = shuffle(
    Array.from({ length: images.length / pixels }, (_, n) => n),
    random,
  ).slice(0, ROUND_SIZE);
  const real = new Float32Array(chosen.length * pixels);
  chosen.forEach((n, k) => real.set(toPixels(images.subarray(n * pixels, (n + 1) * pixels)), k * pixels));

  const { latentSize, noiseSize, numClasses } = content;
  const latents = new Float32Array(ROUND_SIZE * latentSize);
  const classes = Array.from({ length: ROUND_SIZE }, () => random.integer(numClasses));
  for (let n = 0; n < ROUND_SIZE; n++) {
    for (let k = 0; k < noiseSize; k++) latents[n * latentSize + k] = random.normal();
    if (numClasses) latents[n * latentSize + noiseSize + classes[n]] = 1;
  }
  // Rounded to bytes like the real ones, so that the rendering gives nothing away.
  const fake = gan.generate(latents).map((value) => Math.round((value + 1) * 127.5) / 127.5 - 1);
  const realLogits = gan.discriminate(real, numClasses ? chosen.map((n) => labels[n]) : null);
  const fakeLogits = gan.discriminate(fake, numClasses ? classes : null);
  /** @param {Float32Array} all @param {Float32Array | null} logits @param {boolean} isReal @returns {Judged[]} */
  const cards = (all, logits, isReal) =>
    Array.from(logits ?? [], (logit, n) => ({
      pixels: all.subarray(n * pixels, (n + 1) * pixels),
      real: isReal,
      logit,
    }));
  return { real: cards(real, realLogits, true), fake: cards(fake, fakeLogits, false) };
}

/**
 * Logit above which D answers "real": 0, or, for a loss that gives no probability, the middle between its mean outputs
 * for real and generated images.
 * @param {boolean} isProbability
 * @param {Judged[]} real
 * @param {Judged[]} fake
 */
function threshold(isProbability, real, fake) {
  if (isProbability) return 0;
  /** @param {Judged[]} cards */
  const mean = (cards) => cards.reduce((sum, { logit }) => sum + logit, 0) / cards.length;
  return (mean(real) + mean(fake)) / 2;
}

/**
 * Deals a round. Each image is real with probability ½, whatever the others are.
 * @param {Source} source
 * @param {number} seed
 * @param {boolean} isProbability whether D's output gives a probability
 * @returns {Promise<Card[]>}
 */
export async function deal(source, seed, isProbability) {
  const random = new Random(seed);
  const { real, fake } = await source.load(random);
  const limit = threshold(isProbability, real, fake);
  shuffle(real, random);
  shuffle(fake, random);
  const round = [];
  while (round.length < ROUND_SIZE) {
    const card = (random.uniform() < 0.5 ? real : fake).pop();
    if (!card) break;
    round.push({ ...card, answer: card.logit > limit });
  }
  return round;
}
