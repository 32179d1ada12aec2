/**
 * Computes what Python asks for, with the modules of the page, for tests/explorer/test_networks.py:
 *
 *     node gan.mjs FILE
 *
 * FILE has a `Request`; the results go to standard output, with the same names.
 */
import { readFile } from "node:fs/promises";
import { argv, stdout } from "node:process";
import wabt from "wabt";
import { Kernel } from "../src/compute/kernel.js";
import { interpolate, interpolateAt } from "../src/compute/paths.js";
import { Random } from "../src/compute/random.js";
import { Gan } from "../src/models/gan.js";

/** @typedef {import("../src/compute/paths.js").PathKind} PathKind */

/**
 * Networks and what to compute with them.
 * @typedef {object} GanRequest
 * @property {boolean} simd
 * @property {import("../src/types.js").GanContent} content
 * @property {Record<string, string>} blocks base64 by id
 * @property {number[]} latents [N, Z]
 * @property {number[] | null} classes [N]
 * @property {number[]} gradOutputs gradient with respect to the images [N, P]
 * @property {number[] | null} target of a projection [P]
 * @property {import("../src/compute/projection.js").ProjectionOptions} options
 */

/**
 * @typedef {object} Request
 * @property {GanRequest[]} [gans]
 * @property {{start: number[], end: number[], steps: number | null, t: number[], path: PathKind}[]} [paths] even points,
 *   or those at `t`
 * @property {{seed: number, count: number}[]} [normals]
 * @property {{simd: "auto" | boolean, bytes: "kernel" | "damaged" | "none"}[]} [kernels] to create
 */

/** Returns the bytes of the SIMD kernel. */
async function assembleKernel() {
  const source = await readFile(new URL("../src/compute/kernel.wat", import.meta.url), "utf8");
  const module = (await wabt()).parseWat("kernel.wat", source, { simd: true });
  return new Uint8Array(module.toBinary({}).buffer);
}

/** @param {GanRequest} request */
async function computeGan({ simd, content, blocks, latents, classes, gradOutputs, target, options }) {
  const getElementById = (/** @type {string} */ id) => ({ textContent: blocks[id] });
  Object.assign(globalThis, { document: { getElementById } });
  const gan = await Gan.load(content, await Kernel.create({ simd, bytes: await assembleKernel() }));
  const images = gan.generate(Float32Array.from(latents));
  const gradient = gan.generator.inputGradient(Float32Array.from(gradOutputs), latents.length / content.latentSize);
  const projection = target && gan.project(Float32Array.from(target), options);
  return {
    images,
    gradient,
    last: gan.generate(Float32Array.from(Array.from({ length: 15 }, () => latents).flat())).slice(-images.length),
    single: gan.generate(Float32Array.from(latents.slice(0, content.latentSize))),
    classes: gan.classesOf(Float32Array.from(latents)),
    logits: gan.discriminate(images, classes),
    probabilities: gan.classify(images),
    projection: projection && {
      result: projection.finish(),
      candidates: projection.candidates,
      latents: projection.latents,
      errors: projection.errors,
      step: projection.step,
      progress: projection.progress,
    },
  };
}

/**
 * Returns whether a kernel has SIMD, or the error.
 * @param {{simd: "auto" | boolean, bytes: string}} options
 */
async function createKernel({ simd, bytes }) {
  const module = bytes === "kernel" ? await assembleKernel() : bytes === "damaged" ? new Uint8Array(9) : null;
  return Kernel.create({ simd, bytes: module }).then(
    (kernel) => kernel.simd,
    (error) => error.message,
  );
}

/** @param {Request} request */
async function compute({ gans = [], paths = [], normals = [], kernels = [] }) {
  const computed = [];
  for (const gan of gans) computed.push(await computeGan(gan));
  return {
    gans: computed,
    kernels: await Promise.all(kernels.map(createKernel)),
    paths: paths.map(({ start, end, steps, t, path }) => {
      const [first, last] = [Float32Array.from(start), Float32Array.from(end)];
      return steps === null ? interpolateAt(first, last, t, path) : interpolate(first, last, steps, path);
    }),
    normals: normals.map(({ seed, count }) => new Random(seed).normals(count)),
  };
}

const results = await compute(JSON.parse(await readFile(argv[2], "utf8")));
stdout.write(JSON.stringify(results, (_, value) => (value instanceof Float32Array ? Array.from(value) : value)));
