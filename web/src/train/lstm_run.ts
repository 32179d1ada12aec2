/**
 * A training run of the LSTM on palindromes, as `reviver lstm train` makes it: data, split, order of the epochs, dropout masks,
 * updates and the validation after each epoch. The same settings give the same numbers up to rounding.
 */
import { dataOf, lengthsOf, rateAt, type Split } from "./curriculum";
import { LstmNetwork } from "./lstm";
import { traceLstm } from "./lstm_trace";
import { Memory, type SavedWeights } from "./memory";
import { digitAt, DIGITS, type Palindromes } from "./palindromes";
import { makeRng, Rng } from "./random";
import { checkSettings, LSTM_BOUNDS, type LstmSettings } from "./settings";

/** Settings that shape the weights or the data. */
const FIXED = ["seed", "encoding", "dataSize", "trainFraction", "hiddenSize"];
/** Settings that change the data of an epoch. */
const DATA = ["length", "curriculum", "startLength", "lengthFactor", "minLengthFraction"];
const NO_SUMS: LstmSaved["sums"] = [0, 0, 0];

/** Metrics of an epoch, as a line of metrics.jsonl. */
export interface LstmEpoch {
  step: number;
  epoch: number;
  sequences: number;
  length: number;
  validationSequences: number;
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

/** Where a run stands. */
export interface LstmSaved {
  kind: "lstm";
  settings: LstmSettings;
  step: number;
  epoch: number;
  /** Lengths of the curriculum that have passed. */
  stage: number;
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
  stage = 0;
  position = 0;
  sequences = 0;
  /** Time that it has trained; whoever trains it counts. */
  seconds = 0;
  epochs: LstmEpoch[] = [];
  #sums: LstmSaved["sums"] = [...NO_SUMS];
  #powers: [number, number] = [1, 1];
  #dropout: Rng;
  #order: Int32Array | null = null;
  #data: Split | null = null;
  readonly #lengths: number[];

  private constructor(
    readonly settings: LstmSettings,
    readonly network: LstmNetwork,
  ) {
    this.#lengths = lengthsOf(settings);
    this.#dropout = makeRng(settings.seed, "dropout");
  }

  /** The data of this epoch. */
  get data(): Split {
    return (this.#data ??= dataOf(this.settings, this.epoch, this.length, null));
  }

  /** T, of this epoch the largest. */
  get length() {
    return this.#lengths[Math.min(this.stage, this.#lengths.length - 1)];
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
    const run = new LstmRun(settings, network);
    void run.data; // which may be too little
    return run;
  }

  static async restore(saved: LstmSaved): Promise<LstmRun> {
    const run = await LstmRun.create(saved.settings);
    ({ step: run.step, epoch: run.epoch, stage: run.stage } = saved);
    ({ position: run.position, sequences: run.sequences } = saved);
    run.#data = dataOf(run.settings, run.epoch, run.length, run.#data);
    run.seconds = saved.seconds;
    run.epochs = [...saved.epochs];
    run.#sums = [...saved.sums];
    run.#powers = [...saved.powers];
    run.#dropout = Rng.restore(saved.dropout);
    run.network.weights.restore(saved.weights);
    return run;
  }

  save(): LstmSaved {
    const { settings, step, epoch, stage, position, sequences } = this;
    return {
      kind: "lstm",
      settings: { ...settings },
      ...{ step, epoch, stage, position, sequences },
      ...{ epochs: [...this.epochs], sums: [...this.#sums], powers: [...this.#powers] },
      dropout: this.#dropout.save(),
      weights: this.network.weights.save(),
      trainCount: this.data.train.count,
      seconds: this.seconds,
    };
  }

  /** Returns a run that goes on from here with other settings; with other data, from the start of the epoch. */
  async change(changes: Partial<LstmSettings>): Promise<LstmRun> {
    const fixed = Object.keys(changes).find((name) => FIXED.includes(name));
    if (fixed) throw new Error(`${fixed} cannot change while the network trains; start a new run`);
    const saved = this.save();
    const settings = { ...saved.settings, ...changes };
    const H = settings.hiddenSize;
    const { b } = saved.weights.w;
    for (let u = H; u < 2 * H; u++) b[u] += settings.forgetBias - saved.settings.forgetBias;
    const lengths = lengthsOf(settings);
    const isGrowing = settings.curriculum === saved.settings.curriculum && lengths.length > 1;
    const found = lengths.findIndex((length) => length >= this.length);
    const stage = isGrowing ? (found < 0 ? lengths.length - 1 : found) : 0;
    const restart = DATA.some((name) => name in changes) ? { stage, position: 0, sums: NO_SUMS } : {};
    return LstmRun.restore({ ...saved, settings, ...restart });
  }

  get updatesPerEpoch() {
    return Math.ceil(this.data.train.count / this.settings.batchSize);
  }

  get isFinished() {
    return this.epoch >= this.settings.epochs || this.stage === this.#lengths.length;
  }

  /** Makes one update; after the last of an epoch, validates. */
  update(): LstmUpdate {
    const { settings, network } = this;
    const { weights } = network;
    const { train } = this.data;
    this.#order ??= makeRng(settings.seed, `order/${this.epoch}`).permutation(train.count);
    const indices = this.#order.subarray(this.position, this.position + settings.batchSize);
    const targets = this.#load(train, indices);
    const p = settings.hiddenDropout;
    network.drop(p, p > 0 ? this.#dropout.bigInteger(2n ** 63n - 1n) : null, indices.length);
    network.forward(indices.length);
    const { loss, correct } = network.loss(targets);
    network.backward(indices.length);
    const norm = weights.clip(settings.maxNorm);
    const rate = rateAt(settings, this.length);
    if (settings.optimizer === "rmsprop") weights.rmsprop(rate);
    else {
      this.#powers = [this.#powers[0] * 0.9, this.#powers[1] * 0.999];
      weights.adam(rate, [0.9, 0.999], this.#powers);
    }
    this.step++;
    this.position += indices.length;
    [loss * indices.length, correct, indices.length].forEach((value, k) => (this.#sums[k] += value));
    if (this.position === train.count) this.#endEpoch();
    return { loss, correct, count: indices.length, norm };
  }

  #endEpoch() {
    const [loss, correct, count] = this.#sums;
    const { settings, data, length } = this;
    this.epoch++;
    this.sequences += count;
    const validation = this.score(data.validation);
    this.epochs.push({
      ...{ step: this.step, epoch: this.epoch, sequences: this.sequences },
      ...{ length, validationSequences: data.validation.count },
      ...{ trainLoss: loss / count, trainAccuracy: correct / count },
      ...{ validationLoss: validation.loss, validationAccuracy: validation.accuracy },
    });
    this.#sums = [...NO_SUMS];
    this.position = 0;
    this.#order = null;
    if (settings.curriculum !== "on") return;
    if (validation.accuracy >= settings.threshold) this.stage++;
    this.#data = dataOf(settings, this.epoch, this.length, data);
  }

  /** Returns loss and accuracy on palindromes of the run's length, without dropout. */
  score(data: Palindromes) {
    let [loss, correct] = [0, 0];
    this.network.resize(data.length - 1, null);
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
    const { lengths } = data;
    this.network.resize(data.length - 1, lengths ? Uint8Array.from(indices, (index) => lengths[index] - 1) : null);
    this.network.steps.slice(0, data.length - 1).forEach(({ x: { values, width } }, t) => {
      if (!isScalar) values.fill(0);
      indices.forEach((index, n) => {
        const digit = digitAt(data, index, t);
        if (isScalar) values[n] = digit;
        else values[digit * width + n] = 1;
      });
    });
    return Uint8Array.from(indices, (index) => digitAt(data, index, 0));
  }

  /** Traces the network over digits. */
  trace = (digits: number[]) => traceLstm(this.network.weights.w, digits, this.settings.encoding);
}
