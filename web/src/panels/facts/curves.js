/**
 * Which curves a run has: its metrics and scores, in groups that share a chart.
 */

/** @typedef {import("../../types.js").Columns} Columns */
/** @typedef {import("../../types.js").GanContent} GanContent */
/** @typedef {import("../../types.js").LstmContent} LstmContent */
/** @typedef {import("../../ui/chart.js").Series} Series */
/** @typedef {import("../../ui/chart.js").Reference} Reference */

/**
 * Curves in one chart.
 * @typedef {object} Curves
 * @property {string} id
 * @property {string} title
 * @property {string} yLabel
 * @property {{key: string, name: string}[]} columns
 * @property {"metrics" | "scores"} source
 * @property {string} [note]
 * @property {[number | null, number | null]} [yDomain]
 * @property {boolean} [percent]
 * @property {Reference[]} [references]
 */

/** Columns that say when, not what. */
const AXES = new Set(["step", "epoch", "sequences", "validation_sequences"]);

/** @type {Curves[]} */
const KNOWN = [
  {
    id: "gan-loss",
    title: "Loss of both networks",
    yLabel: "loss, mean over the last updates",
    source: "metrics",
    columns: [
      { key: "generator_loss", name: "generator G" },
      { key: "discriminator_loss", name: "discriminator D" },
    ],
    note: "The losses show how the networks stand against each other, not how good the images are.",
  },
  {
    id: "probability",
    title: "Mean probability by D that an image is real",
    yLabel: "probability",
    source: "metrics",
    columns: [
      { key: "probability_real", name: "real images" },
      { key: "probability_fake", name: "generated images" },
    ],
    yDomain: [0, 1],
    note: "Both would be ½ if D could not tell real and generated images apart.",
  },
  {
    id: "lstm-loss",
    title: "Loss",
    yLabel: "loss",
    source: "metrics",
    columns: [
      { key: "train_loss", name: "training" },
      { key: "validation_loss", name: "validation" },
    ],
    note: "Training: mean over the epoch, with dropout on. Validation: after the epoch, without dropout, on sequences that the network does not learn from.",
  },
  {
    id: "lstm-accuracy",
    title: "Accuracy",
    yLabel: "fraction of correct answers",
    source: "metrics",
    columns: [
      { key: "train_accuracy", name: "training" },
      { key: "validation_accuracy", name: "validation" },
    ],
    yDomain: [0, 1],
    percent: true,
    note: "Training with dropout on, validation without. So the training curve may lie below the validation curve.",
  },
  score("fid", "FID", "distance of the features", "Lower is better. The best value is that of real images, not 0."),
  score("kid", "KID", "distance of the features", "Lower is better; the best value is 0."),
  score("precision", "Precision", "fraction of the samples", "Do the samples look real? Higher is better.", true),
  score(
    "recall",
    "Recall",
    "fraction of the test images",
    "Does G produce everything in the data? Higher is better.",
    true,
  ),
  score("density", "Density", "balls per sample", "A precision that is robust to outliers. Higher is better."),
  score(
    "coverage",
    "Coverage",
    "fraction of the test images",
    "A recall that is robust to outliers. Higher is better.",
    true,
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

/**
 * A score of samples.
 * @param {string} key
 * @param {string} title
 * @param {string} yLabel
 * @param {string} note
 * @param {boolean} [percent]
 * @returns {Curves}
 */
function score(key, title, yLabel, note, percent = false) {
  return { id: key, title, yLabel, note, percent, source: "scores", columns: [{ key, name: "samples" }] };
}

/**
 * Returns the curves that a run has.
 * @param {GanContent | LstmContent} content
 * @param {(GanContent | LstmContent)[]} [runs] of the same kind, for all of which the words must be true
 * @returns {Curves[]}
 */
export function curvesOf(content, runs = [content]) {
  const known = KNOWN.flatMap((curves) => {
    const columns = curves.columns.filter(({ key }) => hasValues(columnsOf(content, curves.source)[key]));
    return columns.length ? [{ ...curves, ...wordsFor(runs, curves.id), columns }] : [];
  });
  const shown = new Set(known.flatMap(({ columns }) => columns.map(({ key }) => key)));
  /** @type {("metrics" | "scores")[]} */
  const sources = ["metrics", "scores"];
  const others = sources.flatMap((source) =>
    Object.entries(columnsOf(content, source))
      .filter(([key, values]) => !AXES.has(key) && !shown.has(key) && hasValues(values) && varies(values))
      .map(([key]) => other(key, source)),
  );
  return [...known, ...others];
}

/**
 * Words that depend on the runs.
 * @param {(GanContent | LstmContent)[]} runs
 * @param {string} id of curves
 * @returns {Partial<Curves>}
 */
function wordsFor(runs, id) {
  if (id === "lstm-loss") {
    const labels = runs.map((run) =>
      "hiddenSize" in run && run.target === "number" ? "squared error" : "cross-entropy, nats",
    );
    return { yLabel: [...new Set(labels)].join(" or ") };
  }
  const isLogOdds = runs.every((run) => "isLogOdds" in run && run.isLogOdds);
  if (id === "gan-loss" && isLogOdds)
    return { note: `${KNOWN[0].note} If D says ½ of every image, both are ln 2 ≈ 0.69.` };
  if (id !== "probability" || isLogOdds) return {};
  return {
    title: "Mean sigmoid of D's output",
    yLabel: "sigmoid",
    note: "The loss gives D a number without a unit, so this is no probability.",
  };
}

/**
 * Curves of a column that has no words of its own.
 * @param {string} key
 * @param {"metrics" | "scores"} source
 * @returns {Curves}
 */
function other(key, source) {
  const name = key.replaceAll("_", " ");
  if (key === "seconds")
    return {
      id: key,
      title: "Seconds of training",
      yLabel: "seconds, without evaluations",
      source,
      columns: [{ key, name: "training" }],
    };
  return { id: key, title: name[0].toUpperCase() + name.slice(1), yLabel: name, source, columns: [{ key, name }] };
}

/**
 * @param {GanContent | LstmContent} content
 * @param {"metrics" | "scores"} source
 * @returns {Columns}
 */
export const columnsOf = (content, source) =>
  source === "metrics" ? content.metrics : "scores" in content ? content.scores : {};

/** @param {(number | null)[] | undefined} values */
const hasValues = (values) => Boolean(values?.some((value) => value !== null));

/** @param {(number | null)[]} values */
const varies = (values) => values.some((value) => value !== values[0]);

/**
 * Returns the lines of some curves of one run.
 * @param {GanContent | LstmContent} content
 * @param {Curves} curves
 * @param {"epoch" | "step"} x
 * @returns {Series[]}
 */
export function seriesOf(content, curves, x) {
  const columns = columnsOf(content, curves.source);
  return curves.columns.flatMap(({ key, name }) =>
    hasValues(columns[key]) ? [{ name, x: columns[x] ?? [], y: columns[key] }] : [],
  );
}

/** @param {number} value */
export const formatPercent = (value) => `${(100 * value).toLocaleString("en", { maximumSignificantDigits: 3 })} %`;

/**
 * Returns the horizontal lines of some curves: what guessing gives, or for a score what real images have.
 * @param {GanContent | LstmContent} content
 * @param {Curves} curves
 * @returns {Reference[]}
 */
export function referencesOf(content, curves) {
  if (curves.references) return curves.references;
  return "hiddenSize" in content ? guessing(content, curves.id) : baselines(content, curves);
}

/**
 * Accuracy and cross-entropy of equal class probabilities.
 * @param {LstmContent} content
 * @param {string} id of curves
 * @returns {Reference[]}
 */
function guessing({ target, outputSize }, id) {
  if (target === "number" || outputSize < 2) return [];
  if (id === "lstm-accuracy") return [{ name: "guessing", value: 1 / outputSize }];
  return id === "lstm-loss" ? [{ name: "guessing", value: Math.log(outputSize) }] : [];
}

/**
 * @param {GanContent} content
 * @param {Curves} curves
 * @returns {Reference[]}
 */
function baselines(content, { id, title, source }) {
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
