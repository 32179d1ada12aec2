/**
 * A training run of the LSTM on palindromes, as `reviver lstm train` makes it: data, split, order of the epochs, dropout masks,
 * updates and the validation after each epoch. The same settings give the same numbers up to rounding.
 */
import { Memory } from "../compute/memory";
import { makeRng, Rng } from "../compute/random";
import { dataOf, lengthsOf, rateAt } from "./curriculum";
import { CellNetwork } from "./cell_network";
import { cellOf } from "./cells";
import { traceRun } from "./lstm_trace";
import { DIGITS, targetOf, valueAt, type Sequences, type Split } from "./palindromes";
import { splitSequences, type SequenceData, type SequenceSplit } from "./sequences";
import { checkChanges, checkSettings, LSTM, type LstmSettings } from "./settings";

/** Settings that change the data of an epoch. */
const DATA = ["length", "curriculum", "startLength", "lengthFactor", "minLengthFraction"];
/** Steps × units × batch at most, so that a phone has the memory. */
const MAX_STATES = 60 * 256 * 1024;
const NO_SUMS = [0, 0, 0];

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

export type LstmSaved = ReturnType<LstmRun["save"]>;

export class LstmRun {
  readonly kind = "lstm" as const;
  step = 0;
  epoch = 0;
  stage = 0; // Lengths of the curriculum that have passed
  position = 0; // Sequences of the epoch that it has seen
  sequences = 0;
  seconds = 0; // Time that it has trained; whoever trains it counts
  epochs: LstmEpoch[] = [];
  #sums = [...NO_SUMS]; // Sums over the epoch so far: loss, correct, count
  #dropout: Rng;
  #order: Int32Array | null = null;
  #data: Split | null = null;
  readonly #lengths: number[];

  private constructor(
    readonly settings: LstmSettings,
    readonly network: CellNetwork,
    readonly own: SequenceData | null, // What it learns from; null for palindromes
  ) {
    this.#lengths = lengthsOf(settings);
    this.#dropout = makeRng(settings.seed, "dropout");
  }

  get data(): Split {
    return (this.#data ??= this.#load());
  }

  /** T, of this epoch the largest. */
  get length() {
    return this.#lengths[Math.min(this.stage, this.#lengths.length - 1)];
  }

  /** @param own sequences to learn from, in place of palindromes */
  static async create(settings: LstmSettings, own: SequenceData | null = null): Promise<LstmRun> {
    checkSettings(settings, LSTM);
    const { encoding, hiddenSize, batchSize } = settings;
    if (own && (encoding === "onehot" || settings.curriculum === "on"))
      throw new Error("own sequences are numbers of one length of training; choose neither one-hot nor a curriculum");
    const steps = own ? own.steps : settings.length - 1;
    if (steps * hiddenSize * batchSize > MAX_STATES)
      throw new Error(
        `${steps} steps of ${hiddenSize} units and ${batchSize} sequences need too much memory; give a smaller batch`,
      );
    const inputSize = encoding === "scalar" ? 1 : DIGITS;
    const sizes = { steps, inputSize, hiddenSize, numClasses: own?.classes.length ?? DIGITS, batchSize };
    const network = new CellNetwork(await Memory.create(), cellOf(settings.cell), sizes);
    network.initialize(makeRng(settings.seed, "weights"), settings.cell === "lstm" ? { b_f: settings.forgetBias } : {});
    const run = new LstmRun(settings, network, own);
    void run.data; // which may be too little
    return run;
  }

  /** The data of this epoch; `before` are those of the one before. */
  #load(before: Split | null = null): Split {
    const { settings, own } = this;
    if (own) return before ?? splitSequences(own, settings.trainFraction, settings.seed);
    return dataOf(settings, this.epoch, this.length, before);
  }

  static async restore(saved: LstmSaved, own: SequenceData | null = null): Promise<LstmRun> {
    const run = await LstmRun.create(saved.settings, own);
    ({ step: run.step, epoch: run.epoch, stage: run.stage } = saved);
    ({ position: run.position, sequences: run.sequences } = saved);
    run.#data = run.#load(run.#data);
    run.seconds = saved.seconds;
    run.epochs = [...saved.epochs];
    run.#sums = [...saved.sums];
    run.#dropout = Rng.restore(saved.dropout);
    run.network.weights.restore(saved.weights);
    return run;
  }

  save() {
    const { kind, settings, step, epoch, stage, position, sequences, seconds } = this;
    return {
      ...{ kind, settings: { ...settings }, step, epoch, stage, position, sequences, seconds },
      ...{ epochs: [...this.epochs], sums: [...this.#sums], dropout: this.#dropout.save() },
      ...{ weights: this.network.weights.save(), trainCount: this.data.train.count },
    };
  }

  /** Returns a run that goes on from here with other settings; with other data, from the start of the epoch. */
  async change(changes: Partial<LstmSettings>): Promise<LstmRun> {
    checkChanges(changes, LSTM);
    const saved = this.save();
    const settings = { ...saved.settings, ...changes };
    const moved = settings.cell === "lstm" ? saved.weights.w.b_f : new Float32Array();
    moved.forEach((value, u) => (moved[u] = value + settings.forgetBias - saved.settings.forgetBias));
    const lengths = lengthsOf(settings);
    const isGrowing = settings.curriculum === saved.settings.curriculum && lengths.length > 1;
    const found = lengths.findIndex((length) => length >= this.length);
    const stage = isGrowing ? (found < 0 ? lengths.length - 1 : found) : 0;
    const restart = DATA.some((name) => name in changes) ? { stage, position: 0, sums: NO_SUMS } : {};
    return LstmRun.restore({ ...saved, settings, ...restart }, this.own);
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
    const targets = this.#write(train, indices);
    const p = settings.hiddenDropout;
    network.drop(p, p > 0 ? this.#dropout.bigInteger(2n ** 63n - 1n) : null, indices.length);
    network.forward(indices.length);
    const { loss, correct } = network.loss(targets);
    network.backward(indices.length);
    const norm = weights.clip(settings.maxNorm);
    const rate = rateAt(settings, this.length);
    if (settings.optimizer === "rmsprop") weights.rmsprop(rate);
    else weights.adam(rate, 0.9);
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
    this.#data = this.#load(data);
  }

  /** Returns loss and accuracy on sequences, without dropout. */
  score(data: Sequences) {
    let [loss, correct] = [0, 0];
    this.network.resize(data.length - 1, null);
    this.network.drop(0, null, 0);
    for (let start = 0; start < data.count; start += this.settings.batchSize) {
      const count = Math.min(this.settings.batchSize, data.count - start);
      const targets = this.#write(
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

  /** Writes the input of sequences, and returns their classes, such as the last digits of palindromes. */
  #write(data: Sequences, indices: Int32Array): Uint8Array {
    const isScalar = this.settings.encoding === "scalar";
    const { lengths } = data;
    this.network.resize(data.length - 1, lengths ? Uint8Array.from(indices, (index) => lengths[index] - 1) : null);
    this.network.steps.slice(0, data.length - 1).forEach(({ x: { values, width } }, t) => {
      if (!isScalar) values.fill(0);
      indices.forEach((index, n) => {
        const value = valueAt(data, index, t);
        if (isScalar) values[n] = value;
        else values[value * width + n] = 1;
      });
    });
    return Uint8Array.from(indices, (index) => targetOf(data, index));
  }

  /** Traces the network over digits, or over numbers as those of its own sequences. */
  trace = (values: number[]) =>
    traceRun(this.network, values, this.settings.encoding, this.own && (this.data as SequenceSplit));
}
