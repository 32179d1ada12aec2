/** A round of the game: images in random order, real or generated, with the logits of D. */
import { mean } from "d3-array";
import { sampleLatents } from "../../compute/projection";
import { makeRng, type Rng } from "../../compute/random";
import { loadGan } from "../../gan/gan";
import type { GanContent } from "../../kit/manifest";
import { readTensors, row, toPixels } from "../../kit/tensors";

interface Judged {
  pixels: Float32Array; // [P] in [-1, 1]
  real: boolean;
  logit: number; // Of D
}

export interface Card extends Judged {
  answer: boolean; // Of D; true: real
}

const ROUND_SIZE = 20;
/** Whether the page has the discriminator of a run, and real images with what it asks for. */
export function canJudge(content: GanContent): boolean {
  if (!content.discriminator) return false;
  const block = content.test ?? content.training;
  return Boolean(block && (!content.numClasses || block.tensors.labels));
}

async function fromNetworks(content: GanContent, rng: Rng) {
  const gan = await loadGan(content);
  const { images, labels } = await readTensors((content.test ?? content.training)!);
  const { latentSize, numClasses } = content;
  const { pixels } = gan;
  const chosen = [...rng.permutation(images.length / pixels)].slice(0, ROUND_SIZE);
  const real = toPixels(Float32Array.from(chosen.flatMap((n) => [...row(images, n, pixels)])));
  const classes = Array.from({ length: ROUND_SIZE }, () => rng.integer(numClasses));
  const latents = sampleLatents(latentSize, numClasses, ROUND_SIZE, rng, classes);
  // Rounded to bytes like the real ones, so that the rendering gives nothing away.
  const fake = gan.generate(latents).map((value) => Math.round((value + 1) * 127.5) / 127.5 - 1);
  const judge = (all: Float32Array, isReal: boolean, given: number[]): Judged[] =>
    Array.from(gan.discriminate(all, numClasses ? given : null), (logit, n) => ({
      pixels: row(all, n, pixels),
      real: isReal,
      logit,
    }));
  return {
    real: judge(
      real,
      true,
      chosen.map((n) => labels?.[n]),
    ),
    fake: judge(fake, false, classes),
  };
}

/**
 * Deals a round of real images and new samples. Each image is real with probability ½, whatever the others are. D answers "real" above 0, or,
 * if its loss gives no probability, above the middle between its mean outputs for real and for generated images.
 */
export async function deal(content: GanContent, seed: number): Promise<Card[]> {
  const rng = makeRng(seed, "game");
  const { real, fake } = await fromNetworks(content, rng);
  const limit = content.isLogOdds ? 0 : mean([real, fake], (cards) => mean(cards, ({ logit }) => logit))!;
  const decks = [real, fake].map((cards) => Array.from(rng.permutation(cards.length), (n) => cards[n]));
  const round: Card[] = [];
  while (round.length < ROUND_SIZE) {
    const card = decks[rng.integer(2)].pop();
    if (!card) break;
    round.push({ ...card, answer: card.logit > limit });
  }
  return round;
}
