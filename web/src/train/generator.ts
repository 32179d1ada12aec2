/**
 * G of the GAN in training, as `reviver.gan.networks` and `reviver.gan.step`; its last layer learns beside D, in discriminator.ts.
 *
 *     z → Linear 128 → LeakyReLU → (Linear 256 → BatchNorm → LeakyReLU), the same with 512 and 1024 → Linear P → tanh
 *
 * Shapes: N images, a multiple of 8; Z latent size, P pixels. Activations are [features, N].
 */
import type { Matrix, Memory } from "../compute/memory";
import type { DiscriminatorStart, StepResult } from "./discriminator";
import { biasOf, frontShapes, LAST, lastShapes, NORMED, ownRows, SLOPE, weightOf, WIDTHS } from "./gan_layers";
import type { Partner } from "./partner";
import { matricesOf, Weights, writeAll } from "./weights";

/** What an update does. */
export interface Step {
  bytes: Uint8Array; // Real images [N, P]
  withG: boolean; // Whether G learns
  areExchanged: boolean; // Whether D learns to call the generated images real
  r1: number; // Weight of the penalty of R1
  rate: number; // Of Adam
  beta1: number;
}

/** A layer with BatchNorm: x̂, what it gives, 1 / √(var + ε), and the running mean and variance. */
interface Norm {
  x: Matrix;
  y: Matrix;
  d: Matrix;
  roots: Matrix;
  mean: Matrix;
  variance: Matrix;
}

export class Generator {
  readonly G: Weights; // Of all layers but the last
  /** Running mean and variance of BatchNorm, by name as in torch. */
  readonly running: Record<string, Matrix> = {};
  readonly z: Matrix;
  readonly images: Matrix;
  readonly last: Record<string, Matrix>; // Weights of the last layer, which the partner updates
  readonly #dImages: Matrix;
  readonly #first: { y: Matrix; d: Matrix };
  readonly #norms: Norm[];
  readonly #room: Matrix;
  /** Numbers that go to the partner and come back: images, what the last layer reads, its weight. */
  readonly #sent: Record<"images" | "hidden" | "weight", Float32Array<ArrayBuffer>>;
  #learned: Promise<void> | undefined; // The partner's last update of D

  constructor(
    readonly memory: Memory,
    readonly latentSize: number,
    { pixels, batchSize: N, G }: DiscriminatorStart,
    public eps: number,
    readonly partner: Partner,
  ) {
    this.G = new Weights(memory, frontShapes(latentSize));
    this.G.restore(G);
    this.last = matricesOf(memory, lastShapes(pixels));
    writeAll(this.last, G.w);
    const pair = (rows: number) => ({ y: memory.matrix(rows, N), d: memory.matrix(rows, N) });
    this.z = memory.matrix(latentSize, N);
    this.#first = pair(WIDTHS[0]);
    this.#norms = NORMED.map((layer, k) => {
      const rows = WIDTHS[k + 1];
      const [roots, mean, variance] = [0, 0, 1].map((value) => {
        const row = memory.matrix(1, rows);
        row.values.fill(value, 0, rows);
        return row;
      });
      this.running[`layers.${layer + 1}.running_mean`] = mean;
      this.running[`layers.${layer + 1}.running_var`] = variance;
      return { x: memory.matrix(rows, N), ...pair(rows), roots, mean, variance };
    });
    [this.images, this.#dImages] = [memory.matrix(pixels, N), memory.matrix(pixels, N)];
    this.#room = memory.matrix(N, WIDTHS[3] + 32);
    const hidden = WIDTHS[3];
    const [images, weight] = [new Float32Array(pixels * N), new Float32Array(pixels * hidden)];
    this.#sent = { images, hidden: new Float32Array(hidden * N), weight };
  }

  /** Weights and running statistics. */
  get w() {
    return { ...this.G.w, ...this.last, ...this.running };
  }

  /** Makes N images of the latents, as after the training. */
  generate(N: number, weights: Record<string, Matrix>) {
    this.#paint(this.#hidden(N, false, weights), N, weights, this.images.rows);
  }

  /** What the last layer reads. `isTraining`: with the statistics of this batch. */
  #hidden(N: number, isTraining: boolean, weights: Record<string, Matrix>): Matrix {
    const { memory } = this;
    const { kernel } = memory;
    memory.linear(this.z, weights[weightOf(0)], weights[biasOf(0)], this.#first.y, N);
    kernel.leaky(this.#first.y.address, this.#first.y.stride, WIDTHS[0], N, SLOPE);
    let before = this.#first.y;
    this.#norms.forEach(({ x, y, roots, mean, variance }, k) => {
      const layer = NORMED[k];
      memory.linear(before, weights[weightOf(layer)], weights[biasOf(layer)], x, N);
      const [gamma, beta] = [weights[weightOf(layer + 1)], weights[biasOf(layer + 1)]];
      if (isTraining)
        kernel.normForward(
          ...[x.address, x.stride, y.address, y.stride, y.rows, N, gamma.address, beta.address, this.eps],
          ...[roots.address, mean.address, variance.address, SLOPE],
        );
      else {
        const [m, v] = ["mean", "var"].map((name) => weights[`layers.${layer + 1}.running_${name}`].values);
        const [scale, shift] = [new Float32Array(y.rows), new Float32Array(y.rows)];
        for (let r = 0; r < y.rows; r++) {
          scale[r] = gamma.values[r] / Math.sqrt(v[r] + this.eps);
          shift[r] = beta.values[r] - m[r] * scale[r];
        }
        this.#room.values.set(scale);
        this.#room.values.set(shift, y.rows);
        const at = this.#room.address;
        kernel.affineLeaky(x.address, x.stride, y.address, y.stride, y.rows, N, at, at + 4 * y.rows, SLOPE);
      }
      before = y;
    });
    return before;
  }

  /** The first rows of the images, from what the last layer reads. */
  #paint(x: Matrix, N: number, weights: Record<string, Matrix>, rows: number): Matrix {
    const images = this.images.part(0, rows);
    this.memory.linear(x, weights[weightOf(LAST)].part(0, rows), weights[biasOf(LAST)], images, N);
    this.memory.kernel.tanhForward(images.address, images.stride, rows, N);
    return images;
  }

  /** Makes an update of D, and of G if it learns, from latents that are written already; `meanwhile` fills a wait. */
  async step({ bytes, withG, areExchanged, r1, rate, beta1 }: Step, meanwhile: () => void): Promise<StepResult> {
    const { partner, w } = this;
    const { hidden, images, weight } = this.#sent;
    const N = bytes.length / this.images.rows;
    void partner("real", bytes);
    const x = this.#hidden(N, true, w);
    const painted = partner("paint", x.read(N, hidden));
    this.#paint(x, N, w, ownRows(this.images.rows)).read(N, images);
    const fake = partner("fake", { images, withG, areExchanged });
    const last = withG && partner("learnLast", { weight, rate, beta1 });
    const before = this.#learned;
    this.#learned = partner("learn", { r1, rate, beta1 });
    this.G.clearGradients();
    meanwhile();
    const [read, { images: gradients, result }] = await Promise.all([painted, fake, before]);
    Object.assign(this.#sent, { hidden: read, images: gradients });
    if (!last) return result;
    this.#dImages.write(gradients, N);
    this.#backward(N);
    this.G.adam(rate, beta1);
    const learned = await last;
    this.#sent.weight = learned.weight;
    writeAll(this.last, { [weightOf(LAST)]: learned.weight, [biasOf(LAST)]: learned.bias });
    return result;
  }

  #backward(N: number) {
    const { memory, G } = this;
    const first = this.#first;
    let [dy, W, layer] = [this.#dImages, this.last[weightOf(LAST)], LAST];
    [...this.#norms].reverse().forEach(({ x, y, d, roots }, k) => {
      if (k > 0) memory.linearGradient(dy, y, G.g[weightOf(layer)], G.g[biasOf(layer)], this.#room, N);
      memory.inputGradient(dy, W, d, N);
      layer = NORMED[2 - k];
      W = G.w[weightOf(layer)];
      const [gamma, dGamma, dBeta] = [G.w[weightOf(layer + 1)], G.g[weightOf(layer + 1)], G.g[biasOf(layer + 1)]];
      memory.kernel.normBackward(
        ...[d.address, d.stride, x.address, x.stride, y.address, y.stride, y.rows, N],
        ...[gamma.address, roots.address, dGamma.address, dBeta.address, SLOPE],
      );
      dy = d;
    });
    memory.linearGradient(dy, first.y, G.g[weightOf(layer)], G.g[biasOf(layer)], this.#room, N);
    memory.inputGradient(dy, W, first.d, N);
    memory.kernel.leakyBackward(first.d.address, first.d.stride, first.y.address, first.y.stride, WIDTHS[0], N, SLOPE);
    memory.linearGradient(first.d, this.z, G.g[weightOf(0)], G.g[biasOf(0)], this.#room, N);
  }
}
