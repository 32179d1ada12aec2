/** What the panel can train, and the settings of each: their names, bounds, and options of the command. */
import type { Choices } from "../../kit/controls";
import {
  GAN_BOUNDS,
  GAN_ORIGINAL,
  LSTM_BOUNDS,
  LSTM_ORIGINAL,
  type Bounds,
  type GanSettings,
  type LstmSettings,
} from "../../train/settings";
import type { Kind } from "../../train/protocol";

export type Settings = LstmSettings | GanSettings;
/** Settings by their names. */
export type Values = Record<string, number | string>;

interface Spec {
  label: string;
  /** In the fragment. */
  key: string;
  /** Of the command; null if it has none. */
  option: string | null;
  hint?: string;
  /** Whether a change needs a new run; else it forks the run. */
  isFixed?: boolean;
  /** The setting that must be "on" for it. */
  needs?: string;
  /** Of a setting that is no number. */
  choices?: Choices<string>;
}

export interface Network {
  command: string;
  original: Values;
  /** Of a page that a phone opens without a view: smaller, so that it stays cool. */
  phone: Values;
  bounds: Bounds<Values>;
  specs: Record<string, Spec>;
}

const SEED: Spec = { label: "Seed", key: "seed", option: "--seed", isFixed: true };
const RATE: Spec = { label: "Learning rate", key: "rate", option: "--learning-rate" };
const BATCH: Spec = { label: "Batch", key: "batch", option: "--batch-size" };
const EPOCHS: Spec = { label: "Epochs", key: "epochs", option: "--epochs" };

export const NETWORKS: Record<Kind, Network> = {
  lstm: {
    command: "reviver lstm train --preset original",
    original: { ...LSTM_ORIGINAL },
    phone: { hiddenSize: 64 },
    bounds: LSTM_BOUNDS,
    specs: {
      seed: SEED,
      dataSize: {
        label: "Palindromes",
        key: "data",
        option: "--data-size",
        hint: "equal ones count once",
        isFixed: true,
      },
      trainFraction: { label: "Part to learn from", key: "part", option: "--train-fraction", isFixed: true },
      hiddenSize: { label: "Units", key: "units", option: "--hidden-size", isFixed: true },
      encoding: {
        ...{ label: "A digit is read", key: "encoding", option: "--encoding", isFixed: true },
        choices: [
          ["scalar", "as one number"],
          ["onehot", "one-hot"],
        ],
      },
      length: { label: "Length T", key: "length", option: "--length" },
      learningRate: RATE,
      hiddenDropout: { label: "Dropout of h", key: "dropout", option: "--hidden-dropout" },
      curriculum: {
        ...{ label: "Length curriculum", key: "curriculum", option: "--curriculum" },
        choices: [
          ["off", "off"],
          ["on", "on"],
        ],
      },
      startLength: { label: "First length", key: "first", option: "--start-length", needs: "curriculum" },
      lengthFactor: { label: "Factor of lengths", key: "factor", option: "--length-factor", needs: "curriculum" },
      minLengthFraction: {
        ...{ label: "Shortest in an epoch", key: "least", option: "--min-length-fraction", needs: "curriculum" },
        hint: "as a part of the longest",
      },
      threshold: { label: "Accuracy to pass", key: "pass", option: "--threshold", needs: "curriculum" },
      lrLengthExponent: {
        ...{ label: "Exponent p", key: "power", option: "--lr-length-exponent", needs: "curriculum" },
        hint: "rate × (first length / T)ᵖ",
      },
      forgetBias: { label: "Forget bias", key: "forget", option: null, hint: "a change moves the biases" },
      maxNorm: { label: "Largest norm", key: "clip", option: "--max-norm" },
      batchSize: BATCH,
      epochs: EPOCHS,
      optimizer: {
        ...{ label: "Optimizer", key: "optimizer", option: "--optimizer" },
        choices: [
          ["rmsprop", "RMSprop"],
          ["adam", "Adam"],
        ],
      },
    },
  },
  gan: {
    command: "reviver gan train --preset original",
    original: { ...GAN_ORIGINAL },
    phone: { batchSize: 32 },
    bounds: GAN_BOUNDS,
    specs: {
      seed: SEED,
      latentSize: { label: "Latent size", key: "latent", option: "--latent-size", isFixed: true },
      learningRate: RATE,
      beta1: { label: "β₁ of Adam", key: "beta1", option: "--beta1" },
      batchNormEps: { label: "ε of BatchNorm", key: "eps", option: "--batch-norm-eps" },
      discriminatorSteps: { label: "Updates of D per G", key: "k", option: "--discriminator-steps" },
      labels: {
        ...{ label: "Labels that D learns", key: "labels", option: null },
        choices: [
          ["right", "right"],
          ["exchanged", "exchanged"],
        ],
      },
      r1: { label: "Weight γ of R1", key: "r1", option: "--r1", hint: "0: none" },
      penaltyInterval: { label: "Interval of R1", key: "every", option: "--penalty-interval" },
      ema: { label: "Moving average of G", key: "ema", option: "--ema", hint: "0: none" },
      emaRampup: { label: "Its ramp-up", key: "ramp", option: "--ema-rampup", hint: "0: none" },
      batchSize: BATCH,
      epochs: EPOCHS,
    },
  },
};
