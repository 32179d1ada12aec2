/**
 * Choices of a latent: by class, at random, from the sample grid, or passed on by another panel.
 *
 * In the URL fragment a choice is `class-3-0`, `example-0`, `random-17`, `grid-4` or `code`. A conditional generator's may
 * end with `-as-5`, the class that it is given.
 */
import { sampleLatents } from "../compute/projection";
import { makeRng } from "../compute/random";
import { field, type Field } from "../kit/codec";
import { row } from "../kit/tensors";
import type { Gan } from "./gan";

export interface Choice {
  kind: "class" | "example" | "random" | "grid" | "code"; // `example` counts end points without a class
  classIndex: number; // Of kind `class`
  index: number; // Of the example or in the grid; at random the seed
  condition: number | null; // Class that a conditional generator is given instead of the latent's own
}

export const MAX_SEED = 999_999;

export const choice = (values: Partial<Choice>): Choice => ({
  ...{ kind: "grid", classIndex: 0, index: 0, condition: null },
  ...values,
});

export class Latents {
  readonly gridSize: number;
  readonly gridImages: Float32Array; // Images of the sample grid [25, P]
  readonly #byClass: Map<number | null, number[]>; // Indices of end points by class, or without one
  readonly classes: number[];

  constructor(readonly gan: Gan) {
    const { grid } = gan.latents;
    const { latentSize, endpointClasses } = gan.content;
    this.gridSize = grid.length / latentSize;
    this.gridImages = gan.generate(grid);
    this.#byClass = Map.groupBy(endpointClasses.keys(), (index) => endpointClasses[index]);
    this.classes = [...this.#byClass.keys()].filter((index) => index !== null).sort((a, b) => a - b);
  }

  className(index: number): string {
    const { classifier, classNames } = this.gan.content;
    return (classifier?.classNames ?? classNames)[index] ?? String(index);
  }

  #endpoints = ({ kind, classIndex }: Choice) => this.#byClass.get(kind === "class" ? classIndex : null) ?? [];

  /** Number of latents that a choice goes through: examples, samples of the grid, seeds. */
  count(chosen: Choice): number {
    const { length } = this.#endpoints(chosen);
    return { class: length, example: length, random: MAX_SEED + 1, grid: this.gridSize, code: 1 }[chosen.kind];
  }

  /**
   * Returns choices to begin with, of different classes where there are any: `preferred`, such as those of the report's
   * Figure 5, if the run has them all.
   */
  defaults(preferred: number[]): Choice[] {
    const { classes, gridSize } = this;
    const count = preferred.length;
    if (classes.length >= count)
      return preferred.map((wanted, n) =>
        choice({ kind: "class", classIndex: preferred.every((k) => classes.includes(k)) ? wanted : classes[n] }),
      );
    const isExample = this.count(choice({ kind: "example" })) >= count;
    return preferred.map((_, n) =>
      isExample ? choice({ kind: "example", index: n }) : choice({ index: Math.min(n, gridSize - 1) }),
    );
  }

  has = (chosen: Choice) => (chosen.condition ?? -1) < this.gan.content.numClasses && chosen.index < this.count(chosen);

  /** Returns the latent [Z] of a choice; that of kind `code` is `passed`. */
  latent(chosen: Choice, passed: Float32Array | null = null): Float32Array {
    const { noiseSize } = this.gan.content;
    const latent = this.#latent(chosen, passed).slice();
    if (chosen.condition !== null) {
      latent.fill(0, noiseSize);
      latent[noiseSize + chosen.condition] = 1;
    }
    return latent;
  }

  #latent(chosen: Choice, passed: Float32Array | null): Float32Array {
    const { kind, index } = chosen;
    const { latents, content } = this.gan;
    const { latentSize, numClasses } = content;
    // As of `reviver gan sample`. Its own class differs from seed to seed.
    if (kind === "random")
      return sampleLatents(latentSize, numClasses, 1, makeRng(index, "samples"), index % (numClasses || 1));
    if (kind === "code" && passed) return passed;
    const isEnd = kind === "class" || kind === "example";
    return row(isEnd ? latents.endpoints : latents.grid, isEnd ? this.#endpoints(chosen)[index] : index, latentSize);
  }

  name({ kind, classIndex, index, condition }: Choice): string {
    const names = {
      class: `class ${this.className(classIndex)}, example ${index + 1}`,
      example: `example ${index + 1}`,
      random: `random, seed ${index}`,
      grid: `sample ${index + 1} of the grid`,
      code: "a latent from a link",
    };
    return names[kind] + (condition === null ? "" : ` as class ${this.gan.content.classNames[condition]}`);
  }
}

/** A choice in the fragment; `withCode` says whether another panel has passed a latent on. */
export const choiceField = (latents: Latents, missing: Choice, withCode: boolean): Field<Choice> =>
  field(
    missing,
    (text) => {
      const chosen = parseChoice(text);
      return chosen && latents.has(chosen) && (withCode || chosen.kind !== "code") ? chosen : undefined;
    },
    formatChoice,
  );

export function formatChoice({ kind, classIndex, index, condition }: Choice): string {
  const place = { class: [classIndex, index], example: [index], random: [index], grid: [index], code: [] }[kind];
  return [kind, ...place, ...(condition === null ? [] : ["as", condition])].join("-");
}

/** Returns the choice of an untrusted text, or null. */
function parseChoice(text: string): Choice | null {
  const found = /^(class|example|random|grid|code)(?:-(\d{1,6}))?(?:-(\d{1,6}))?(?:-as-(\d{1,4}))?$/.exec(text);
  if (!found) return null;
  const kind = found[1] as Choice["kind"];
  const [first, second] = [Number(found[2] ?? 0), Number(found[3] ?? 0)];
  const place = kind === "class" ? { classIndex: first, index: second } : { index: first };
  return choice({ kind, ...place, condition: found[4] === undefined ? null : Number(found[4]) });
}
