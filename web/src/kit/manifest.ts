/**
 * The manifest that Python writes, which src/reviver/explorer/manifest.py explains; `python -m tools.explorer_types` writes this
 * file, `make explorer` runs it. JSON has a number that is not finite as null.
 */

export interface Item {
  label: string;
  value: string;
  note: string | null;
}

export interface Standardization {
  mean: number[];
  scale: number[];
}

export interface TensorSpec {
  dtype: "f16" | "f32" | "u2" | "u8";
  offset: number; // First byte in the inflated block.
  shape: number[];
  scale: number | null; // A power of two.
}

export interface TensorBlock {
  block: string; // Id of the script element.
  tensors: Record<string, TensorSpec>;
}

export interface LayerSpec {
  weight: string;
  bias: string;
  activation: "leaky-relu" | "relu" | "tanh" | "none";
}

export interface MlpSpec {
  weights: TensorBlock;
  layers: LayerSpec[];
  negativeSlope: number; // Of LeakyReLU.
}

export interface ClassifierSpec {
  weights: TensorBlock;
  imageShape: [number, number, number];
  convolutions: LayerSpec[];
  layers: LayerSpec[];
  classNames: string[];
}

export interface ScoreRow {
  name: string;
  value: string;
  real: string | null; // The same score of real images; null of an LSTM.
  noise: string | null; // The same score of noise; of an LSTM, that of the best guess without memory.
}

export interface Rounding {
  network: string;
  unit: string; // What is compared, such as "pixel, from -1 to 1".
  max: number;
  mean: number;
}

export interface Facts {
  run: Item[];
  config: Item[]; // Every setting; the note is "changed" where it differs from the default.
  command: string;
  scores: ScoreRow[];
  scoresNote: string;
  rounding: Rounding[];
  licenses: Item[];
}

export interface LogitContext {
  real: number[]; // Empty without real images.
  fake: number[];
  realSource: string; // What the real images are, such as "test images".
}

export interface RecordedGan {
  id: string;
  name: string;
  imageShape: [number, number, number];
  isLogOdds: boolean; // Whether the output of D is a log-odds; some losses train D to give a number without a unit.
  metrics: Record<string, (number | null)[]>;
  scores: Record<string, (number | null)[]>;
  facts: Facts;
}

export interface GanContent extends RecordedGan {
  runArgument: string; // The run folder as commands to copy name it, before they quote it.
  noiseSize: number; // Numbers of z that are noise; the K others of a conditional generator are its one-hot class.
  latentSize: number; // Z, with the class.
  numClasses: number; // K, 0 unless conditional.
  classNames: string[];
  generator: MlpSpec;
  discriminator: MlpSpec | null;
  classifier: ClassifierSpec | null; // Null where no classifier knows these images.
  latents: TensorBlock; // `grid` [25, Z]; `endpoints` [E, Z]; `directions` [2, Z], orthonormal, along which images change most.
  endpointClasses: (number | null)[]; // Class of each end point by the classifier or by condition [E].
  logits: LogitContext;
  training: TensorBlock | null; // `images` [M, C, H, W] and, with labels, `labels` [M].
  test: TensorBlock | null; // The same of real images to draw after.
  labelNames: string[] | null; // Names of the labels of `training` and `test`.
}

export interface LstmStage {
  label: string;
  weights: TensorBlock;
}

export interface Example {
  values: number[]; // Symbols [T], or numbers [T · I], row by row, as a user would type them.
  target: number | number[]; // Class, class at every step, or number.
}

export interface RecordedLstm {
  id: string;
  name: string;
  target: "class" | "class at every step" | "number";
  outputSize: number;
  metrics: Record<string, (number | null)[]>;
  facts: Facts;
}

export interface LstmContent extends RecordedLstm {
  runArgument: string;
  cell: string; // Name of a built-in cell, or its text.
  task: string;
  rule: "palindrome" | "parity" | "marked sum" | "copy" | "order" | null; // How a target follows from a sequence; None if a user chooses it.
  inputKind: "symbols" | "numbers";
  noun: string; // Of a symbol, or of a number.
  encoding: "scalar" | "onehot";
  symbolNames: string[]; // Empty if the inputs are numbers.
  inputSize: number; // I of one step, after the encoding and before patches.
  channelNames: string[]; // Of numbers [I].
  classNames: string[]; // Empty if the target is a number.
  hiddenSize: number;
  numLayers: number;
  bidirectional: boolean;
  pooling: "last" | "mean" | "max" | "attention";
  patchSize: number;
  hiddenDropout: number;
  hiddenDropoutKind: "step" | "variational" | "zoneout";
  length: number;
  standardization: Standardization | null;
  stages: LstmStage[]; // First, middle and last, or fewer.
  examples: Example[];
}

export interface TrainingImages {
  data: TensorBlock; // `images` [N, 1, H, W], bytes.
  source: string; // Setting `data` of the same training in Python.
  classifier: ClassifierSpec; // What tells their classes.
  license: Item;
}

export interface Manifest {
  schemaVersion: number;
  version: string;
  title: string;
  gans: GanContent[];
  lstms: LstmContent[];
  recorded: (RecordedGan | RecordedLstm)[]; // Runs whose networks the page cannot run.
  trainingImages: TrainingImages | null;
  lstmConfig: Record<string, string | number | boolean | null>; // All settings of an LSTM's run by their names in Python, with their defaults, for the run folders of the page.
  ganConfig: Record<string, string | number | boolean | null>; // The same of a GAN's.
}
