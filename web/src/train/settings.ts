/**
 * Settings of a run in the page: those of `LSTMConfig` and `GANConfig` that it can train. Each is declared once, in the order of
 * the panel: its value in the original, what it may be, and what the panel says of it.
 */

import { problemOf } from "./cells";

/** Smallest and largest value of a number, and of which number it is a multiple. */
type Bounds = readonly [number, number, number?];

interface About {
  label: string;
  key: string; // In the fragment of the page
  hint?: string;
  isFixed?: boolean; // Whether a change needs a new run; else it forks the run
  needs?: string; // The setting that must be "on" for it
  isOfPage?: boolean; // Whether the command of Python does not have it
}

export interface Setting<V extends number | string = number | string> extends About {
  original: V;
  bounds?: Bounds;
  off?: number; // The value by which it does nothing
  isCell?: boolean; // Whether it is a cell, in place of bounds
  choices?: readonly (readonly [V, string])[]; // In place of bounds: values with their words
}

export type Specs = Record<string, Setting>;
export type Values = Record<string, number | string>;

const number = (original: number, bounds: Bounds, about: About): Setting<number> => ({ original, bounds, ...about });

/** One of some words, in the original the first. */
const choice = <V extends string>(words: Record<V, string>, about: About): Setting<V> => {
  const choices = Object.entries(words) as [V, string][];
  return { original: choices[0][0], choices, ...about };
};

const SEED = number(0, [0, 2 ** 31 - 1, 1], { label: "Seed", key: "seed", isFixed: true });

export const LSTM = {
  seed: SEED,
  /** The name of a built-in cell, or a text. */
  cell: { original: "lstm", label: "Cell", key: "cell", isFixed: true, isCell: true } as Setting<string>,
  dataSize: number(100_000, [2, 100_000, 1], {
    ...{ label: "Palindromes", key: "data", hint: "duplicates removed", isFixed: true },
  }),
  trainFraction: number(0.8, [0.01, 0.99], { label: "Training fraction", key: "part", isFixed: true }),
  hiddenSize: number(128, [8, 256, 8], { label: "Units", key: "units", isFixed: true }),
  encoding: choice(
    { scalar: "as one number", onehot: "one-hot" },
    { label: "A digit is read", key: "encoding", isFixed: true },
  ),
  length: number(5, [2, 60, 1], { label: "Length T", key: "length" }), // T, digits of a palindrome
  learningRate: number(1e-3, [1e-9, 10], { label: "Learning rate", key: "rate" }),
  hiddenDropout: number(0.5, [0, 0.99], { label: "Dropout of h", key: "dropout" }),
  curriculum: choice({ off: "off", on: "on" }, { label: "Length curriculum", key: "curriculum" }),
  startLength: number(10, [2, 60, 1], { label: "First length", key: "first", needs: "curriculum" }),
  lengthFactor: number(2, [1.01, 60], { label: "Factor of lengths", key: "factor", needs: "curriculum" }),
  minLengthFraction: number(0.5, [0.01, 1], {
    ...{ label: "Shortest in an epoch", key: "least", hint: "as a fraction of the longest", needs: "curriculum" },
  }),
  threshold: number(0.99, [0.01, 1], { label: "Accuracy to pass", key: "pass", needs: "curriculum" }),
  lrLengthExponent: number(0, [0, 10], {
    ...{ label: "Exponent p", key: "power", hint: "rate × (first length / T)ᵖ", needs: "curriculum" },
  }),
  /** First bias of the forget gates; Python's is always 1. */
  forgetBias: number(1, [-100, 100], {
    ...{ label: "Forget bias", key: "forget", hint: "a change moves the biases", isOfPage: true },
  }),
  maxNorm: { ...number(10, [1e-6, 1e9], { label: "Clip gradient norm at", key: "clip" }), off: 1e9 },
  batchSize: number(128, [1, 1024, 1], { label: "Batch", key: "batch" }),
  epochs: number(100, [1, 100_000, 1], { label: "Epochs", key: "epochs" }),
  optimizer: choice({ rmsprop: "RMSprop", adam: "Adam" }, { label: "Optimizer", key: "optimizer" }),
};

export const GAN = {
  seed: SEED,
  latentSize: number(100, [2, 1024, 1], { label: "Latent size", key: "latent", isFixed: true }),
  inputCentering: choice(
    { none: "as they are", auto: "centered" },
    { label: "D sees images", key: "center", isFixed: true },
  ),
  learningRate: number(2e-4, [1e-9, 10], { label: "Learning rate", key: "rate" }),
  lrSchedule: choice(
    { constant: "stays", linear: "falls to a fraction" },
    { label: "The learning rate", key: "schedule" },
  ),
  finalLrRatio: number(0, [0, 1], { label: "That fraction", key: "last", hint: "of the learning rate, at the end" }),
  beta1: number(0.5, [-0.999, 0.999], { label: "β₁ of Adam", key: "beta1" }),
  batchNormEps: number(1e-5, [1e-12, 1e6], { label: "ε of BatchNorm", key: "eps" }),
  discriminatorSteps: number(1, [1, 100, 1], { label: "Updates of D per G", key: "k" }),
  /** Swapped: D learns 0 for real and 1 for generated images, and G still seeks 1. A mistake, to look at. */
  labels: choice(
    { right: "right", exchanged: "swapped" },
    { label: "Labels that D learns", key: "labels", isOfPage: true },
  ),
  r1: number(0, [0, 1e6], { label: "Weight γ of R1", key: "r1", hint: "0: none" }),
  penaltyInterval: number(1, [1, 1000, 1], { label: "Interval of R1", key: "every" }),
  ema: number(0, [0, 0.999999], { label: "Moving average of G", key: "ema", hint: "0: none" }),
  emaRampup: number(0, [0, 1000], { label: "Its ramp-up", key: "ramp", hint: "0: none" }),
  batchSize: number(64, [8, 256, 8], { label: "Batch", key: "batch" }),
  epochs: number(200, [1, 100_000, 1], { label: "Epochs", key: "epochs" }),
};

type SettingsOf<S> = { [K in keyof S]: S[K] extends Setting<infer V> ? V : never };
export type LstmSettings = SettingsOf<typeof LSTM>;
export type GanSettings = SettingsOf<typeof GAN>;

const originalOf = <S extends Specs>(specs: S) =>
  Object.fromEntries(Object.entries(specs).map(([name, { original }]) => [name, original])) as SettingsOf<S>;
export const LSTM_ORIGINAL = originalOf(LSTM);
export const GAN_ORIGINAL = originalOf(GAN);
/** Python's preset `quick`, which is `best` in smaller batches and fewer of them: digits can be read after 800 updates. */
export const GAN_QUICK: GanSettings = {
  ...GAN_ORIGINAL,
  ...{ learningRate: 1.2e-3, lrSchedule: "linear", finalLrRatio: 0.5, beta1: -0.3, r1: 0.2, penaltyInterval: 8 },
  ...{ inputCentering: "auto", ema: 0.9998, emaRampup: 0.05, epochs: 18 },
};
/** Setting `data` of that preset. */
export const QUICK_DATA = "mnist-30k";

export function accepts({ bounds, choices, isCell }: Setting, value: unknown): boolean {
  if (isCell) return typeof value === "string" && problemOf(value) === null;
  if (!bounds) return choices!.some(([word]) => word === value);
  const [low, high, unit] = bounds;
  return typeof value === "number" && value >= low && value <= high && (!unit || value % unit === 0);
}

export function boundsText({ bounds, choices, isCell }: Setting): string {
  if (isCell) return "the name of a built-in cell or the text of one";
  if (!bounds) return choices!.map(([word]) => word).join(" or ");
  const [low, high, unit] = bounds;
  return `${unit === 1 ? "an integer" : unit ? `a multiple of ${unit}` : "a number"} from ${low} to ${high}`;
}

/** Throws a sentence for people unless all settings are what they may be. */
export function checkSettings(settings: object, specs: Specs) {
  for (const [name, spec] of Object.entries(specs)) {
    const value = (settings as Values)[name];
    if (!accepts(spec, value)) throw new Error(`${name} must be ${boundsText(spec)}, got ${value}`);
  }
}

/** Throws a sentence for people if a network that trains cannot go on with these changes. */
export function checkChanges(changes: object, specs: Specs) {
  const fixed = Object.keys(changes).find((name) => specs[name].isFixed);
  if (fixed) throw new Error(`${fixed} cannot change during the training; start a new run`);
}
