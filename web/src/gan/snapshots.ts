/** Pictures of the same latents at some moments of the training. */
import type { ImageShape } from "../kit/image";
import type { GanContent, SnapshotSpec } from "../kit/manifest";
import { once } from "../kit/runs";
import { readTensors, row, size, toPixels } from "../kit/tensors";

export class Snapshots {
  readonly pixels: number;
  /** Number of latents N. */
  readonly count: number;

  constructor(
    readonly moments: SnapshotSpec[],
    readonly shape: ImageShape,
    readonly bytes: Record<string, Float32Array>,
  ) {
    this.pixels = size(shape);
    this.count = bytes.images.length / (moments.length * this.pixels);
  }

  /** Returns the pixels [P] in [-1, 1] of latent n at a moment. */
  image = (moment: number, n: number) => toPixels(row(this.bytes.images, moment * this.count + n, this.pixels));

  /** Returns the pixels [P] in [-1, 1] of a real image. */
  real = (n: number) => toPixels(row(this.bytes.real, n, this.pixels));
}

/** Loads the pictures of a run once. */
export const loadSnapshots = once(async ({ snapshots, imageShape, name }: GanContent) => {
  if (!snapshots) throw new Error(`the run ${name} has no pictures of its training`);
  return new Snapshots(snapshots.moments, imageShape, await readTensors(snapshots.data));
});
