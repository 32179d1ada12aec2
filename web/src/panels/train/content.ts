/** A run of the page as the other panels show it: what Python writes into the manifest of one of its own. */
import { concatBytes } from "@noble/hashes/utils.js";
import { Mlp } from "../../compute/mlp";
import { makeRng } from "../../compute/random";
import { dot, norm } from "../../compute/vectors";
import { provideBlock } from "../../kit/bytes";
import type { Facts, GanContent, LayerSpec, LstmContent, MlpSpec, TensorBlock } from "../../kit/manifest";
import { cellOf, shapesOf } from "../../train/cells";
import { D_LAYERS, LAST, NORMED, SLOPE, weightOf, biasOf } from "../../train/gan_layers";
import { centeringOf } from "../../train/inputs";
import { DIGIT_NAMES } from "../../train/palindromes";
import type { GanSaved, Images, LstmSaved, SequenceData } from "../../train/protocol";
import { splitSequences } from "../../train/sequences";
import { renamed, snake } from "../../train/run_files";
import type { Seen } from "./branch";

type Numbers = Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;
type Tensors = Record<string, Float32Array<ArrayBuffer>>;

/** Training images and sequences that go along. */
const [NUM_IMAGES, NUM_EXAMPLES] = [200, 8];
const [GRID, ENDS] = [25, 6];
/** Latents, steps and differences that give the principal directions. */
const [LATENTS, STEPS, EPSILON] = [8, 8, 1e-2];

/** Makes a data block of tensors, those of bytes last. */
function block(id: string, tensors: Record<string, [Numbers, number[]]>): TensorBlock {
  let offset = 0;
  const specs = Object.entries(tensors).map(([name, [values, shape]]) => {
    const spec = { dtype: values instanceof Uint8Array ? "u8" : "f32", offset, shape, scale: null } as const;
    offset += values.byteLength;
    return [name, spec];
  });
  const parts = Object.values(tensors).map(
    ([values]) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  );
  provideBlock(id, concatBytes(...parts));
  return { block: id, tensors: Object.fromEntries(specs) };
}

function factsOf({ step, epoch, settings, seconds }: LstmSaved | GanSaved, command: string | null): Facts {
  const item = (label: string, value: unknown) => ({ label, value: String(value), note: null });
  return {
    run: [item("update", step), item("epoch", epoch), item("trained", `in this page, ${Math.round(seconds)} s`)],
    config: Object.entries(renamed(settings)).map(([name, value]) => item(name, value)),
    command: command ?? "",
    ...{ scores: [], scoresNote: "", rounding: [], licenses: [] },
  };
}

/** Returns the columns of rows of values by name, with the names of Python; null where a row has no value. */
export function columnsOf(rows: object[]): Record<string, (number | null)[]> {
  const names = [...new Set(rows.flatMap(Object.keys))];
  return Object.fromEntries(names.map((name) => [snake(name), rows.map((row: any) => row[name] ?? null)]));
}

function aboutPalindromes({ length, seed }: LstmSaved["settings"]) {
  const rng = makeRng(seed, "explorer/examples");
  const examples = Array.from({ length: NUM_EXAMPLES }, () => {
    const half = Array.from({ length: (length + 1) >> 1 }, () => rng.integer(10));
    const values = Array.from({ length: length - 1 }, (_, t) => half[Math.min(t, length - 1 - t)]);
    return { values, target: half[0] };
  });
  return {
    ...({ task: "palindrome", rule: "palindrome", inputKind: "symbols", noun: "digit" } as const),
    ...{ symbolNames: DIGIT_NAMES, classNames: DIGIT_NAMES, channelNames: [], standardization: null, examples },
  };
}

function aboutOwn(own: SequenceData, { trainFraction, seed }: LstmSaved["settings"]) {
  const { mean, scale } = splitSequences(own, trainFraction, seed);
  const examples = own.rows.slice(0, NUM_EXAMPLES).map(({ numbers, label }) => ({
    values: Array.from(numbers, (value) => Number(value.toPrecision(6))),
    target: label,
  }));
  return {
    ...({ task: "custom", rule: null, inputKind: "numbers", noun: "value" } as const),
    ...{ symbolNames: [], classNames: own.classes, channelNames: ["value"], examples },
    standardization: { mean: [mean], scale: [scale] },
  };
}

/** @param command that trains the same with Python, if there is one */
export function lstmContent(saved: LstmSaved, own: SequenceData | null, command: string | null): LstmContent {
  const { settings, weights, step } = saved;
  const { cell, hiddenSize: H, encoding, hiddenDropout, length } = settings;
  const { W_out, b_out, ...ofCell } = weights.w;
  const inputSize = encoding === "scalar" ? 1 : DIGIT_NAMES.length;
  const layer = cell === "lstm" ? "lstm.layers.0" : "rnn.layers.0";
  const shapes = shapesOf(cellOf(cell), inputSize, H);
  const cells = Object.entries(ofCell).map(([name, values]) => [`${layer}.${name}`, [values, shapes[name]]]);
  const id = "trained-lstm";
  const tensors = { ...Object.fromEntries(cells), W_out: [W_out, [b_out.length, H]], b_out: [b_out, [b_out.length]] };
  return {
    ...{ id, name: "the network of the panel Train", runArgument: "run", cell, target: "class" },
    ...(own ? aboutOwn(own, settings) : aboutPalindromes(settings)),
    ...{ inputSize, encoding, outputSize: b_out.length, length: own?.steps ?? length, hiddenSize: H },
    ...{ numLayers: 1, bidirectional: false },
    ...{ pooling: "last", patchSize: 1, hiddenDropout, hiddenDropoutKind: "step" },
    stages: [{ label: `update ${step}`, weights: block(id, tensors) }],
    ...{ metrics: columnsOf(saved.epochs), facts: factsOf(saved, command) },
  };
}

/** Layers as affine maps, that of BatchNorm in eval mode in the one before: y = γ (W x + b - μ) / √(σ² + ε) + β. */
function mlp(id: string, w: Tensors, layers: number[], last: "tanh" | "none", running: Tensors = {}, eps = 0): MlpSpec {
  const tensors: Record<string, [Numbers, number[]]> = {};
  const specs = layers.map((layer): LayerSpec => {
    const [weight, bias] = [weightOf(layer), biasOf(layer)];
    const [W, b] = [w[weight].slice(), w[bias].slice()];
    const columns = W.length / b.length;
    const [mean, variance] = ["mean", "var"].map((name) => running[`layers.${layer + 1}.running_${name}`]);
    if (mean)
      b.forEach((value, r) => {
        const scale = w[weightOf(layer + 1)][r] / Math.sqrt(variance[r] + eps);
        b[r] = (value - mean[r]) * scale + w[biasOf(layer + 1)][r];
        for (let k = r * columns; k < (r + 1) * columns; k++) W[k] *= scale;
      });
    Object.assign(tensors, { [weight]: [W, [b.length, columns]], [bias]: [b, [b.length]] });
    return { weight, bias, activation: layer === layers.at(-1) ? last : "leaky-relu" };
  });
  return { weights: block(id, tensors), layers: specs, negativeSlope: SLOPE };
}

/** Weights of D for images as they are: of one that saw s (x - m), s W and b - s W m in the first layer. */
function discriminatorOf({ settings, D: { w } }: GanSaved, bytes: Uint8Array, size: number): Tensors {
  if (settings.inputCentering === "none") return w;
  const { mean, scale } = centeringOf(bytes, size ** 2);
  const [weight, bias] = [weightOf(D_LAYERS[0]), biasOf(D_LAYERS[0])];
  const W = w[weight].map((value) => value * scale);
  const b = w[bias].map((value, r) => mean.reduce((sum, m, p) => sum - W[r * mean.length + p] * m, value));
  return { ...w, [weight]: W, [bias]: b };
}

/** @param seen has D's logits for the latest images */
export async function ganContent(
  saved: GanSaved,
  { logits }: Seen,
  { bytes, size, classifier }: Images,
  command: string | null,
): Promise<GanContent> {
  const { settings, average } = saved;
  const { latentSize: Z, seed, batchNormEps } = settings;
  const count = Math.min(NUM_IMAGES, bytes.length / size ** 2);
  const id = "trained-gan";
  const source = average ?? { ...saved.G.w, ...saved.running };
  const normal = (purpose: string, rows: number) => makeRng(seed, purpose).normals(rows * Z);
  const generator = mlp(`${id}-g`, source, [0, ...NORMED, LAST], "tanh", source, batchNormEps);
  const directions = await principalDirections(
    generator,
    normal("explorer/directions", LATENTS),
    normal("directions", 2),
  );
  return {
    ...{ id, name: "the GAN of the panel Train", runArgument: "run", imageShape: [1, size, size] },
    ...{ noiseSize: Z, latentSize: Z, numClasses: 0, classNames: [], isLogOdds: true },
    generator,
    discriminator: mlp(`${id}-d`, discriminatorOf(saved, bytes, size), D_LAYERS, "none"),
    classifier: classifier?.spec ?? null,
    latents: block(`${id}-latents`, {
      grid: [normal("grid", GRID), [GRID, Z]],
      endpoints: [normal("endpoints", ENDS), [ENDS, Z]],
      directions: [directions, [2, Z]],
    }),
    endpointClasses: Array(ENDS).fill(null),
    logits: { ...logits, realSource: "training images" },
    training: block(`${id}-images`, { images: [bytes.slice(0, count * size ** 2), [count, 1, size, size]] }),
    ...{ test: null, labelNames: null, scores: {} },
    ...{ metrics: columnsOf(saved.metrics), facts: factsOf(saved, command) },
  };
}

/**
 * The two orthonormal directions of the latent along which images change most, [2, Z]: the first eigenvectors of the mean of
 * Jᵀ J over some latents, J = ∂x/∂z, by power iteration.
 */
async function principalDirections(spec: MlpSpec, z: Float32Array, start: Float32Array<ArrayBuffer>) {
  const generator = await Mlp.load(spec);
  const Z = start.length / 2;
  const found = [start.slice(0, Z), start.slice(Z)];
  const moved = (d: Float32Array, by: number) => generator.forward(z.map((value, k) => value + by * d[k % Z]));
  for (let step = 0; step < STEPS; step++)
    found.forEach((d, which) => {
      const [ahead, behind] = [moved(d, EPSILON), moved(d, -EPSILON)]; // J d by differences
      const change = ahead.map((value, k) => (value - behind[k]) / (2 * EPSILON));
      generator.forward(z);
      const gradients = generator.inputGradient(change);
      d.forEach((_, k) => (d[k] = gradients.reduce((sum, value, n) => (n % Z === k ? sum + value : sum), 0)));
      for (const other of found.slice(0, which)) {
        const part = dot(d, other);
        d.forEach((value, k) => (d[k] = value - part * other[k]));
      }
      const length = norm(d) || 1;
      d.forEach((value, k) => (d[k] = value / length));
    });
  return Float32Array.from([...found[0], ...found[1]]);
}
