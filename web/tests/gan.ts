/** Networks of a GAN, for tests/explorer/test_networks.py; the results have the names of the request. */
import { Memory } from "../src/compute/memory";
import { interpolate, interpolateAt, type PathKind } from "../src/compute/paths";
import { sampleLatents, type ProjectionOptions } from "../src/compute/projection";
import { makeRng } from "../src/compute/random";
import { loadGan } from "../src/gan/gan";
import { exp, log, tanh } from "../src/kit/math";
import type { GanContent } from "../src/kit/manifest";

/** Networks and what to compute with them. */
interface GanRequest {
  content: GanContent;
  /** Base64 by id. */
  blocks: Record<string, string>;
  /** [N, Z] */
  latents: number[];
  /** [N] */
  classes: number[] | null;
  /** Gradient with respect to the images [N, P]. */
  gradOutputs: number[];
  /** Of a projection [P]. */
  target: number[] | null;
  options: ProjectionOptions;
}

interface Request {
  gans?: GanRequest[];
  /** Even points, or those at `t`. */
  paths?: { start: number[]; end: number[]; steps: number | null; t: number[]; path: PathKind }[];
  /** Arguments of the own functions. */
  functions?: number[];
}

async function computeGan({ content, blocks, latents, classes, gradOutputs, target, options }: GanRequest) {
  const getElementById = (id: string) => ({ textContent: blocks[id] });
  Object.assign(globalThis, { document: { getElementById } });
  const gan = await loadGan(content);
  const images = gan.generate(Float32Array.from(latents));
  const gradient = gan.generator.inputGradient(Float32Array.from(gradOutputs));
  const projection = target && gan.project(Float32Array.from(target), options);
  while (projection && !projection.advance(Infinity));
  return {
    images,
    gradient,
    last: gan.generate(Float32Array.from(Array.from({ length: 15 }, () => latents).flat())).slice(-images.length),
    single: gan.generate(Float32Array.from(latents.slice(0, content.latentSize))),
    sampled: sampleLatents(content.latentSize, content.numClasses, 1, makeRng(17, "samples")),
    classes: gan.classesOf(Float32Array.from(latents)),
    logits: gan.discriminate(images, classes),
    probabilities: gan.classify(images),
    projection: projection && {
      result: projection.result,
      candidates: projection.candidates,
      latents: projection.latents,
      errors: projection.errors,
      step: projection.step,
    },
  };
}

/** Returns tanh in single precision. */
async function kernelTanh(values: number[]) {
  const memory = await Memory.create();
  const y = memory.matrix(1, values.length, Float32Array.from(values));
  memory.kernel.tanhForward(y.address, y.stride, 1, y.width);
  return y.read();
}

export async function run({ gans = [], paths = [], functions = [] }: Request) {
  const computed = [];
  for (const gan of gans) computed.push(await computeGan(gan));
  return {
    gans: computed,
    paths: paths.map(({ start, end, steps, t, path }) => {
      const [first, last] = [Float32Array.from(start), Float32Array.from(end)];
      return steps === null ? interpolateAt(first, last, t, path) : interpolate(first, last, steps, path);
    }),
    functions: { exp: functions.map(exp), tanh: functions.map(tanh), log: functions.map((x) => log(Math.abs(x))) },
    kernelTanh: await kernelTanh(functions),
  };
}
