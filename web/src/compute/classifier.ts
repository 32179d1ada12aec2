/**
 * The convolutional classifier of generated images.
 *
 * A layer reads its input as [H + 2, W + 2, C], with a border of zeros and the channels last: the 3 × 3 pixels around one
 * are then 3 pieces of 3·C numbers, which the kernel takes as they are. C is padded to a multiple of 4.
 */
import type { ClassifierSpec } from "../kit/manifest";
import { softmax } from "../kit/math";
import { readTensors, row, size } from "../kit/tensors";
import { newMemory, pad, type Matrix, type Memory } from "./kernel";
import { CHUNK, Mlp } from "./mlp";

/** A convolution, ReLU and max pooling. */
interface Convolution {
  x: Matrix; // Input [H + 2, (W + 2) · C]
  W: Matrix; // [O, 9 · C]
  b: Matrix;
  y: Matrix; // Output before the pooling [H · W, O]
  channels: number; // C, padded
  height: number;
  width: number;
  slope: number;
}

export class Classifier {
  readonly convolutions: Convolution[];
  readonly head: Mlp; // Of the output of the last pooling [h, w, C]

  constructor(
    readonly spec: ClassifierSpec,
    tensors: Record<string, Float32Array>,
    readonly memory: Memory,
  ) {
    let [channels, height, width] = spec.imageShape;
    this.convolutions = spec.convolutions.map(({ weight, bias, activation }) => {
      const outputs = tensors[bias].length;
      const convolution = {
        x: memory.matrix(height + 2, (width + 2) * pad(channels)),
        W: memory.weights(channelsLast(tensors[weight], outputs, channels, 9), outputs),
        b: memory.bias(tensors[bias]),
        y: memory.matrix(height * width, outputs),
        channels: pad(channels),
        height,
        width,
        slope: activation === "relu" ? 0 : 1,
      };
      [channels, height, width] = [outputs, height >> 1, width >> 1];
      return convolution;
    });
    const { weight, bias } = spec.layers[0];
    const reordered = channelsLast(tensors[weight], tensors[bias].length, channels, height * width);
    const weights = { ...tensors, [weight]: reordered };
    this.head = new Mlp({ layers: spec.layers, negativeSlope: 0 }, weights, memory);
  }

  static load = async (spec: ClassifierSpec) =>
    new Classifier(spec, await readTensors(spec.weights), await newMemory());

  /** Returns the class probabilities [N, K] of images [N, C, H, W] in [-1, 1]. */
  probabilities(images: Float32Array): Float32Array {
    const pixels = size(this.spec.imageShape);
    const { x, outputs } = this.head;
    const count = images.length / pixels;
    const logits = new Float32Array(count * outputs);
    for (let start = 0; start < count; start += CHUNK) {
      const end = Math.min(start + CHUNK, count);
      for (let n = start; n < end; n++) {
        this.#writeImage(row(images, n, pixels));
        this.convolutions.forEach((convolution, index) => {
          this.#convolve(convolution);
          const next = this.convolutions[index + 1]?.x;
          // Behind the border, the first pixel is in the second row and the second column.
          if (next) maxPool(convolution, next.values, next.stride + convolution.y.stride, next.stride);
          else maxPool(convolution, row(x.values, n - start, x.stride));
        });
      }
      this.head.compute(end - start, logits.subarray(start * outputs, end * outputs));
    }
    return softmax(logits, outputs);
  }

  #writeImage(image: Float32Array) {
    const { x, channels, height, width } = this.convolutions[0];
    const { values, stride } = x;
    const plane = height * width;
    for (let c = 0; c * plane < image.length; c++)
      for (let i = 0; i < height; i++)
        for (let j = 0; j < width; j++)
          values[(i + 1) * stride + (j + 1) * channels + c] = image[c * plane + i * width + j];
  }

  #convolve({ x, W, b, y, channels, height, width, slope }: Convolution) {
    const length = 3 * channels;
    for (let i = 0; i < height; i++) {
      const rows = { count: width, start: i * x.stride, stride: channels, length, pieces: 3, gap: x.stride - length };
      this.memory.linear(x, rows, W, b, y, slope, i * width);
    }
  }
}

/** Reorders weights [O, C, positions] to [O, positions, C], with C padded to a multiple of 4. */
function channelsLast(values: Float32Array, outputs: number, channels: number, positions: number): Float32Array {
  const padded = pad(channels);
  const reordered = new Float32Array(outputs * positions * padded);
  for (let o = 0; o < outputs; o++)
    for (let c = 0; c < channels; c++)
      for (let k = 0; k < positions; k++)
        reordered[(o * positions + k) * padded + c] = values[(o * channels + c) * positions + k];
  return reordered;
}

/** Takes the maximum of each 2 × 2 pixels, into `target` from `begin`, in rows of `targetStride`. */
function maxPool({ y, height, width }: Convolution, target: Float32Array, begin = 0, targetStride = 0) {
  const source = y.values;
  const { stride } = y;
  const [rows, columns] = [height >> 1, width >> 1];
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) {
      const from = (2 * i * width + 2 * j) * stride;
      const to = begin + i * (targetStride || columns * stride) + j * stride;
      const below = from + width * stride;
      for (let c = 0; c < stride; c++) {
        const upper = Math.max(source[from + c], source[from + stride + c]);
        target[to + c] = Math.max(upper, source[below + c], source[below + stride + c]);
      }
    }
}
