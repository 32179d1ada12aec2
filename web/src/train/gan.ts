/**
 * The two networks of the GAN in training, as `reviver.gan.networks` and `reviver.gan.step`.
 *
 *     G: z → Linear 128 → LeakyReLU → (Linear 256 → BatchNorm → LeakyReLU), the same with 512 and 1024 → Linear P → tanh
 *     D: image → Linear 512 → LeakyReLU → Linear 256 → LeakyReLU → Linear 1
 *
 * Shapes: N images, a multiple of 8; Z latent size, P pixels. Activations are [features, N]; D reads N real images and, in the
 * columns after them, the N that G made.
 */
import type { Matrix, Memory } from "../compute/memory";
import type { Rng } from "../compute/random";
import {
  biasOf,
  D_LAYERS,
  D_WIDTHS,
  discriminatorShapes,
  generatorShapes,
  LAST,
  NORMED,
  SLOPE,
  weightOf,
  WIDTHS,
} from "./gan_layers";
import { type Centering, center } from "./inputs";
import { discriminatorLoss, generatorLoss } from "./losses";
import { Weights } from "./weights";

export interface StepResult {
  generatorLoss: number;
  discriminatorLoss: number;
  realLogits: Float32Array<ArrayBuffer>;
  fakeLogits: Float32Array<ArrayBuffer>;
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

export class GanNetworks {
  readonly G: Weights;
  readonly D: Weights;
  /** Running mean and variance of BatchNorm, by name as in torch. */
  readonly running: Record<string, Matrix> = {};
  readonly z: Matrix;
  readonly #first: { y: Matrix; d: Matrix };
  readonly #norms: Norm[];
  readonly images: Matrix; // Real and generated images
  readonly #inputs: Matrix; // What D sees of them
  readonly #dImages: Matrix;
  readonly #hidden: { y: Matrix; d: Matrix }[];
  readonly #logits: Matrix;
  readonly #room: Matrix;
  readonly #mean: Matrix | null = null;

  constructor(
    readonly memory: Memory,
    readonly latentSize: number,
    readonly pixels: number,
    readonly batchSize: number, // Largest N, at least 32
    public eps: number,
    readonly centering: Centering | null,
  ) {
    this.G = new Weights(memory, generatorShapes(latentSize, pixels));
    this.D = new Weights(memory, discriminatorShapes(pixels));
    const N = batchSize;
    const pair = (rows: number, columns: number) => ({
      y: memory.matrix(rows, columns),
      d: memory.matrix(rows, columns),
    });
    this.z = memory.matrix(latentSize, N);
    this.#first = pair(WIDTHS[0], N);
    this.#norms = NORMED.map((layer, k) => {
      const rows = WIDTHS[k + 1];
      const [roots, mean, variance] = [0, 0, 1].map((value) => {
        const row = memory.matrix(1, rows);
        row.values.fill(value, 0, rows);
        return row;
      });
      this.running[`layers.${layer + 1}.running_mean`] = mean;
      this.running[`layers.${layer + 1}.running_var`] = variance;
      return { x: memory.matrix(rows, N), ...pair(rows, N), roots, mean, variance };
    });
    [this.images, this.#dImages] = [memory.matrix(pixels, 2 * N), memory.matrix(pixels, N)];
    this.#inputs = centering ? memory.matrix(pixels, 2 * N) : this.images;
    if (centering) this.#mean = memory.matrix(1, pixels, centering.mean);
    this.#hidden = D_WIDTHS.map((rows) => pair(rows, 2 * N));
    this.#logits = memory.matrix(1, 2 * N);
    this.#room = memory.matrix(2 * N, WIDTHS[3] + 32);
  }

  /** New weights as torch's: of G and then of D, in the order of their layers. */
  initialize(rng: Rng) {
    const linear = ({ w }: Weights, layer: number) => {
      const { columns, rows } = w[weightOf(layer)];
      const { weight, bias } = rng.linear(columns, rows);
      w[weightOf(layer)].write(weight);
      w[biasOf(layer)].write(bias);
    };
    for (const layer of [0, ...NORMED, LAST]) linear(this.G, layer);
    for (const layer of D_LAYERS) linear(this.D, layer);
    for (const layer of NORMED) this.G.w[weightOf(layer + 1)].values.fill(1, 0, this.G.w[weightOf(layer + 1)].columns);
  }

  /** Makes N images of the latents, into `images` from a column on. `isTraining`: with the statistics of this batch. */
  generate(N: number, column: number, isTraining: boolean, weights = this.G.w, running = this.running) {
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
        const [m, v] = ["mean", "var"].map((name) => running[`layers.${layer + 1}.running_${name}`].values);
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
    const images = this.images.from(column);
    memory.linear(before, weights[weightOf(LAST)], weights[biasOf(LAST)], images, N);
    kernel.tanhForward(images.address, images.stride, this.pixels, N);
  }

  #discriminate(columns: number) {
    const { memory, D } = this;
    [this.#inputs, ...this.#hidden.map(({ y }) => y)].forEach((x, k) => {
      const y = k < 2 ? this.#hidden[k].y : this.#logits;
      memory.linear(x, D.w[weightOf(D_LAYERS[k])], D.w[biasOf(D_LAYERS[k])], y, columns);
      if (k < 2) memory.kernel.leaky(y.address, y.stride, y.rows, columns, SLOPE);
    });
  }

  /** The way back through D from gradients of the logits, in the columns from `first` on, to those of its hidden layers. */
  #backward(gradients: Float64Array, first: number) {
    const { memory, D } = this;
    const columns = gradients.length;
    this.#logits.from(first).values.set(gradients);
    let [dy, layer] = [this.#logits.from(first), 2];
    for (const { y, d } of [...this.#hidden].reverse()) {
      const [dx, x] = [d.from(first), y.from(first)];
      memory.inputGradient(dy, D.w[weightOf(D_LAYERS[layer--])], dx, columns);
      memory.kernel.leakyBackward(dx.address, dx.stride, x.address, x.stride, x.rows, columns, SLOPE);
      dy = dx;
    }
    return dy;
  }

  /**
   * Computes the gradients of both networks, of G only if `withG`, from N real images and latents that are written already.
   * `areExchanged`: D learns to call the generated images real.
   */
  step(N: number, withG: boolean, r1 = 0, areExchanged = false): StepResult {
    const { memory, D, G } = this;
    D.clearGradients();
    this.generate(N, N, true);
    const { centering } = this;
    if (centering) center(memory, this.images, this.#inputs, 2 * N, this.#mean!, centering.scale);
    this.#discriminate(2 * N);
    const realLogits = this.#logits.values.slice(0, N);
    const fakeLogits = this.#logits.values.slice(N, 2 * N);
    const ofG = generatorLoss(fakeLogits);
    const ofD = discriminatorLoss(realLogits, fakeLogits, areExchanged);
    if (withG) {
      G.clearGradients();
      const dy = this.#backward(ofG.gradients, N);
      memory.inputGradient(dy, D.w[weightOf(0)], this.#dImages, N);
      if (centering) memory.kernel.scale(this.#dImages.address, this.#dImages.end, centering.scale);
      this.#backwardG(N);
    }
    this.#backward(ofD.gradients, 0);
    [this.#inputs, ...this.#hidden.map(({ y }) => y)].forEach((x, k) => {
      const dy = k < 2 ? this.#hidden[k].d : this.#logits;
      memory.linearGradient(dy, x, D.g[weightOf(D_LAYERS[k])], D.g[biasOf(D_LAYERS[k])], this.#room, 2 * N);
    });
    if (r1 > 0) this.#addR1(N, r1);
    return { generatorLoss: ofG.loss, discriminatorLoss: ofD.loss, realLogits, fakeLogits };
  }

  #backwardG(N: number) {
    const { memory, G } = this;
    const { kernel } = memory;
    const [first, dImages, images] = [this.#first, this.#dImages, this.images.from(N)];
    kernel.tanhBackward(dImages.address, dImages.stride, images.address, images.stride, this.pixels, N);
    let [dy, layer] = [dImages, LAST];
    [...this.#norms].reverse().forEach(({ x, y, d, roots }, k) => {
      memory.linearGradient(dy, y, G.g[weightOf(layer)], G.g[biasOf(layer)], this.#room, N);
      memory.inputGradient(dy, G.w[weightOf(layer)], d, N);
      layer = NORMED[2 - k];
      const [gamma, dGamma, dBeta] = [G.w[weightOf(layer + 1)], G.g[weightOf(layer + 1)], G.g[biasOf(layer + 1)]];
      kernel.normBackward(
        ...[d.address, d.stride, x.address, x.stride, y.address, y.stride, y.rows, N],
        ...[gamma.address, roots.address, dGamma.address, dBeta.address, SLOPE],
      );
      dy = d;
    });
    memory.linearGradient(dy, first.y, G.g[weightOf(layer)], G.g[biasOf(layer)], this.#room, N);
    memory.inputGradient(dy, G.w[weightOf(layer)], first.d, N);
    kernel.leakyBackward(first.d.address, first.d.stride, first.y.address, first.y.stride, WIDTHS[0], N, SLOPE);
    memory.linearGradient(first.d, this.z, G.g[weightOf(0)], G.g[biasOf(0)], this.#room, N);
  }

  /**
   * Adds the gradient of R1, γ/2 E ‖g‖² with g = W₁ᵀ u₁, u₁ = s₁ ⊙ W₂ᵀ u₂, u₂ = s₂ ⊙ w₃ at the real images. The slopes s of
   * LeakyReLU do not change with the weights, so this is a linear network. Centering puts s before W₁.
   */
  #addR1(N: number, gamma: number) {
    const { memory, D } = this;
    const { kernel } = memory;
    const [W1, W2] = [D.w[weightOf(0)], D.w[weightOf(2)]];
    const u1 = this.#backward(new Float64Array(N).fill(1), 0);
    const u2 = this.#hidden[1].d;
    const g = this.#dImages;
    memory.inputGradient(u1, W1, g, N);
    kernel.scale(g.address, g.end, (gamma * (this.centering?.scale ?? 1) ** 2) / N);
    memory.productTransposed(u1, g, D.g[weightOf(0)], this.#room, N);
    const d1 = this.#hidden[0].d.from(N); // free by now
    const d2 = this.#hidden[1].d.from(N);
    const through = (x: Matrix, W: Matrix, d: Matrix, y: Matrix) => {
      d.clear(N);
      memory.product(W, x, d, N);
      kernel.leakyBackward(d.address, d.stride, y.address, y.stride, y.rows, N, SLOPE);
    };
    through(g, W1, d1, this.#hidden[0].y);
    memory.productTransposed(u2, d1, D.g[weightOf(2)], this.#room, N);
    through(d1, W2, d2, this.#hidden[1].y);
    memory.rowSums(d2, D.g[weightOf(4)], N);
  }
}
