/** Layers of the GAN, by their numbers in torch's Sequential: the first of G, those with BatchNorm after them, and the last. */
import type { Shapes } from "./weights";

export const WIDTHS = [128, 256, 512, 1024];
export const D_WIDTHS = [512, 256];
/** Of LeakyReLU, below 0. */
export const SLOPE = 0.2;
export const NORMED = [2, 5, 8];
export const LAST = 11;
export const D_LAYERS = [0, 2, 4];

export const weightOf = (layer: number) => `layers.${layer}.weight`;
export const biasOf = (layer: number) => `layers.${layer}.bias`;

const linear = (layer: number, inputs: number, outputs: number): Shapes => ({
  [weightOf(layer)]: [outputs, inputs],
  [biasOf(layer)]: [outputs],
});

export const frontShapes = (latentSize: number): Shapes =>
  Object.assign(
    linear(0, latentSize, WIDTHS[0]),
    ...NORMED.map((layer, k) => ({
      ...linear(layer, WIDTHS[k], WIDTHS[k + 1]),
      [weightOf(layer + 1)]: [WIDTHS[k + 1]],
      [biasOf(layer + 1)]: [WIDTHS[k + 1]],
    })),
  );

export const lastShapes = (pixels: number) => linear(LAST, WIDTHS[3], pixels);

export const generatorShapes = (latentSize: number, pixels: number): Shapes => ({
  ...frontShapes(latentSize),
  ...lastShapes(pixels),
});

export const discriminatorShapes = (pixels: number): Shapes => {
  const sizes = [pixels, ...D_WIDTHS, 1];
  return Object.assign({}, ...D_LAYERS.map((layer, k) => linear(layer, sizes[k], sizes[k + 1])));
};

/** Names of the running statistics of BatchNorm, and their shapes. */
export const RUNNING: Shapes = Object.assign(
  {},
  ...NORMED.map((layer, k) => ({
    [`layers.${layer + 1}.running_mean`]: [WIDTHS[k + 1]],
    [`layers.${layer + 1}.running_var`]: [WIDTHS[k + 1]],
  })),
);

/** Rows of the images that G's worker makes; the partner makes those after them. */
export const ownRows = (pixels: number) => 8 * Math.floor(pixels / 16);
