/** What the run folder of a GAN holds, see run_files.ts. */
import { generatorState, readGenerator, readTensors, readWeights, tensorsOf, writeWeights } from "./checkpoint";
import { discriminatorShapes, generatorShapes, NORMED, RUNNING } from "./gan_layers";
import type { GanSaved, Images } from "./gan_run";
import { imagesFile, readImagesFile } from "./images";
import { centeringOf } from "./inputs";
import { sha256Hex } from "../compute/random";
import { lineOf, readSettings, renamed, type Python, type RunFiles, type RunRead } from "./run_files";
import type { Tensor } from "./safetensors";
import { GAN, type GanSettings } from "./settings";

/** Python's settings that do not change what a run of the page learns. */
const FREE = [
  ...["data", "image_size", "sample_every", "eval_every", "eval_samples", "extractor", "log_every"],
  ...["checkpoint_every", "keep_checkpoints", "on_nan", "max_rollbacks"],
];
/** Keys of a line of metrics. */
const LINE = [
  ...(["step", "epoch", "generatorLoss", "discriminatorLoss", "probabilityReal", "probabilityFake"] as const),
];
/** Hashes of images, which take a second. */
const hashes = new WeakMap<Uint8Array, string>();
/** Name of the file with images that only the page has. */
const IMAGES = "images";

/** The networks, and the shapes of the moving average. */
function layoutsOf(latentSize: number, pixels: number) {
  const means = { m: "exp_avg", v: "exp_avg_sq" };
  const G = { part: "generator", shapes: generatorShapes(latentSize, pixels), means };
  const D = { part: "discriminator", shapes: discriminatorShapes(pixels), means };
  return { G, D, average: { ...G.shapes, ...RUNNING } };
}

/** BatchNorm's numbers of batches. */
const countsOf = (part: string, batches: number): Record<string, Tensor> =>
  Object.fromEntries(
    NORMED.map((layer) => [
      `networks/${part}/layers.${layer + 1}.num_batches_tracked`,
      [BigInt64Array.of(BigInt(batches)), []],
    ]),
  );

export function ganFiles(saved: GanSaved, images: Images, name: string, { ganConfig }: Python): RunFiles {
  const { step, epoch, generatorSteps, seconds, log } = saved;
  const { labels, ...settings } = saved.settings;
  if (labels === "exchanged") throw new Error("Python has no exchanged labels, so it cannot go on with this run");
  const { size } = images;
  const { G, D, average } = layoutsOf(settings.latentSize, size ** 2);
  const hash = hashes.get(images.bytes) ?? sha256Hex(images.bytes);
  hashes.set(images.bytes, hash);
  const centering = settings.inputCentering === "auto" ? centeringOf(images.bytes, size ** 2) : null;
  const tensors: Record<string, Tensor> = {
    ...tensorsOf("generator", RUNNING, saved.running),
    ...countsOf("generator", step),
    ...(saved.average && { ...tensorsOf("average", average, saved.average), ...countsOf("average", 0) }),
    "rngs/noise": generatorState(saved.noise),
    "tensors/history": [log.history, [log.history.length / 4, 4]],
    ...(centering && {
      "networks/discriminator/input_mean": [centering.mean, [size ** 2]],
      "networks/discriminator/input_scale": [new Float32Array(size ** 2).fill(centering.scale), [size ** 2]],
    }),
  };
  writeWeights(tensors, G, saved.G, generatorSteps);
  writeWeights(tensors, D, saved.D, step);
  const count = images.bytes.length / size ** 2;
  const config = { data: images.source ?? `${name}/${IMAGES}.npy`, image_size: size, log_every: log.every };
  const data = { name: images.source ?? IMAGES, num_images: count, image_shape: [1, size, size] };
  return {
    ...{ kind: "gan", isFinished: epoch >= settings.epochs, metrics: saved.metrics, tensors },
    record: {
      config: { ...ganConfig, ...renamed(settings), ...config },
      data: { ...data, sha256: hash },
      seconds,
    },
    position: { epoch, batch: Math.round(saved.position / settings.batchSize), step },
    extra: {},
    files: images.source === null ? { [`${IMAGES}.npy`]: imagesFile(images) } : {},
  };
}

/** Returns where a run folder stands, and its images: those of the zip, or the page's `known`. */
export function readGan(read: RunRead, { ganConfig }: Python, known: Images | null) {
  const { record, metrics, tensors, position } = read;
  const settings = readSettings<GanSettings>(record.config, GAN, ganConfig, FREE);
  const path = `${read.folder}${IMAGES}.npy`;
  const images = read.archive.has(path) ? readImagesFile(read.archive, path) : known;
  if (!images || sha256Hex(images.bytes) !== record.data?.sha256)
    throw new Error(
      `it learned from ${String(record.config.data).split("/").at(-1)!.slice(0, 60)}, which this page does not have; train with --data mnist-30k`,
    );
  const { epoch, batch, step } = position;
  const { G, D, average } = layoutsOf(settings.latentSize, images.size ** 2);
  const counted = "optimizers/generator/0/step";
  const generatorSteps = tensors.has(counted) ? tensors.floats(counted, [])[0] : 0;
  const rows = tensors.shape("tensors/history")[0];
  const saved: GanSaved = {
    ...{ kind: "gan", settings, step, epoch, generatorSteps, position: batch * settings.batchSize },
    noise: readGenerator(tensors, "noise"),
    G: readWeights(tensors, G, generatorSteps, settings.beta1),
    D: readWeights(tensors, D, step, settings.beta1),
    running: readTensors(tensors, "generator", RUNNING),
    average: settings.ema > 0 ? readTensors(tensors, "average", average) : null,
    log: {
      every: rows,
      history: tensors.floats("tensors/history", [rows, 4]),
      lines: metrics.flatMap((line) => lineOf(line, LINE) ?? []),
    },
    metrics: [],
    seconds: Number(position.seconds) || 0,
  };
  return { saved, images };
}
