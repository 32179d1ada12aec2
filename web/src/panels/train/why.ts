/** What a curve shows, in a sentence that follows its values: why it begins where it does, stays, parts from another, or falls. */
import { median } from "d3-array";
import { percent } from "../../kit/format";
import { stateOf } from "../../lstm/quantities";
import type { LstmSettings } from "../../train/protocol";
import type { Seen } from "./branch";

const LATEST = 5; // Epochs or points that count as now
const GAP = 0.05; // Least difference between training and validation, and least fall, that is explained
const NEAR = 0.2; // Distance to ln 2 at which a loss is near it, nats

/** @param id of charts/curves.ts */
export function whyOf(id: string, { status, epochs, points }: Seen, classCount: number): string {
  if (id === "gan-loss") return whyGan(points);
  if (!epochs.length)
    return id === "lstm-loss"
      ? `Guessing among ${classCount} classes costs −ln(1/${classCount}) = ${Math.log(classCount).toFixed(2)} nats.`
      : "";
  if (id === "lstm-loss") return "";
  const values = epochs.map(({ validationAccuracy }) => validationAccuracy);
  const [before, last] = [values.at(-2) ?? 0, values.at(-1)!];
  if (before - last >= GAP)
    return `Validation fell from ${percent(before)} to ${percent(last)}: a dip. Two digits lie close together, and one update moved the border between them. The next updates repair it.`;
  const { hiddenDropout: p, cell } = status.settings as LstmSettings;
  const gap = median(epochs.slice(-LATEST), (one) => one.validationAccuracy - one.trainAccuracy)!;
  if (p && gap >= GAP)
    return `Training lies below validation because of dropout: in training each step zeroes ${percent(p)} of h, in validation nothing. ${stateOf(cell) === "h" ? "This cell has no other memory." : `The memory ${stateOf(cell)} is spared.`}`;
  return "";
}

function whyGan(points: Seen["points"]): string {
  if (!points.length) return "If D cannot tell and says ½ of every image, both losses are −ln ½ = ln 2 ≈ 0.69.";
  const [G, D] = ["generatorLoss", "discriminatorLoss"].map((key) =>
    median(points.slice(-4 * LATEST), ({ values }) => values[key])!,
  );
  const images = "It says who leads, not how good the images are.";
  if (Math.abs(G - Math.LN2) < NEAR && Math.abs(D - Math.LN2) < NEAR)
    return `Both are near ln 2 ≈ 0.69, the loss if D says ½ to every image: D can hardly tell them apart. ${images}`;
  return G > D
    ? `G’s loss above D’s: D sees through most images of G. ${images}`
    : `D’s loss above G’s: G’s images pass for real. ${images}`;
}
