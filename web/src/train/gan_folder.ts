/** What the run folder of a GAN holds, see run_files.ts. */
import type { GanSaved, Images } from "./gan_run";
import { NORMED } from "./gan_layers";
import { generatorState, renamed, type Python, type RunFiles } from "./run_files";
import { sha256Hex } from "./sha256";
import { join, textBytes, type Tensor } from "./zip";

const PARTS = { G: "generator", D: "discriminator" } as const;

/** Name of the file with images that only the page has. */
const IMAGES = "images";

/** What the run in a folder `name` holds. */
export function ganFiles(saved: GanSaved, images: Images, name: string, { ganConfig }: Python): RunFiles {
  const { step, epoch, generatorSteps, seconds } = saved;
  const { labels, ...settings } = saved.settings;
  if (labels === "exchanged") throw new Error("Python has no exchanged labels, so it cannot go on with this run");
  const { history, lines } = saved.log;
  const networks: Record<string, Tensor> = {};
  const training: Record<string, Tensor> = {
    "generator/noise": generatorState(saved.noise),
    "tensor/history": [history, [history.length / 4, 4]],
  };
  const shapes = { G: shapesOf(saved.G.w), D: shapesOf(saved.D.w) };
  const addG = (name: string, tensors: Record<string, Float32Array<ArrayBuffer>>, batches: number) => {
    for (const [key, values] of Object.entries(tensors))
      networks[`${name}/${key}`] = [values, shapes.G[key] ?? [values.length]];
    for (const layer of NORMED)
      networks[`${name}/layers.${layer + 1}.num_batches_tracked`] = [BigInt64Array.of(BigInt(batches)), []];
  };
  addG("generator", { ...saved.G.w, ...saved.running }, step);
  if (saved.average) addG("average", saved.average, 0);
  for (const [key, values] of Object.entries(saved.D.w)) networks[`discriminator/${key}`] = [values, shapes.D[key]];
  for (const part of ["G", "D"] as const) {
    const steps = part === "G" ? generatorSteps : step;
    Object.keys(steps ? saved[part].w : {}).forEach((key, k) => {
      const at = `optimizer/${PARTS[part]}/${k}`;
      training[`${at}/step`] = [Float32Array.of(steps), []];
      training[`${at}/exp_avg`] = [saved[part].m[key], shapes[part][key]];
      training[`${at}/exp_avg_sq`] = [saved[part].v[key], shapes[part][key]];
    });
  }
  const count = images.bytes.length / images.size ** 2;
  const shape = [1, images.size, images.size];
  const source = images.source ?? `${name}/${IMAGES}.npy`;
  return {
    ...{ kind: "gan", isFinished: epoch >= settings.epochs, metrics: lines, networks, training },
    record: {
      config: { ...ganConfig, ...renamed(settings), data: source, image_size: images.size },
      data: { name: images.source ?? IMAGES, num_images: count, image_shape: shape, sha256: sha256Hex(images.bytes) },
      seconds,
    },
    position: { epoch, batch: Math.round(saved.position / settings.batchSize), step },
    extra: {},
    files: images.source === null ? { [`${IMAGES}.npy`]: npy(images.bytes, [count, ...shape]) } : {},
  };
}

/** Returns bytes as NumPy saves them. */
function npy(bytes: Uint8Array, shape: number[]): Uint8Array<ArrayBuffer> {
  const text = `{'descr': '|u1', 'fortran_order': False, 'shape': (${shape.join(", ")}), }`;
  const header = textBytes(`${text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11)}\n`);
  const magic = Uint8Array.of(0x93, ...textBytes("NUMPY"), 1, 0, header.length & 255, header.length >> 8);
  return join(magic, header, bytes);
}

/** Shapes as torch has them: [O, I] of weights, of which the bias tells O, and [O] of vectors. */
const shapesOf = (weights: Record<string, Float32Array>): Record<string, number[]> =>
  Object.fromEntries(
    Object.entries(weights).map(([name, { length }]) => {
      const outputs = weights[name.replace("weight", "bias")].length;
      return [name, length === outputs ? [outputs] : [outputs, length / outputs]];
    }),
  );
