/** Which curves a run has: its metrics and scores, in groups that share a chart. */
import { capital, formatNumber, percent } from "../kit/format";
import type { RecordedGan, RecordedLstm } from "../kit/manifest";
import { isGan, type Run } from "../kit/runs";
import type { Reference } from "./series";

type Columns = Record<string, (number | null)[]>;
type Source = "metrics" | "scores";

export interface Curves {
  id: string;
  title: string;
  yLabel: string;
  columns: Record<string, string>; // Names by key
  source: Source;
  note?: string;
  yDomain?: [number | null, number | null];
  percent?: boolean;
  references?: Reference[];
}

/** Columns that say when, not what. */
const AXES = new Set(["step", "epoch", "sequences", "validation_sequences"]);

const KNOWN: Curves[] = [
  {
    id: "gan-loss",
    title: "Loss of both networks",
    yLabel: "loss, mean over the last updates",
    source: "metrics",
    columns: { generator_loss: "generator G", discriminator_loss: "discriminator D" },
    note: "The losses show how the networks stand against each other, not how good the images are.",
  },
  {
    id: "probability",
    title: "Mean probability by D that an image is real",
    yLabel: "probability",
    source: "metrics",
    columns: { probability_real: "real images", probability_fake: "generated images" },
    yDomain: [0, 1],
    note: "Both would be ½ if D could not tell real and generated images apart.",
  },
  {
    id: "lstm-loss",
    title: "Loss",
    yLabel: "loss",
    source: "metrics",
    columns: { train_loss: "training", validation_loss: "validation" },
    note: "Training: mean over the epoch, with dropout on. Validation: after the epoch, without dropout, on sequences that the network does not learn from.",
  },
  {
    id: "lstm-accuracy",
    title: "Accuracy",
    yLabel: "fraction of correct answers",
    source: "metrics",
    columns: { train_accuracy: "training", validation_accuracy: "validation" },
    yDomain: [0, 1],
    percent: true,
    note: "Training with dropout on, validation without. So the training curve may lie below the validation curve.",
  },
  score("fid", "FID", "distance of the features", "Lower is better. The best value is that of real images, not 0."),
  score("kid", "KID", "distance of the features", "Lower is better; the best value is 0."),
  score("precision", "Precision", "fraction of the samples", "Do the samples look real? Higher is better."),
  score("recall", "Recall", "fraction of the test images", "Does G produce everything in the data? Higher is better."),
  score("density", "Density", "balls per sample", "A precision that is robust to outliers. Higher is better."),
  score(
    "coverage",
    "Coverage",
    "fraction of the test images",
    "A recall that is robust to outliers. Higher is better.",
  ),
  score("class_kl", "Class KL", "nats", "Does G produce all classes equally often? Lower is better."),
  score(
    "spacing",
    "Spacing",
    "distance of the features",
    "Median distance of a sample to its 5th neighbor. Low values mean repeated images.",
  ),
  {
    ...score("fid_ratio", "FID as a multiple of real images", "FID ratio", "1 is the FID of real images."),
    references: [{ name: "real images", value: 1 }],
  },
];

/** A score of samples. */
function score(key: string, title: string, yLabel: string, note: string): Curves {
  const percent = yLabel.startsWith("fraction");
  return { id: key, title, yLabel, note, percent, source: "scores", columns: { [key]: "samples" } };
}

export function curvesOf(content: Run, runs: Run[] = [content]): Curves[] {
  const known = KNOWN.flatMap((curves) => {
    const columns = Object.entries(curves.columns).filter(([key]) => hasValues(columnsOf(content, curves.source)[key]));
    return columns.length ? [{ ...curves, ...wordsFor(runs, curves.id), columns: Object.fromEntries(columns) }] : [];
  });
  const shown = new Set(known.flatMap(({ columns }) => Object.keys(columns)));

  const sources: Source[] = ["metrics", "scores"];
  const others = sources.flatMap((source) =>
    Object.entries(columnsOf(content, source))
      .filter(([key, values]) => !AXES.has(key) && !shown.has(key) && hasValues(values) && varies(values))
      .map(([key]) => other(key, source)),
  );
  return [...known, ...others];
}

function wordsFor(runs: Run[], id: string): Partial<Curves> {
  if (id === "lstm-loss") {
    const labels = runs.map((run) =>
      !isGan(run) && run.target === "number" ? "squared error" : "cross-entropy, nats",
    );
    return { yLabel: [...new Set(labels)].join(" or ") };
  }
  const isLogOdds = runs.every((run) => isGan(run) && run.isLogOdds);
  if (id === "gan-loss" && isLogOdds)
    return { note: `${KNOWN[0].note} If D says ½ of every image, both are ln 2 ≈ 0.69.` };
  if (id !== "probability" || isLogOdds) return {};
  return {
    title: "Mean sigmoid of D's output",
    yLabel: "sigmoid",
    note: "The loss gives D a number without a unit, so this is no probability.",
  };
}

/** Curves of a column that has no words of its own. */
function other(id: string, source: Source): Curves {
  const words = id.replaceAll("_", " ");
  const isTime = id === "seconds";
  const [title, yLabel] = isTime ? ["Seconds of training", "seconds, without evaluations"] : [capital(words), words];
  return { id, source, title, yLabel, columns: { [id]: isTime ? "training" : words } };
}

export const columnsOf = (content: Run, source: Source): Columns =>
  source === "metrics" ? content.metrics : isGan(content) ? content.scores : {};

const hasValues = (values: Columns[string] | undefined) => Boolean(values?.some((value) => value !== null));

const varies = (values: Columns[string]) => values.some((value) => value !== values[0]);

/** What a chart of some curves of one run shows. */
export function chartOf(content: Run, curves: Curves, x: "epoch" | "step") {
  const { title, yLabel, yDomain } = curves;
  const columns = columnsOf(content, curves.source);
  const series = Object.entries(curves.columns).flatMap(([key, name]) =>
    hasValues(columns[key]) ? [{ name, x: columns[x] ?? [], y: columns[key] }] : [],
  );
  return { title, yLabel, yDomain, series, references: referencesOf(content, curves), formatY: formatOf(curves) };
}

export const formatOf = (curves: Curves) =>
  curves.percent ? (value: number) => percent(value, "short") : formatNumber;

/** Returns the horizontal lines of some curves: what guessing gives, or for a score what real images have. */
export function referencesOf(content: Run, curves: Curves): Reference[] {
  if (curves.references) return curves.references;
  return isGan(content) ? baselines(content, curves) : guessing(content, curves.id);
}

/** Accuracy and cross-entropy of equal class probabilities. */
function guessing({ target, outputSize }: RecordedLstm, id: string): Reference[] {
  if (target === "number" || outputSize < 2) return [];
  if (id === "lstm-accuracy") return [{ name: "guessing", value: 1 / outputSize }];
  return id === "lstm-loss" ? [{ name: "guessing", value: Math.log(outputSize) }] : [];
}

function baselines(content: RecordedGan, { id, title, source }: Curves): Reference[] {
  if (source === "metrics") {
    if (!content.isLogOdds) return [];
    if (id === "probability") return [{ name: "D cannot tell", value: 0.5 }];
    return id === "gan-loss" ? [{ name: "D cannot tell", value: Math.LN2 }] : [];
  }
  const row = content.facts.scores.find(({ name }) => name.replace(/ \(.*/, "").toLowerCase() === title.toLowerCase());
  const value = parseFloat(row?.real?.replaceAll(",", "") ?? "");
  if (!Number.isFinite(value)) return [];
  return [{ name: "real images", value: row?.real?.includes("%") ? value / 100 : value }];
}
