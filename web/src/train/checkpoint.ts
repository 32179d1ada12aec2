/** Tensors of a checkpoint: weights with the state of their optimizer, and random number generators, both ways. */
import type { RngState } from "../compute/random";
import type { Tensor, Tensors } from "./safetensors";
import { BETA2, type Floats, type SavedWeights, type Shapes } from "./weights";

/** How Python keeps the weights of a network: those of the page by name, in the order of its parameters. */
export interface Layout {
  part: string; // Name of the network, and of its optimizer
  shapes: Shapes;
  names?: Record<string, string>; // Names there, where they differ
  /** Names of the optimizer's means there: of the squared gradients, and of the gradients. */
  means: { v: string; m?: string };
}

type MeanNames = [mean: "v" | "m", theirs: string][];

/** Adds the weights and, after the first update, the state of the optimizer. */
export function writeWeights(
  tensors: Record<string, Tensor>,
  { part, shapes, names = {}, means }: Layout,
  weights: SavedWeights,
  steps: number,
) {
  Object.entries(shapes).forEach(([name, shape], k) => {
    tensors[`networks/${part}/${names[name] ?? name}`] = [weights.w[name], shape];
    const at = `optimizers/${part}/${k}`;
    if (steps) tensors[`${at}/step`] = [Float32Array.of(steps), []];
    for (const [mean, theirs] of steps ? (Object.entries(means) as MeanNames) : [])
      tensors[`${at}/${theirs}`] = [weights[mean][name], shape];
  });
}

export function readWeights(
  tensors: Tensors,
  { part, shapes, names = {}, means }: Layout,
  steps: number,
  beta1: number,
): SavedWeights {
  const weights: SavedWeights = { w: {}, v: {}, m: {}, powers: [power(beta1, steps), power(BETA2, steps)] };
  Object.entries(shapes).forEach(([name, shape], k) => {
    weights.w[name] = tensors.floats(`networks/${part}/${names[name] ?? name}`, shape);
    for (const [mean, theirs] of steps ? (Object.entries(means) as MeanNames) : [])
      weights[mean][name] = tensors.floats(`optimizers/${part}/${k}/${theirs}`, shape);
  });
  return weights;
}

export const tensorsOf = (part: string, shapes: Shapes, values: Floats): Record<string, Tensor> =>
  Object.fromEntries(Object.entries(values).map(([name, one]) => [`networks/${part}/${name}`, [one, shapes[name]]]));

export const readTensors = (tensors: Tensors, part: string, shapes: Shapes): Floats =>
  Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [name, tensors.floats(`networks/${part}/${name}`, shape)]),
  );

/** The state of torch's generator, as `torch.Generator.get_state` gives it. */
export function generatorState({ state, next }: RngState): Tensor {
  const view = new DataView(new ArrayBuffer(5056));
  view.setInt32(8, next === 624 ? 1 : 625 - next, true); // numbers left, counted from 1
  view.setInt32(12, 1, true); // is seeded
  view.setInt32(16, next, true);
  state.forEach((value, k) => view.setInt32(24 + 8 * k, value, true));
  return [new Uint8Array(view.buffer), [5056]];
}

export function readGenerator(tensors: Tensors, name: string): RngState {
  const view = new DataView(tensors.read(`rngs/${name}`, [5056]).buffer);
  const left = view.getInt32(8, true);
  if (left < 1 || left > 624) throw new Error(`the state of the generator ${name} is damaged`);
  const state = Int32Array.from({ length: 624 }, (_, k) => view.getInt32(24 + 8 * k, true));
  return { state, next: left === 1 ? 624 : 625 - left };
}

/** βᵗ, as training multiplies it. Rounding holds tiny products in place, where `steps`, from a file, may be any number. */
function power(beta: number, steps: number): number {
  let product = 1;
  for (let t = 0; t < steps; t++) {
    const next = product * beta;
    if (Math.abs(next) === Math.abs(product)) break;
    product = next;
  }
  return product;
}
