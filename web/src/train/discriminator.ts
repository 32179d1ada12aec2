/**
 * D of the GAN in training, and the last layer of G, as `reviver.gan.networks` and `reviver.gan.step`.
 *
 *     D: image → Linear 512 → LeakyReLU → Linear 256 → LeakyReLU → Linear 1
 *
 * An update asks for `real`, `paint`, `fake`, `learnLast` if G learns, and `learn`, in this order; a second worker does these
 * while G computes (partner.ts). Shapes: N images, a multiple of 8; P pixels. Activations are [features, N]; D reads N real images and, in
 * the columns after them, the N that G made.
 */
import { Memory, type Matrix } from "../compute/memory";
import {
  biasOf,
  D_LAYERS,
  D_WIDTHS,
  discriminatorShapes,
  LAST,
  lastShapes,
  ownRows,
  SLOPE,
  weightOf,
  WIDTHS,
} from "./gan_layers";
import { BYTE_VALUES, type Centering, center } from "./inputs";
import { discriminatorLoss, generatorLoss } from "./losses";
import { type SavedWeights, Weights } from "./weights";

type Floats = Float32Array<ArrayBuffer>;

export interface DiscriminatorStart {
  pixels: number;
  batchSize: number; // Largest N, at least 32
  centering: Centering | null;
  G: SavedWeights;
  D: SavedWeights;
}

export interface StepResult {
  generatorLoss: number;
  discriminatorLoss: number;
  realLogits: Floats;
  fakeLogits: Floats;
}

/** Of Adam. */
export interface Rates {
  rate: number;
  beta1: number;
}

export class Discriminator {
  readonly D: Weights;
  readonly last: Weights;
  readonly #images: Matrix; // Real and generated images
  readonly #inputs: Matrix; // What D sees of them
  readonly #dImages: Matrix;
  readonly #hidden: { y: Matrix; d: Matrix }[];
  readonly #logits: Matrix;
  readonly #ofG: Matrix; // What the last layer of G reads
  readonly #room: Matrix;
  readonly #mean: Matrix | null;
  #count = 0; // N
  #gradients = new Float64Array(); // Of D's loss, with respect to the logits

  private constructor(
    readonly memory: Memory,
    { pixels, batchSize: N, centering, G, D }: DiscriminatorStart,
    readonly scale = centering?.scale ?? 1,
  ) {
    this.D = new Weights(memory, discriminatorShapes(pixels));
    this.last = new Weights(memory, lastShapes(pixels));
    this.#ofG = memory.matrix(WIDTHS[3], N);
    [this.#images, this.#dImages] = [memory.matrix(pixels, 2 * N), memory.matrix(pixels, N)];
    this.#inputs = centering ? memory.matrix(pixels, 2 * N) : this.#images;
    this.#mean = centering && memory.matrix(1, pixels, centering.mean);
    this.#hidden = D_WIDTHS.map((rows) => ({ y: memory.matrix(rows, 2 * N), d: memory.matrix(rows, 2 * N) }));
    this.#logits = memory.matrix(1, 2 * N);
    this.#room = memory.matrix(2 * N, WIDTHS[3] + 32);
    this.D.restore(D);
    this.last.restore(G);
  }

  static create = async (start: DiscriminatorStart) => new Discriminator(await Memory.create(), start);

  save = () => ({ D: this.D.save(), last: this.last.save() });

  /** Takes real images in bytes [N, P]. */
  real(bytes: Uint8Array) {
    const { values, width, rows } = this.#images;
    const N = (this.#count = bytes.length / rows);
    for (let p = 0; p < rows; p++) for (let n = 0; n < N; n++) values[p * width + n] = BYTE_VALUES[bytes[n * rows + p]];
    this.#discriminate(0);
  }

  /** Makes the last rows of the generated images from what the last layer of G reads, [1024, N]. */
  paint(hidden: Floats) {
    const { memory, last } = this;
    const N = this.#count;
    this.#ofG.write(hidden, N);
    const fakes = this.#images.from(N);
    const first = ownRows(fakes.rows);
    const [y, W] = [fakes, last.w[weightOf(LAST)]].map((one) => one.part(first, fakes.rows - first));
    memory.linear(this.#ofG, W, last.w[biasOf(LAST)].from(first), y, N);
    memory.kernel.tanhForward(y.address, y.stride, y.rows, N);
    return hidden;
  }

  /** Some images that the last update has generated, [count, P]. */
  generated = (count: number) => this.#images.readColumns(Math.min(this.#count, count), this.#count);

  /**
   * Takes the first rows of the generated images [P, N]; the buffer comes back with the gradients of G's loss before tanh, if G
   * learns. `areExchanged`: D learns to call the images real.
   */
  fake({ images, withG, areExchanged }: { images: Floats; withG: boolean; areExchanged: boolean }) {
    const { memory, scale } = this;
    const N = this.#count;
    const fakes = this.#images.from(N);
    fakes.part(0, ownRows(fakes.rows)).write(images, N);
    this.#discriminate(N);
    const realLogits = this.#logits.values.slice(0, N);
    const fakeLogits = this.#logits.values.slice(N, 2 * N);
    const ofG = generatorLoss(fakeLogits);
    const ofD = discriminatorLoss(realLogits, fakeLogits, areExchanged);
    this.#gradients = ofD.gradients;
    if (withG) {
      const d = this.#dImages;
      memory.inputGradient(this.#backward(ofG.gradients, N), this.D.w[weightOf(0)], d, N);
      if (this.#mean) memory.kernel.scale(d.address, d.end, scale);
      memory.kernel.tanhBackward(d.address, d.stride, fakes.address, fakes.stride, d.rows, N);
      d.read(N, images);
    }
    const result: StepResult = {
      ...{ generatorLoss: ofG.loss, discriminatorLoss: ofD.loss },
      ...{ realLogits, fakeLogits },
    };
    return { images, result };
  }

  /** Updates the last layer of G; its weights are written into a buffer. */
  learnLast({ weight, rate, beta1 }: { weight: Floats } & Rates) {
    const { w, g } = this.last;
    this.last.clearGradients();
    const [dWeight, dBias] = [g[weightOf(LAST)], g[biasOf(LAST)]];
    this.memory.linearGradient(this.#dImages, this.#ofG, dWeight, dBias, this.#room, this.#count);
    this.last.adam(rate, beta1);
    const { rows, columns } = w[weightOf(LAST)];
    return { weight: w[weightOf(LAST)].read(columns, weight), bias: w[biasOf(LAST)].read(rows) };
  }

  /** Updates D; `r1` is the weight of its penalty. */
  learn({ r1, rate, beta1 }: { r1: number } & Rates) {
    const { memory, D } = this;
    D.clearGradients();
    this.#backward(this.#gradients, 0);
    [this.#inputs, ...this.#hidden.map(({ y }) => y)].forEach((x, k) => {
      const dy = k < 2 ? this.#hidden[k].d : this.#logits;
      const [dWeight, dBias] = [D.g[weightOf(D_LAYERS[k])], D.g[biasOf(D_LAYERS[k])]];
      memory.linearGradient(dy, x, dWeight, dBias, this.#room, 2 * this.#count);
    });
    if (r1 > 0) this.#addR1(this.#count, r1);
    D.adam(rate, beta1);
  }

  /** The logits of the images from column `first` on. */
  #discriminate(first: number) {
    const { memory, D } = this;
    const N = this.#count;
    const [images, inputs, logits] = [this.#images, this.#inputs, this.#logits].map((one) => one.from(first));
    if (this.#mean) center(memory, images, inputs, N, this.#mean, this.scale);
    [inputs, ...this.#hidden.map(({ y }) => y.from(first))].forEach((x, k, all) => {
      const y = all[k + 1] ?? logits;
      memory.linear(x, D.w[weightOf(D_LAYERS[k])], D.w[biasOf(D_LAYERS[k])], y, N);
      if (k < 2) memory.kernel.leaky(y.address, y.stride, y.rows, N, SLOPE);
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
    kernel.scale(g.address, g.end, (gamma * this.scale ** 2) / N);
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
