/**
 * A training run of the GAN, as `reviver gan train` makes it: order of the images, latents, updates, and the moving average.
 * The same settings and images give the same weights at the start, images and latents; losses part after some updates, as
 * those of two machines do.
 */
import { Memory, pad, type Matrix } from "../compute/memory";
import { makeRng, Rng, type RngState } from "../compute/random";
import type { ClassifierSpec } from "../kit/manifest";
import { spreadOf } from "./diagnosis";
import type { StepResult } from "./discriminator";
import { biasOf, D_LAYERS, discriminatorShapes, generatorShapes, LAST, NORMED, weightOf, WIDTHS } from "./gan_layers";
import { GanLog, linesOf } from "./gan_log";
import { Generator } from "./generator";
import { BYTE_VALUES, centeringOf } from "./inputs";
import { openPartner } from "./partner";
import { checkChanges, checkSettings, GAN, type GanSettings } from "./settings";
import { type Floats, readAll, type SavedWeights, type Shapes, writeAll } from "./weights";

/** Latents of the grid. */
const GRID = 25;
/** Updates of G between two of its moving average, whose decay is compounded. */
const EMA_INTERVAL = 4;

/** Images to train on, bytes [count, pixels] from black to white. */
export interface Images {
  bytes: Uint8Array;
  size: number; // H = W
  /** Knows their classes; missing where none does. */
  classifier?: { spec: ClassifierSpec; tensors: Record<string, Float32Array> };
  source: string | null; // Python's setting `data` for the same images; null if they are only here
}

/** Where a run stands, without its images. */
export type GanSaved = Awaited<ReturnType<GanRun["save"]>>;

export class GanRun {
  readonly kind = "gan" as const;
  step = 0;
  epoch = 0;
  position = 0; // Images of the epoch that it has seen
  generatorSteps = 0; // Updates of G
  seconds = 0; // Time that it has trained; whoever trains it counts
  log: GanLog;
  #noise: Rng;
  #next: { latents: Float32Array; noise: RngState } | null = null; // Latents of the next update, and before them the generator
  #order: Int32Array | null = null;
  #average: Record<string, Matrix> | null = null; // Moving average of G and of its running statistics; null without
  readonly count: number;
  readonly #grid: Float32Array;
  #real: Float32Array | null = null; // The first training images

  private constructor(
    readonly settings: GanSettings,
    readonly images: Images,
    readonly generator: Generator,
  ) {
    this.count = images.bytes.length / images.size ** 2;
    this.log = new GanLog(this.updatesPerEpoch);
    this.#noise = makeRng(settings.seed, "noise");
    this.#grid = makeRng(settings.seed, "grid").normal(GRID * settings.latentSize);
    if (settings.ema > 0) this.#startAverage();
  }

  static create = (settings: GanSettings, images: Images): Promise<GanRun> =>
    GanRun.#open(settings, images, newWeights(settings, images.size ** 2));

  static async #open(settings: GanSettings, images: Images, weights: Record<"G" | "D", SavedWeights>) {
    checkSettings(settings, GAN);
    const { latentSize, batchSize, batchNormEps } = settings;
    const count = images.bytes.length / images.size ** 2;
    if (!Number.isInteger(count) || count < 8 || count % 8)
      throw new Error(`the number of images must be a multiple of 8, got ${count}`);
    const pixels = images.size ** 2;
    const centering = settings.inputCentering === "auto" ? centeringOf(images.bytes, pixels) : null;
    const start = { pixels, batchSize: Math.max(batchSize, pad(GRID, 8)), centering, G: weights.G, D: weights.D };
    const [memory, partner] = [await Memory.create(), await openPartner(start)];
    return new GanRun(settings, images, new Generator(memory, latentSize, start, batchNormEps, partner));
  }

  static async restore(saved: GanSaved, images: Images): Promise<GanRun> {
    const run = await GanRun.#open(saved.settings, images, saved);
    ({ step: run.step, epoch: run.epoch, position: run.position, generatorSteps: run.generatorSteps } = saved);
    run.#noise = Rng.restore(saved.noise);
    run.seconds = saved.seconds;
    run.log = GanLog.restore(saved.log, run.updatesPerEpoch);
    writeAll(run.generator.running, saved.running);
    if (run.#average) writeAll(run.#average, saved.average ?? { ...saved.G.w, ...saved.running });
    return run;
  }

  async save() {
    const { kind, settings, step, epoch, position, generatorSteps, generator, seconds } = this;
    const { D, last } = await generator.partner("save");
    const front = generator.G.save();
    const [w, v, m] = (["w", "v", "m"] as const).map((part) => ({ ...front[part], ...last[part] }));
    return {
      ...{ kind, settings: { ...settings }, step, epoch, position, generatorSteps, seconds },
      ...{ noise: structuredClone(this.#next?.noise) ?? this.#noise.save(), log: this.log.save() }, // the page gets it
      ...{ G: { ...front, w, v, m }, D, running: readAll(generator.running) },
      average: this.#average && readAll(this.#average),
      metrics: linesOf(this.log, this.step, this.exactEpoch),
    };
  }

  /** Returns a run that goes on from here with other settings. */
  async change(changes: Partial<GanSettings>): Promise<GanRun> {
    checkChanges(changes, GAN);
    const saved = await this.save();
    return GanRun.restore({ ...saved, settings: { ...saved.settings, ...changes } }, this.images);
  }

  /** A last batch of a single image would be left out; here all have a multiple of 8. */
  get updatesPerEpoch() {
    return Math.ceil(this.count / this.settings.batchSize);
  }

  /** Finished epochs, and the part of this one. */
  get exactEpoch() {
    return this.epoch + Math.ceil(this.position / this.settings.batchSize) / this.updatesPerEpoch;
  }

  get isFinished() {
    return this.epoch >= this.settings.epochs;
  }

  /** Makes one update of D, and of G if it is due. */
  async update(): Promise<StepResult> {
    const { settings, generator } = this;
    const { batchSize, beta1, discriminatorSteps, r1, penaltyInterval } = settings;
    this.#order ??= makeRng(settings.seed, `order/${this.epoch}`).permutation(this.count);
    const indices = this.#order.subarray(this.position, this.position + batchSize);
    const [N, left] = [indices.length, this.count - this.position - indices.length || this.count];
    generator.z.writeColumns(this.#next?.latents ?? this.#noise.normal(N * settings.latentSize));
    this.#next = null;
    const withG = (this.step + 1) % discriminatorSteps === 0;
    const step = {
      bytes: this.#imagesAt(indices),
      ...{ withG, beta1, rate: this.#learningRate(), areExchanged: settings.labels === "exchanged" },
      r1: this.step % penaltyInterval === 0 ? r1 * penaltyInterval : 0,
    };
    const result = await generator.step(step, () => {
      const noise = this.#noise.save();
      this.#next = { noise, latents: this.#noise.normal(Math.min(batchSize, left) * settings.latentSize) };
    });
    this.step++;
    this.position += N;
    if (withG) this.#endGeneratorStep();
    if (this.position === this.count) {
      this.epoch++;
      this.position = 0;
      this.#order = null;
    }
    this.log.add(result, this.step, this.exactEpoch);
    return result;
  }

  /** Returns some of the images that the last update has generated, [count, P] from -1 to 1. */
  generated = (count: number) => this.generator.partner("generated", count);

  grid(): Float32Array<ArrayBuffer> {
    const { z, images, w } = this.generator;
    z.writeColumns(this.#grid);
    this.generator.generate(pad(GRID, 8), this.#average ?? w);
    return images.readColumns(GRID);
  }

  /** As `GANConfig.learning_rate_at`. */
  #learningRate() {
    const { learningRate, lrSchedule, finalLrRatio: last, epochs } = this.settings;
    return lrSchedule === "linear" ? learningRate * (last + (1 - last) * (1 - this.exactEpoch / epochs)) : learningRate;
  }

  /** How far apart samples are, to as many of the training images. */
  spreadOf(samples: Float32Array): number {
    this.#real ??= Float32Array.from(this.images.bytes.subarray(0, samples.length), (byte) => BYTE_VALUES[byte]);
    return spreadOf(samples, this.#real, this.images.size ** 2);
  }

  #imagesAt(indices: Int32Array) {
    const { bytes, size } = this.images;
    const [pixels, batch] = [size ** 2, new Uint8Array(indices.length * size ** 2)];
    indices.forEach((index, n) => batch.set(bytes.subarray(index * pixels, (index + 1) * pixels), n * pixels));
    return batch;
  }

  #startAverage() {
    const { memory, w } = this.generator;
    this.#average = Object.fromEntries(
      Object.entries(w).map(([name, source]) => {
        const copy = memory.matrix(source.rows, source.columns);
        copy.values.set(source.values);
        return [name, copy];
      }),
    );
  }

  #endGeneratorStep() {
    const { ema, emaRampup } = this.settings;
    this.generatorSteps++;
    if (!this.#average || this.generatorSteps % EMA_INTERVAL) return;
    const decay = emaRampup === 0 ? ema : Math.min(ema, 1 - 1 / (emaRampup * this.generatorSteps + 1));
    const { memory, w } = this.generator;
    for (const [name, source] of Object.entries(w)) {
      const { address, end } = this.#average[name];
      memory.kernel.average(address, end - address, source.address, 1 - decay ** EMA_INTERVAL);
    }
  }
}

/** New weights as torch's: of G and then of D, in the order of their layers. */
function newWeights({ seed, latentSize }: GanSettings, pixels: number) {
  const rng = makeRng(seed, "weights");
  const weightsOf = (shapes: Shapes, layers: number[]): SavedWeights => {
    const w: Floats = {};
    for (const layer of layers) {
      const [rows, columns] = shapes[weightOf(layer)];
      ({ weight: w[weightOf(layer)], bias: w[biasOf(layer)] } = rng.linear(columns, rows));
    }
    return { w, v: {}, m: {}, powers: [1, 1] };
  };
  const G = weightsOf(generatorShapes(latentSize, pixels), [0, ...NORMED, LAST]);
  NORMED.forEach((layer, k) => (G.w[weightOf(layer + 1)] = new Float32Array(WIDTHS[k + 1]).fill(1)));
  return { G, D: weightsOf(discriminatorShapes(pixels), D_LAYERS) };
}
