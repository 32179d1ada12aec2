/** What the run folder of a GAN holds, see run_files.ts. */
import { discriminatorShapes, generatorShapes, NORMED, RUNNING, torchShape } from "./gan_layers";
import type { GanSaved, Images } from "./gan_run";
import { imagesFile, readImagesFile } from "./npy";
import {
  generatorState,
  lineOf,
  power,
  readGenerator,
  readSettings,
  renamed,
  type Python,
  type RunFiles,
  type RunRead,
} from "./run_files";
import { checkSettings, GAN_BOUNDS, GAN_ORIGINAL } from "./settings";
import { sha256Hex } from "./random";
import type { Tensor } from "./safetensors";

const PARTS = { G: "generator", D: "discriminator" } as const;
/** Means of Adam there. */
const MEANS = { m: "exp_avg", v: "exp_avg_sq" } as const;
/** Python's settings that do not change what a run of the page learns. */
const FREE = [
  ...["data", "image_size", "sample_every", "eval_every", "eval_samples", "extractor", "log_every"],
  ...["checkpoint_every", "keep_checkpoints", "on_nan", "max_rollbacks"],
];
/** Keys of a line of metrics. */
const LINE = [
  ...(["step", "epoch", "generatorLoss", "discriminatorLoss", "probabilityReal", "probabilityFake"] as const),
];
/** Name of the file with images that only the page has. */
const IMAGES = "images";

const shapesOf = (latentSize: number, pixels: number) => ({
  G: generatorShapes(latentSize, pixels),
  D: discriminatorShapes(pixels),
});

/** What the run in a folder `name` holds. */
export function ganFiles(saved: GanSaved, images: Images, name: string, { ganConfig }: Python): RunFiles {
  const { step, epoch, generatorSteps, seconds, log } = saved;
  const { labels, ...settings } = saved.settings;
  if (labels === "exchanged") throw new Error("Python has no exchanged labels, so it cannot go on with this run");
  const { size } = images;
  const shapes = shapesOf(settings.latentSize, size ** 2);
  const networks: Record<string, Tensor> = {};
  const training: Record<string, Tensor> = {
    "generator/noise": generatorState(saved.noise),
    "tensor/history": [log.history, [log.history.length / 4, 4]],
  };
  const add = (part: string, tensors: Record<string, Float32Array<ArrayBuffer>>, of: keyof typeof shapes) => {
    for (const [key, values] of Object.entries(tensors))
      networks[`${part}/${key}`] = [values, torchShape(key, { ...shapes[of], ...RUNNING }[key])];
  };
  const addCount = (part: string, batches: number) => {
    for (const layer of NORMED)
      networks[`${part}/layers.${layer + 1}.num_batches_tracked`] = [BigInt64Array.of(BigInt(batches)), []];
  };
  add("generator", { ...saved.G.w, ...saved.running }, "G");
  addCount("generator", step);
  add("discriminator", saved.D.w, "D");
  if (saved.average) {
    add("average", saved.average, "G");
    addCount("average", 0);
  }
  for (const part of ["G", "D"] as const) {
    const steps = part === "G" ? generatorSteps : step;
    Object.entries(steps ? shapes[part] : {}).forEach(([key, shape], k) => {
      const at = `optimizer/${PARTS[part]}/${k}`;
      training[`${at}/step`] = [Float32Array.of(steps), []];
      for (const [mean, theirs] of Object.entries(MEANS))
        training[`${at}/${theirs}`] = [saved[part][mean as "m" | "v"][key], torchShape(key, shape)];
    });
  }
  const count = images.bytes.length / size ** 2;
  const config = { data: images.source ?? `${name}/${IMAGES}.npy`, image_size: size, log_every: log.every };
  const data = { name: images.source ?? IMAGES, num_images: count, image_shape: [1, size, size] };
  return {
    ...{ kind: "gan", isFinished: epoch >= settings.epochs, metrics: log.lines, networks, training },
    record: {
      config: { ...ganConfig, ...renamed(settings), ...config },
      data: { ...data, sha256: sha256Hex(images.bytes) },
      seconds,
    },
    position: { epoch, batch: Math.round(saved.position / settings.batchSize), step },
    extra: {},
    files: images.source === null ? { [`${IMAGES}.npy`]: imagesFile(images) } : {},
  };
}

/** Returns where a run folder stands, and its images: those of the zip, or the page's `known`. */
export async function readGan(read: RunRead, { ganConfig }: Python, known: Images | null) {
  const { record, metrics, networks, training, position } = read;
  const settings = readSettings(record.config, GAN_ORIGINAL, ganConfig, FREE);
  checkSettings(settings, GAN_BOUNDS);
  const path = `${read.folder}${IMAGES}.npy`;
  const images = read.archive.has(path) ? await readImagesFile(read.archive, path) : known;
  if (!images || sha256Hex(images.bytes) !== record.data?.sha256)
    throw new Error(
      `it learned from ${String(record.config.data).split("/").at(-1)!.slice(0, 60)}, which this page does not have; train with --data mnist-10k`,
    );
  const { epoch, batch, step } = position;
  const shapes = shapesOf(settings.latentSize, images.size ** 2);
  const readAll = (part: string, of: Record<string, [number, number]>) =>
    Object.fromEntries(
      Object.entries(of).map(([key, shape]) => [key, networks.floats(`${part}/${key}`, torchShape(key, shape))]),
    );
  const stepsOf = (part: string) =>
    training.has(`optimizer/${part}/0/step`) ? training.floats(`optimizer/${part}/0/step`, [])[0] : 0;
  const weightsOf = (part: "G" | "D", steps: number): GanSaved["G"] => {
    const mean = (name: string) =>
      Object.fromEntries(
        Object.entries(steps ? shapes[part] : {}).map(([key, shape], k) => [
          key,
          training.floats(`optimizer/${PARTS[part]}/${k}/${name}`, torchShape(key, shape)),
        ]),
      );
    return { w: readAll(PARTS[part], shapes[part]), m: mean(MEANS.m), v: mean(MEANS.v) };
  };
  const generatorSteps = stepsOf("generator");
  const powersOf = (steps: number): [number, number] => [power(settings.beta1, steps), power(0.999, steps)];
  const rows = training.shape("tensor/history")[0];
  const saved: GanSaved = {
    ...{ kind: "gan", settings, step, epoch, generatorSteps, position: batch * settings.batchSize },
    powers: { G: powersOf(generatorSteps), D: powersOf(step) },
    noise: readGenerator(training, "noise"),
    ...{ G: weightsOf("G", generatorSteps), D: weightsOf("D", step), running: readAll("generator", RUNNING) },
    average: settings.ema > 0 ? readAll("average", { ...shapes.G, ...RUNNING }) : null,
    log: {
      every: rows,
      history: training.floats("tensor/history", [rows, 4]),
      lines: metrics.flatMap((line) => lineOf(line, LINE) ?? []),
    },
    seconds: Number(position.seconds) || 0,
  };
  return { saved, images };
}
