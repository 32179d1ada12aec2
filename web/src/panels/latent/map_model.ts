/** A plane in latent space and its images: through both ends and a third latent, or along the directions of largest change. */
import { batch, computed, type ReadonlySignal, signal } from "@preact/signals";
import { frameText, makeFrames } from "../../gan/frames";
import type { Gan } from "../../gan/gan";
import { choiceField, type Latents } from "../../gan/latents";
import { announceSoon } from "../../kit/announce";
import { codec, number, oneOf } from "../../kit/codec";
import { cell, named } from "../../kit/controls";
import { clamp, precise, signed } from "../../kit/format";

type Plane = "points" | "directions";
export const PLANES = named<Plane>({ points: "through both ends and C", directions: "principal directions" });
/** How wide the map of each plane may be, and where it begins: its middle on both axes, and its width. */
const LIMITS: Record<Plane, [number, number]> = { points: [0.02, 30], directions: [0.1, 200] };
const BEGIN: Record<Plane, [number, number]> = { points: [0.5, 1.5], directions: [0, 9] };
const ZOOM = 1.25;

/** Images in a row: fewer of large images, which take longer. */
const sideOf = ({ pixels }: Gan) => (pixels <= 1024 ? 9 : pixels <= 64 * 64 * 3 ? 7 : 5);

export function makeMap(gan: Gan, latents: Latents, ends: ReadonlySignal<Float32Array[]>, view: URLSearchParams) {
  const side = sideOf(gan);
  const planes = oneOf<Plane>(["points", "directions"]);
  const kind = planes.read(view.get("plane") ?? "") ?? planes.missing;
  const [middle, width] = BEGIN[kind];
  const written = (value: number) => precise(value, 6);
  const fields = codec({
    plane: planes,
    c: choiceField(latents, latents.defaults([3, 8, 0])[2], false),
    x: number(-1000, 1000, middle, written),
    y: number(-1000, 1000, middle, written),
    extent: number(...LIMITS[kind], width, written),
  });
  const state = fields.read(view);
  const { plane, c, x, y, extent } = state;
  const third = computed(() => latents.latent(c.value));
  const directions = computed(() => {
    const [origin, end] = ends.value;
    const { length } = origin;
    const from = (latent: Float32Array) => latent.map((value, k) => value - origin[k]);
    if (plane.value === "points") return [from(end), from(third.value)];
    return [gan.latents.directions.subarray(0, length), gan.latents.directions.subarray(length)];
  });
  /** Coordinates of the images, row by row from the top. */
  const points = computed(() =>
    Array.from({ length: side ** 2 }, (_, n) => {
      const [column, row] = [n % side, Math.floor(n / side)].map((k) => ((k - (side - 1) / 2) / side) * extent.value);
      return [x.value + column, y.value - row];
    }),
  );
  const frames = computed(() => {
    const [origin] = ends.value;
    const [across, up] = directions.value;
    const all = new Float32Array(points.value.length * origin.length);
    points.value.forEach(([x, y], n) =>
      origin.forEach((z, k) => (all[n * origin.length + k] = z + x * across[k] + y * up[k])),
    );
    return makeFrames(gan, all);
  });
  const selected = signal((side ** 2 - 1) / 2);
  const frame = computed(() => frames.value[selected.value]);
  const where = computed(() => {
    const [x, y] = points.value[selected.value];
    return `x = ${signed(x)}, y = ${signed(y)}`;
  });
  const change = (news: string, set: () => void) => {
    batch(set);
    announceSoon(() => [news, `${where.value}: ${frameText(gan.content, frame.value)}`].filter(Boolean).join(". "));
  };
  const begin = (kind: Plane) => {
    const [middle, width] = BEGIN[kind];
    [plane.value, x.value, y.value, extent.value] = [kind, middle, middle, width];
  };
  return {
    ...{ gan, latents, side, frames, selected, frame, where },
    plane: cell<Plane>(
      () => plane.value,
      (kind) => change("Another plane", () => begin(kind)),
    ),
    third: cell(
      () => c.value,
      (chosen) => change(`C: ${latents.name(chosen)}`, () => (c.value = chosen)),
    ),
    thumbnail: computed(() => gan.generate(third.value)),
    select: (n: number) => change("", () => (selected.value = n)),
    reset: () => change("The map is back where it began", () => begin(plane.value)),
    zoom: (steps: number) =>
      change("", () => (extent.value = clamp(extent.value * ZOOM ** -steps, ...LIMITS[plane.value]))),
    /** Moves the map by some images. */
    move: (columns: number, rows: number) =>
      change("", () => {
        x.value += (columns * extent.value) / side;
        y.value += (rows * extent.value) / side;
      }),
    write() {
      const { c, ...others } = fields.write(state);
      return plane.value === "points" ? { c, ...others } : others;
    },
  };
}

export type MapModel = ReturnType<typeof makeMap>;
