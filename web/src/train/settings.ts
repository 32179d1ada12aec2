/** Settings of a run in the page: those of `LSTMConfig` and `GANConfig` that it can train, with the defaults of `original`. */

export interface LstmSettings {
  /** From 0 to 2³¹ - 1. */
  seed: number;
  /** T, digits of a palindrome. */
  length: number;
  encoding: "scalar" | "onehot";
  dataSize: number;
  trainFraction: number;
  /** A multiple of 8. */
  hiddenSize: number;
  hiddenDropout: number;
  curriculum: "off" | "on";
  /** First length of the curriculum, and the factor between two. */
  startLength: number;
  lengthFactor: number;
  /** Smallest length of an epoch, as a part of the largest. */
  minLengthFraction: number;
  /** Accuracy that ends a length. */
  threshold: number;
  /** p: the learning rate at length T is scaled by (startLength / T)^p. */
  lrLengthExponent: number;
  epochs: number;
  batchSize: number;
  optimizer: "rmsprop" | "adam";
  learningRate: number;
  maxNorm: number;
  /** First bias of the forget gates; Python's is always 1. */
  forgetBias: number;
}

export const LSTM_ORIGINAL: LstmSettings = {
  seed: 0,
  length: 5,
  encoding: "scalar",
  dataSize: 100_000,
  trainFraction: 0.8,
  hiddenSize: 128,
  hiddenDropout: 0.5,
  curriculum: "off",
  startLength: 10,
  lengthFactor: 2,
  minLengthFraction: 0.5,
  threshold: 0.99,
  lrLengthExponent: 0,
  epochs: 100,
  batchSize: 128,
  optimizer: "rmsprop",
  learningRate: 1e-3,
  maxNorm: 10,
  forgetBias: 1,
};

export interface GanSettings {
  seed: number;
  epochs: number;
  /** N, a multiple of 8. */
  batchSize: number;
  latentSize: number;
  learningRate: number;
  beta1: number;
  /** Updates of D for each of G. */
  discriminatorSteps: number;
  /** Exchanged: D learns 0 for real and 1 for generated images, and G still seeks 1. A mistake, to look at. */
  labels: "right" | "exchanged";
  batchNormEps: number;
  /** γ; 0: none. */
  r1: number;
  penaltyInterval: number;
  /** Decay of the moving average of G; 0: none. */
  ema: number;
  emaRampup: number;
}

export const GAN_ORIGINAL: GanSettings = {
  seed: 0,
  epochs: 200,
  batchSize: 64,
  latentSize: 100,
  learningRate: 2e-4,
  beta1: 0.5,
  discriminatorSteps: 1,
  labels: "right",
  batchNormEps: 1e-5,
  r1: 0,
  penaltyInterval: 1,
  ema: 0,
  emaRampup: 0,
};

/** Smallest and largest value of the settings that are numbers, and of which number it is a multiple. */
export type Bounds<S> = Partial<Record<keyof S, [number, number, number?]>>;

export const LSTM_BOUNDS: Bounds<LstmSettings> = {
  seed: [0, 2 ** 31 - 1, 1],
  length: [2, 60, 1],
  dataSize: [2, 100_000, 1],
  trainFraction: [0.01, 0.99],
  hiddenSize: [8, 256, 8],
  hiddenDropout: [0, 0.99],
  startLength: [2, 60, 1],
  lengthFactor: [1.01, 60],
  minLengthFraction: [0.01, 1],
  threshold: [0.01, 1],
  lrLengthExponent: [0, 10],
  epochs: [1, 100_000, 1],
  batchSize: [1, 1024, 1],
  learningRate: [1e-9, 10],
  maxNorm: [1e-6, 1e9],
  forgetBias: [-100, 100],
};

export const GAN_BOUNDS: Bounds<GanSettings> = {
  seed: [0, 2 ** 31 - 1, 1],
  epochs: [1, 100_000, 1],
  batchSize: [8, 256, 8],
  latentSize: [2, 1024, 1],
  learningRate: [1e-9, 10],
  beta1: [-0.999, 0.999],
  discriminatorSteps: [1, 100, 1],
  batchNormEps: [1e-12, 1e6],
  r1: [0, 1e6],
  penaltyInterval: [1, 1000, 1],
  ema: [0, 0.999999],
  emaRampup: [0, 1000],
};

/** Throws a sentence for people unless all settings are within their bounds. */
export function checkSettings<S extends object>(settings: S, bounds: Bounds<S>) {
  for (const [name, [low, high, unit]] of Object.entries(bounds) as [keyof S & string, [number, number, number?]][]) {
    const value = settings[name] as number;
    const fits = typeof value === "number" && value >= low && value <= high && (!unit || value % unit === 0);
    const kind = unit === 1 ? "an integer" : unit ? `a multiple of ${unit}` : "a number";
    if (!fits) throw new Error(`${name} must be ${kind} from ${low} to ${high}, got ${value}`);
  }
}
