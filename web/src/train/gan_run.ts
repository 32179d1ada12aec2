/**
 * A training run of the GAN, as `reviver gan train` makes it: order of the images, latents, updates, and the moving average.
 * The same settings and images give the same weights at the start, images and latents; losses part after some updates, as
 * those of two machines do.
 */
import { Memory, pad, type Matrix } from "../compute/memory";
import { makeRng, Rng } from "../compute/random";
import type { ClassifierSpec } from "../kit/manifest";
import { spreadOf } from "./diagnosis";
import { GanNetworks, type StepResult } from "./gan";
import { GanLog, linesOf } from "./gan_log";
import { centeringOf } from "./inputs";
import { checkChanges, checkSettings, GAN, type GanSettings } from "./settings";
import { readAll, writeAll } from "./weights";

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
export type GanSaved = ReturnType<GanRun["save"]>;

export class GanRun {
  readonly kind = "gan" as const;
  step = 0;
  epoch = 0;
  position = 0; // Images of the epoch that it has seen
  generatorSteps = 0; // Updates of G
  seconds = 0; // Time that it has trained; whoever trains it counts
  log: GanLog;
  #noise: Rng;
  #order: Int32Array | null = null;
  #average: Record<string, Matrix> | null = null; // Moving average of G and of its running statistics; null without
  readonly count: number;
  readonly #values = Float32Array.from({ length: 256 }, (_, byte) => Math.fround(byte / 127.5) - 1);
  readonly #grid: Float32Array;
  #real: Float32Array | null = null; // The first training images

  private constructor(
    readonly settings: GanSettings,
    readonly images: Images,
    readonly networks: GanNetworks,
  ) {
    this.count = images.bytes.length / images.size ** 2;
    this.log = new GanLog(this.updatesPerEpoch);
    this.#noise = makeRng(settings.seed, "noise");
    this.#grid = makeRng(settings.seed, "grid").normal(GRID * settings.latentSize);
    if (settings.ema > 0) this.#startAverage();
  }

  static async create(settings: GanSettings, images: Images): Promise<GanRun> {
    checkSettings(settings, GAN);
    const { latentSize, batchSize, batchNormEps } = settings;
    const count = images.bytes.length / images.size ** 2;
    if (!Number.isInteger(count) || count < 8 || count % 8)
      throw new Error(`the number of images must be a multiple of 8, got ${count}`);
    const size = Math.max(batchSize, pad(GRID, 8));
    const pixels = images.size ** 2;
    const centering = settings.inputCentering === "auto" ? centeringOf(images.bytes, pixels) : null;
    const memory = await Memory.create();
    const networks = new GanNetworks(memory, latentSize, pixels, size, batchNormEps, centering);
    networks.initialize(makeRng(settings.seed, "weights"));
    return new GanRun(settings, images, networks);
  }

  static async restore(saved: GanSaved, images: Images): Promise<GanRun> {
    const run = await GanRun.create(saved.settings, images);
    ({ step: run.step, epoch: run.epoch, position: run.position, generatorSteps: run.generatorSteps } = saved);
    run.#noise = Rng.restore(saved.noise);
    run.seconds = saved.seconds;
    run.log = GanLog.restore(saved.log, run.updatesPerEpoch);
    run.networks.G.restore(saved.G);
    run.networks.D.restore(saved.D);
    writeAll(run.networks.running, saved.running);
    if (run.#average) writeAll(run.#average, saved.average ?? { ...saved.G.w, ...saved.running });
    return run;
  }

  save() {
    const { kind, settings, step, epoch, position, generatorSteps, networks, seconds } = this;
    return {
      ...{ kind, settings: { ...settings }, step, epoch, position, generatorSteps, seconds },
      ...{ noise: this.#noise.save(), log: this.log.save() },
      ...{ G: networks.G.save(), D: networks.D.save(), running: readAll(networks.running) },
      average: this.#average && readAll(this.#average),
      metrics: linesOf(this.log, this.step, this.exactEpoch),
    };
  }

  /** Returns a run that goes on from here with other settings. */
  async change(changes: Partial<GanSettings>): Promise<GanRun> {
    checkChanges(changes, GAN);
    const saved = this.save();
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
  update(): StepResult {
    const { settings, networks } = this;
    const { batchSize, beta1, discriminatorSteps, r1, penaltyInterval } = settings;
    const rate = this.#learningRate();
    this.#order ??= makeRng(settings.seed, `order/${this.epoch}`).permutation(this.count);
    const indices = this.#order.subarray(this.position, this.position + batchSize);
    const N = indices.length;
    this.#writeImages(indices);
    networks.z.writeColumns(this.#noise.normal(N * settings.latentSize));
    const withG = (this.step + 1) % discriminatorSteps === 0;
    const penalty = this.step % penaltyInterval === 0 ? r1 * penaltyInterval : 0;
    const result = networks.step(N, withG, penalty, settings.labels === "exchanged");
    for (const one of withG ? [networks.G, networks.D] : [networks.D]) one.adam(rate, beta1);
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

  /** Returns some of the images that the last update, of N, has generated, [count, P] from -1 to 1. */
  generated = (N: number, count: number) => this.networks.images.readColumns(Math.min(N, count), N);

  grid(): Float32Array<ArrayBuffer> {
    const { networks } = this;
    networks.z.writeColumns(this.#grid);
    const source = this.#average;
    networks.generate(pad(GRID, 8), 0, false, source ?? networks.G.w, source ?? networks.running);
    return networks.images.readColumns(GRID);
  }

  /** As `GANConfig.learning_rate_at`. */
  #learningRate() {
    const { learningRate, lrSchedule, finalLrRatio: last, epochs } = this.settings;
    return lrSchedule === "linear" ? learningRate * (last + (1 - last) * (1 - this.exactEpoch / epochs)) : learningRate;
  }

  /** How far apart samples are, to as many of the training images. */
  spreadOf(samples: Float32Array): number {
    const { pixels } = this.networks;
    this.#real ??= Float32Array.from(this.images.bytes.subarray(0, samples.length), (byte) => this.#values[byte]);
    return spreadOf(samples, this.#real, pixels);
  }

  #writeImages(indices: Int32Array) {
    const { networks, images } = this;
    const { values, width } = networks.images;
    const { pixels } = networks;
    indices.forEach((index, n) => {
      const from = index * pixels;
      for (let p = 0; p < pixels; p++) values[p * width + n] = this.#values[images.bytes[from + p]];
    });
  }

  #startAverage() {
    const { memory, G, running } = this.networks;
    const sources = { ...G.w, ...running };
    this.#average = Object.fromEntries(
      Object.entries(sources).map(([name, source]) => {
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
    const { memory, G, running } = this.networks;
    for (const [name, source] of Object.entries({ ...G.w, ...running })) {
      const { address, end } = this.#average[name];
      memory.kernel.average(address, end - address, source.address, 1 - decay ** EMA_INTERVAL);
    }
  }
}
