/**
 * Choices of a latent: by class, at random, from the sample grid, or passed on by another panel.
 *
 * In the URL fragment a choice is `class-3-0`, `example-0`, `random-17`, `grid-4` or `code`. A conditional generator's may
 * end with `-as-5`, the class that it is given.
 */
import { field, type Field } from "../kit/codec";
import { row } from "../kit/tensors";
import type { Gan } from "./gan";

export interface Choice {
  /** `example` counts end points without a class. */
  kind: "class" | "example" | "random" | "grid" | "code";
  classIndex: number; // Of kind `class`
  index: number; // Of the example or in the grid
  seed: number; // Of kind `random`
  /** Class that a conditional generator is given instead of the latent's own. */
  condition: number | null;
}

export const MAX_SEED = 999_999;

export const choice = (values: Partial<Choice>): Choice => ({
  kind: "grid",
  classIndex: 0,
  index: 0,
  seed: 0,
  condition: null,
  ...values,
});

/** What there is to choose from in a run. */
export class Latents {
  readonly gridSize: number;
  readonly gridImages: Float32Array; // Images of the sample grid [25, P]
  readonly byClass = new Map<number, number[]>(); // Indices of end points by class
  /** Indices of end points without a class. */
  readonly examples: number[] = [];
  readonly classes: number[];

  constructor(readonly gan: Gan) {
    const { latentSize } = gan.content;
    const { grid, endpoints } = gan.latents;
    this.gridSize = grid.length / latentSize;
    this.gridImages = gan.generate(grid);
    gan.content.endpointClasses.slice(0, endpoints.length / latentSize).forEach((classIndex, index) => {
      if (classIndex === null) this.examples.push(index);
      else this.byClass.set(classIndex, [...(this.byClass.get(classIndex) ?? []), index]);
    });
    this.classes = [...this.byClass.keys()].sort((a, b) => a - b);
  }

  /** Name of a class that choices name. */
  className(index: number): string {
    const { classifier, classNames } = this.gan.content;
    return (classifier?.classNames ?? classNames)[index] ?? String(index);
  }

  /** Number of examples that a choice goes through. */
  count = ({ kind, classIndex }: Choice) =>
    kind === "class" ? (this.byClass.get(classIndex)?.length ?? 0) : this.examples.length;

  /**
   * Returns choices to begin with, of different classes where there are any: `preferred`, such as those of the report's
   * Figure 5, if the run has them all, or `fallback` of all classes.
   */
  defaults(preferred: number[], fallback: (classes: number[]) => number[]): Choice[] {
    const { classes, examples, gridSize } = this;
    const count = preferred.length;
    if (classes.length >= count)
      return (preferred.every((k) => classes.includes(k)) ? preferred : fallback(classes)).map((classIndex) =>
        choice({ kind: "class", classIndex }),
      );
    const isExample = examples.length >= count;
    return preferred.map((_, n) =>
      isExample ? choice({ kind: "example", index: n }) : choice({ index: Math.min(n, gridSize - 1) }),
    );
  }

  /** Returns whether a choice names something that this run has. */
  has(chosen: Choice): boolean {
    const { kind, index, seed, condition } = chosen;
    if (condition !== null && condition >= this.gan.content.numClasses) return false;
    if (kind === "class" || kind === "example") return index < this.count(chosen);
    return kind === "grid" ? index < this.gridSize : kind === "code" || seed <= MAX_SEED;
  }

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

  #latent({ kind, classIndex, index, seed }: Choice, passed: Float32Array | null): Float32Array {
    const { latents, content } = this.gan;
    const { latentSize, numClasses } = content;
    if (kind === "class") return row(latents.endpoints, (this.byClass.get(classIndex) ?? [0])[index], latentSize);
    if (kind === "example") return row(latents.endpoints, this.examples[index], latentSize);
    // Its own class differs from seed to seed.
    if (kind === "random") return this.gan.sampleLatents(1, seed, numClasses ? seed % numClasses : null);
    return kind === "code" && passed ? passed : row(latents.grid, index, latentSize);
  }

  name({ kind, classIndex, index, seed, condition }: Choice): string {
    const given = condition === null ? "" : ` as class ${this.gan.content.classNames[condition]}`;
    if (kind === "class") return `class ${this.className(classIndex)}, example ${index + 1}`;
    if (kind === "example") return `example ${index + 1}${given}`;
    if (kind === "random") return `random, seed ${seed}${given}`;
    return kind === "grid" ? `sample ${index + 1} of the grid${given}` : `a latent from a link${given}`;
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

export function formatChoice({ kind, classIndex, index, seed, condition }: Choice): string {
  const given = condition === null ? "" : `-as-${condition}`;
  if (kind === "class") return `class-${classIndex}-${index}${given}`;
  if (kind === "random") return `random-${seed}${given}`;
  return kind === "code" ? `code${given}` : `${kind}-${index}${given}`;
}

/** Returns the choice of an untrusted text, or null. */
function parseChoice(text: string): Choice | null {
  const found = /^(class|example|random|grid|code)(?:-(\d{1,6}))?(?:-(\d{1,6}))?(?:-as-(\d{1,4}))?$/.exec(text);
  if (!found) return null;
  const [first, second] = [Number(found[2] ?? 0), Number(found[3] ?? 0)];
  const shared = { kind: found[1] as Choice["kind"], condition: found[4] === undefined ? null : Number(found[4]) };
  if (shared.kind === "class") return choice({ ...shared, classIndex: first, index: second });
  return choice(shared.kind === "random" ? { ...shared, seed: first } : { ...shared, index: first });
}
