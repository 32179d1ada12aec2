/**
 * A training run of the LSTM on palindromes, as `reviver lstm train` makes it: data, split, order of the epochs, dropout masks,
 * updates and the validation after each epoch. The same settings give the same numbers up to rounding.
 */
import { forward } from "../compute/lstm";
import { softmax } from "../kit/math";
import { LstmNetwork } from "./lstm";
import { Memory, type SavedWeights } from "./memory";
import { digitAt, makePalindromes, splitPalindromes, type Palindromes } from "./palindromes";
import { makeRng, Rng } from "./random";
import { checkSettings, LSTM_BOUNDS, type LstmSettings } from "./settings";

const DIGITS = 10;
/** Settings that shape the weights or the data. */
const FIXED = ["seed", "encoding", "dataSize", "trainFraction", "hiddenSize"];
const NO_SUMS: LstmSaved["sums"] = [0, 0, 0];

/** Metrics of an epoch, as a line of metrics.jsonl. */
export interface LstmEpoch {
  step: number;
  epoch: number;
  sequences: number;
  trainLoss: number;
  trainAccuracy: number;
  validationLoss: number;
  validationAccuracy: number;
}

/** What an update gives: the loss of its batch before it, the number of correct sequences, the norm of the gradient. */
export interface LstmUpdate {
  loss: number;
  correct: number;
  count: number;
  norm: number;
}

/** The network at each step of a sequence, without dropout. Values [T, H], probabilities of each digit [T, C]. */
export interface LstmTrace {
  digits: number[];
  values: Record<"i" | "f" | "g" | "o" | "c" | "h", Float64Array>;
  probabilities: Float64Array;
}

/** Where a run stands. */
export interface LstmSaved {
  kind: "lstm";
  settings: LstmSettings;
  step: number;
  epoch: number;
  /** Sequences of the epoch that it has seen. */
  position: number;
  sequences: number;
  /** Sums over the epoch so far: loss, correct, count. */
  sums: [number, number, number];
  powers: [number, number];
  dropout: { state: Int32Array; next: number };
  weights: SavedWeights;
  epochs: LstmEpoch[];
  /** Training sequences. */
  trainCount: number;
  /** Time that it has trained. */
  seconds: number;
}

export class LstmRun {
  step = 0;
  epoch = 0;
  position = 0;
  sequences = 0;
  /** Time that it has trained; whoever trains it counts. */
  seconds = 0;
  epochs: LstmEpoch[] = [];
  #sums: LstmSaved["sums"] = [...NO_SUMS];
  #powers: [number, number] = [1, 1];
  #dropout: Rng;
  #order: Int32Array | null = null;
  readonly train: Palindromes;
  readonly validation: Palindromes;

  private constructor(
    readonly settings: LstmSettings,
    readonly network: LstmNetwork,
  ) {
    const { seed, length, dataSize, trainFraction } = settings;
    const all = makePalindromes(length, dataSize, makeRng(seed, "data"));
    ({ train: this.train, validation: this.validation } = splitPalindromes(all, trainFraction, seed));
    this.#dropout = makeRng(seed, "dropout");
  }

  static async create(settings: LstmSettings): Promise<LstmRun> {
    checkSettings(settings, LSTM_BOUNDS);
    const network = new LstmNetwork(await Memory.create(), {
      steps: settings.length - 1,
      inputSize: settings.encoding === "scalar" ? 1 : DIGITS,
      hiddenSize: settings.hiddenSize,
      numClasses: DIGITS,
      batchSize: settings.batchSize,
    });
    network.initialize(makeRng(settings.seed, "weights"), settings.forgetBias);
    return new LstmRun(settings, network);
  }

  static async restore(saved: LstmSaved): Promise<LstmRun> {
    const run = await LstmRun.create(saved.settings);
    ({ step: run.step, epoch: run.epoch, position: run.position, sequences: run.sequences } = saved);
    run.seconds = saved.seconds;
    run.epochs = [...saved.epochs];
    run.#sums = [...saved.sums];
    run.#powers = [...saved.powers];
    run.#dropout = Rng.restore(saved.dropout);
    run.network.weights.restore(saved.weights);
    return run;
  }

  save(): LstmSaved {
    const { settings, step, epoch, position, sequences } = this;
    return {
      kind: "lstm",
      settings: { ...settings },
      ...{
        step,
        epoch,
        position,
        sequences,
        epochs: [...this.epochs],
        sums: [...this.#sums],
        powers: [...this.#powers],
      },
      dropout: this.#dropout.save(),
      weights: this.network.weights.save(),
      trainCount: this.train.count,
      seconds: this.seconds,
    };
  }

  /** Returns a run that goes on from here with other settings; with another length, from the start of the epoch. */
  async change(changes: Partial<LstmSettings>): Promise<LstmRun> {
    const fixed = Object.keys(changes).find((name) => FIXED.includes(name));
    if (fixed) throw new Error(`${fixed} cannot change while the network trains; start a new run`);
    const saved = this.save();
    const settings = { ...saved.settings, ...changes };
    const H = settings.hiddenSize;
    const { b } = saved.weights.w;
    for (let u = H; u < 2 * H; u++) b[u] += settings.forgetBias - saved.settings.forgetBias;
    const restart = settings.length === saved.settings.length ? {} : { position: 0, sums: NO_SUMS };
    return LstmRun.restore({ ...saved, settings, ...restart });
  }

  get updatesPerEpoch() {
    return Math.ceil(this.train.count / this.settings.batchSize);
  }

  get isFinished() {
    return this.epoch >= this.settings.epochs;
  }

  /** Makes one update; after the last of an epoch, validates. */
  update(): LstmUpdate {
    const { settings, network } = this;
    const { weights } = network;
    this.#order ??= makeRng(settings.seed, `order/${this.epoch}`).permutation(this.train.count);
    const indices = this.#order.subarray(this.position, this.position + settings.batchSize);
    const targets = this.#load(this.train, indices);
    const p = settings.hiddenDropout;
    network.drop(p, p > 0 ? this.#dropout.bigInteger(2n ** 63n - 1n) : null, indices.length);
    network.forward(indices.length);
    const { loss, correct } = network.loss(targets);
    network.backward(indices.length);
    const norm = weights.clip(settings.maxNorm);
    if (settings.optimizer === "rmsprop") weights.rmsprop(settings.learningRate);
    else {
      this.#powers = [this.#powers[0] * 0.9, this.#powers[1] * 0.999];
      weights.adam(settings.learningRate, [0.9, 0.999], this.#powers);
    }
    this.step++;
    this.position += indices.length;
    [loss * indices.length, correct, indices.length].forEach((value, k) => (this.#sums[k] += value));
    if (this.position === this.train.count) this.#endEpoch();
    return { loss, correct, count: indices.length, norm };
  }

  #endEpoch() {
    const [loss, correct, count] = this.#sums;
    this.epoch++;
    this.sequences += count;
    const validation = this.score(this.validation);
    this.epochs.push({
      ...{ step: this.step, epoch: this.epoch, sequences: this.sequences },
      ...{ trainLoss: loss / count, trainAccuracy: correct / count },
      ...{ validationLoss: validation.loss, validationAccuracy: validation.accuracy },
    });
    this.#sums = [...NO_SUMS];
    this.position = 0;
    this.#order = null;
  }

  /** Returns loss and accuracy on palindromes of the run's length, without dropout. */
  score(data: Palindromes) {
    let [loss, correct] = [0, 0];
    this.network.drop(0, null, 0);
    for (let start = 0; start < data.count; start += this.settings.batchSize) {
      const count = Math.min(this.settings.batchSize, data.count - start);
      const targets = this.#load(
        data,
        Int32Array.from({ length: count }, (_, n) => start + n),
      );
      this.network.forward(count);
      const found = this.network.loss(targets);
      loss += found.loss * count;
      correct += found.correct;
    }
    return { loss: loss / data.count, accuracy: correct / data.count };
  }

  /** Writes the input of palindromes, and returns their last digits. */
  #load(data: Palindromes, indices: Int32Array): Uint8Array {
    const isScalar = this.settings.encoding === "scalar";
    this.network.steps.forEach(({ x: { values, width } }, t) => {
      if (!isScalar) values.fill(0);
      indices.forEach((index, n) => {
        const digit = digitAt(data, index, t);
        if (isScalar) values[n] = digit;
        else values[digit * width + n] = 1;
      });
    });
    return Uint8Array.from(indices, (index) => digitAt(data, index, 0));
  }

  /** Traces the network over digits, in double precision. */
  trace(digits: number[]): LstmTrace {
    const { hiddenSize: H, encoding } = this.settings;
    const { W, U, b, W_out, b_out } = this.network.weights.w;
    const [weights, out, bias] = [W, W_out, b_out].map((matrix) => Float64Array.from(matrix.read()));
    const cell = { W: weights, U: Float64Array.from(U.read()), b: Float64Array.from(b.read()) };
    const x =
      encoding === "scalar" ? digits : digits.flatMap((d) => Array.from({ length: DIGITS }, (_, k) => +(k === d)));
    const run = { reverse: false, mask: null, zoneout: false };
    const values = forward(cell, Float64Array.from(x), digits.length, run);
    const probabilities = new Float64Array(digits.length * DIGITS);
    for (let t = 0; t < digits.length; t++)
      for (let k = 0; k < DIGITS; k++) {
        let sum = bias[k];
        for (let u = 0; u < H; u++) sum += out[k * H + u] * values.h[t * H + u];
        probabilities[t * DIGITS + k] = sum;
      }
    return { digits, values, probabilities: softmax(probabilities, DIGITS) };
  }
}
