/** Which curves a run has: its metrics and scores, in groups that share a chart. */
import { capital, formatNumber, percent } from "../kit/format";
import { isGan, type Run } from "../kit/runs";
import type { Spacing } from "./scale";
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
  /** Horizontal lines: what guessing gives, or for a score what real images have. */
  references?: (run: Run) => Reference[];
}

/** Columns that say when, not what. */
const WHEN = new Set(["step", "epoch", "sequences", "validation_sequences", "seconds"]);

/** Curves that have words of their own, for some runs. */
export function wordsOf(runs: Run[]): Curves[] {
  const isLogOdds = runs.every((run) => isGan(run) && run.isLogOdds);
  const losses = runs.map((run) => (!isGan(run) && run.target === "number" ? "squared error" : "cross-entropy, nats"));
  const ratio = score("fid_ratio", "FID as a multiple of real images", "FID ratio", "1 is the FID of real images.");
  return [
    {
      ...metrics("gan-loss", "Loss of both networks", "loss, mean over the last updates"),
      columns: { generator_loss: "generator G", discriminator_loss: "discriminator D" },
      note:
        "The losses show how the networks stand against each other, not how good the images are." +
        (isLogOdds ? " If D says ½ of every image, both are ln 2 ≈ 0.69." : ""),
      references: cannotTell(Math.LN2),
    },
    {
      ...(isLogOdds
        ? metrics("probability", "Mean probability by D that an image is real", "probability")
        : metrics("probability", "Mean sigmoid of D's output", "sigmoid")),
      columns: { probability_real: "real images", probability_fake: "generated images" },
      yDomain: [0, 1],
      note: isLogOdds
        ? "Both would be ½ if D could not tell real and generated images apart."
        : "The loss gives D a number without a unit, so this is no probability.",
      references: cannotTell(0.5),
    },
    {
      ...metrics("lstm-loss", "Loss", [...new Set(losses)].join(" or ")),
      columns: { train_loss: "training", validation_loss: "validation" },
      note: "Training: mean over the epoch, with dropout on. Validation: after the epoch, without dropout, on sequences that the network does not learn from.",
      references: guessing(Math.log),
    },
    {
      ...metrics("lstm-accuracy", "Accuracy", "fraction of correct answers"),
      columns: { train_accuracy: "training", validation_accuracy: "validation" },
      yDomain: [0, 1],
      note: "Training with dropout on, validation without. So the training curve may lie below the validation curve.",
      references: guessing((numClasses) => 1 / numClasses),
    },
    score("fid", "FID", "distance of the features", "Lower is better. The best value is that of real images, not 0."),
    score("kid", "KID", "distance of the features", "Lower is better; the best value is 0."),
    score("precision", "Precision", "fraction of the samples", "Do the samples look real? Higher is better."),
    score(
      "recall",
      "Recall",
      "fraction of the test images",
      "Does G produce everything in the data? Higher is better.",
    ),
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
    { ...ratio, references: () => [{ name: "real images", value: 1 }] },
  ];
}

const metrics = (id: string, title: string, yLabel: string) =>
  ({ id, title, yLabel, source: "metrics", percent: yLabel.startsWith("fraction") }) as const;

const score = (key: string, title: string, yLabel: string, note: string): Curves => ({
  ...metrics(key, title, yLabel),
  ...{ source: "scores", columns: { [key]: "samples" }, note, references: realImages(title) },
});

const cannotTell = (value: number) => (run: Run) =>
  isGan(run) && run.isLogOdds ? [{ name: "D cannot tell", value }] : [];

/** What equal class probabilities give. */
const guessing = (value: (numClasses: number) => number) => (run: Run) =>
  isGan(run) || run.target === "number" || run.outputSize < 2
    ? []
    : [{ name: "guessing", value: value(run.outputSize) }];

/** The score of real images, which the facts have as text. */
const realImages = (title: string) => (run: Run) => {
  const row = run.facts.scores.find(({ name }) => name.replace(/ \(.*/, "").toLowerCase() === title.toLowerCase());
  const value = parseFloat(row?.real?.replaceAll(",", "") ?? "");
  return Number.isNaN(value) ? [] : [{ name: "real images", value: row?.real?.includes("%") ? value / 100 : value }];
};

export function curvesOf(content: Run, runs: Run[] = [content]): Curves[] {
  const all = wordsOf(runs).flatMap((curves) => {
    const columns = Object.entries(curves.columns).filter(([key]) => hasValues(columnsOf(content, curves.source)[key]));
    return columns.length ? [{ ...curves, columns: Object.fromEntries(columns) }] : [];
  });
  const shown = new Set(all.flatMap(({ columns }) => Object.keys(columns)));
  const sources: Source[] = ["metrics", "scores"];
  const others = sources.flatMap((source) =>
    Object.entries(columnsOf(content, source))
      .filter(([key, values]) => !WHEN.has(key) && !shown.has(key) && hasValues(values) && varies(values))
      .map(([key]) => other(key, source)),
  );
  return [...all, ...others];
}

/** Curves of a column that has no words of its own. */
function other(id: string, source: Source): Curves {
  const words = id.replaceAll("_", " ");
  const title = capital(words);
  const references = source === "scores" ? realImages(title) : undefined;
  return { id, source, title, yLabel: words, columns: { [id]: words }, references };
}

const columnsOf = (content: Run, source: Source): Columns =>
  source === "metrics" ? content.metrics : isGan(content) ? content.scores : {};

const hasValues = (values: Columns[string] | undefined) => Boolean(values?.some((value) => value !== null));

const varies = (values: Columns[string]) => values.some((value) => value !== values[0]);

export const AXES = [
  ["epoch", "epochs"],
  ["epoch-log", "epochs, logarithmic"],
  ["step", "updates"],
  ["step-log", "updates, logarithmic"],
] as const;

/** Column of the records that an axis shows, such as "epoch-log". */
export const columnOf = (axis: string) => (axis.startsWith("epoch") ? "epoch" : "step");

export function chartOf(content: Run, curves: Curves, axis: string) {
  const { title, yLabel, yDomain } = curves;
  const columns = columnsOf(content, curves.source);
  const x = columnOf(axis);
  const xLabel = x === "epoch" ? "epoch" : "update";
  const xSpacing: Spacing = axis.endsWith("-log") ? "log" : "linear";
  const series = Object.entries(curves.columns).flatMap(([key, name]) =>
    hasValues(columns[key]) ? [{ name, x: columns[x] ?? [], y: columns[key] }] : [],
  );
  const references = curves.references?.(content);
  const formatY = curves.percent ? (value: number) => percent(value, "short") : formatNumber;
  return { title, xLabel, yLabel, xSpacing, yDomain, series, references, formatY };
}
