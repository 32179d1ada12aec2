/** The plane, the part of it that the map shows, and the image at hand. */
import { batch, computed, signal, type Signal } from "@preact/signals";
import { createRef } from "preact";
import { frameText, makeFrames } from "../../gan/frames";
import type { Gan } from "../../gan/gan";
import { choiceField, Latents } from "../../gan/latents";
import { announceSoon } from "../../kit/announce";
import { codec, number, oneOf } from "../../kit/codec";
import { cell, named } from "../../kit/controls";
import { clamp, precise, signed } from "../../kit/format";
import { newCanvas } from "../../kit/image";
import { Cells, latentAt, type Picture, type Place, type Plane, type Point } from "./cells";

type PlaneKind = "points" | "directions";
type Show = "classes" | "plain" | "regions";

export const KINDS = named<PlaneKind>({ points: "three latents", directions: "principal directions" });
export const SHOWS = named<Show>({
  classes: "images and predicted classes",
  plain: "images only",
  regions: "regions of predicted classes",
});
/** How large the map of each kind of plane may be. */
const LIMITS: Record<PlaneKind, [number, number]> = { points: [0.02, 30], directions: [0.1, 200] };
export const [MIN_COUNT, MAX_COUNT] = [5, 15]; // Images in a row
export const REGION_CELLS = 3; // Cells of regions in place of one image, along each side
const ZOOM = 1.25;
/** The latents that span the plane. */
const MARKERS = [
  { name: "A", point: { x: 0, y: 0 } },
  { name: "B", point: { x: 1, y: 0 } },
  { name: "C", point: { x: 0, y: 1 } },
];

/** Images in a row that a run begins with: fewer of large images, which take longer. */
const defaultCount = ({ pixels }: Gan) => (pixels <= 1024 ? 9 : pixels <= 64 * 64 * 3 ? 7 : 5);

/** Where the map begins: around the three latents, which are then in the middle of a cell, or around the origin. */
function startOf(kind: PlaneKind, gan: Gan) {
  const count = defaultCount(gan);
  // One cell beyond the latents on each side.
  return kind === "directions" ? { x: 0, y: 0, extent: 9 } : { x: 0.5, y: 0.5, extent: count / (count - 3) };
}

export const pointText = ({ x, y }: Point) => `x = ${signed(x)}, y = ${signed(y)}`;

export function makeModel(gan: Gan, view: URLSearchParams) {
  const { classifier } = gan.content;
  const latents = new Latents(gan);
  const planes = oneOf<PlaneKind>(["points", "directions"]);
  const kind = planes.read(view.get("plane") ?? "") ?? planes.missing;
  const begin = startOf(kind, gan);
  const [a, b, c] = latents
    .defaults([3, 8, 0], (classes) => classes.slice(0, 3))
    .map((missing) => choiceField(latents, missing, false));
  const coordinate = (missing: number) => number(-1000, 1000, missing, (value) => precise(value, 6));
  const fields = codec({
    ...{ plane: planes, a, b, c, x: coordinate(begin.x), y: coordinate(begin.y) },
    extent: number(...LIMITS[kind], begin.extent, (value) => precise(value, 6)),
    count: number(MIN_COUNT, MAX_COUNT, defaultCount(gan)),
    show: oneOf<Show>(classifier ? ["classes", "plain", "regions"] : ["plain"]),
  });
  const state = fields.read(view);
  const { x, y, extent, count, show } = state;
  count.value = 2 * Math.floor(count.value / 2) + 1;

  const markers = computed(() => (state.plane.value === "points" ? MARKERS : MARKERS.slice(0, 1)));
  const choices = [state.a, state.b, state.c];
  const spanning = computed(() => markers.value.map((_, n) => latents.latent(choices[n].value)));
  const plane = computed((): Plane => {
    const [origin, b, c] = spanning.value;
    const from = (latent: Float32Array) => latent.map((value, i) => value - origin[i]);
    if (b) return { origin, across: from(b), up: from(c) };
    const { directions } = gan.latents;
    return { origin, across: directions.subarray(0, origin.length), up: directions.subarray(origin.length) };
  });
  const thumbnails = computed(() => spanning.value.map(gan.generate));
  const columns = computed(() => count.value * (show.value === "regions" ? REGION_CELLS : 1));
  const center = () => ({ x: x.value, y: y.value });
  const makeCells = (before: Picture | null) =>
    new Cells(gan, plane.value, center(), extent.value / columns.value, show.value !== "regions", before);
  const cells = signal(makeCells(null));
  const hovered = signal<Place | null>(null);
  /** Cells from the middle of the map to the selected one. */
  const selected = signal<Place>({ column: 0, row: 0 });
  const middle = () => cells.value.placeAt(center());
  const selectedPlace = () => {
    const half = (columns.value - 1) / 2;
    const { column, row } = selected.value;
    return add(middle(), clamp(column, -half, half), clamp(row, -half, half));
  };
  /** The enlarged cell, and its coordinates. */
  const place = () => hovered.value ?? selectedPlace();
  const [lookX, lookY] = (["x", "y"] as const).map((axis) => computed(() => cells.value.pointOf(place())[axis]));
  const point = computed(() => ({ x: lookX.value, y: lookY.value }));
  const frame = computed(() => makeFrames(gan, latentAt(plane.value, point.value))[0]);
  const text = computed(() => frameText(gan.content, frame.value));
  const canvas = createRef<HTMLCanvasElement>();

  const goTo = (to: Point) => ([x.value, y.value] = [to.x, to.y]);
  const tell = (news = "") =>
    announceSoon(() => [news, `${pointText(point.value)}: ${text.value}`].filter(Boolean).join(". "));
  /** Changes what is computed anew, and tells it. */
  const change = (news: string, set: () => void, before: Picture | null = null) => {
    batch(() => {
      set();
      cells.value.stop();
      hovered.value = null;
      cells.value = makeCells(before);
    });
    tell(news);
  };
  const start = (kind: PlaneKind) => {
    const { extent: width, ...middle } = startOf(kind, gan);
    goTo(middle);
    extent.value = width;
  };
  const select = (next: Place) => {
    const { column, row } = middle();
    batch(() => {
      hovered.value = null;
      selected.value = add(next, -column, -row);
    });
    tell();
  };
  /** A cell of the state with which the map is computed anew; `say` names its value. */
  const setting = <T>(of: Signal<T>, say: (value: T) => string, also?: (value: T) => void) =>
    cell(
      () => of.value,
      (value) =>
        change(say(value), () => {
          of.value = value;
          also?.(value);
        }),
    );
  return {
    ...{ gan, latents, state, plane, markers, thumbnails, columns, cells, hovered, middle, place, point, frame, text },
    ...{ canvas, center, goTo, select },
    choices: choices.map((chosen, n) => setting(chosen, (next) => `Latent ${MARKERS[n].name}: ${latents.name(next)}`)),
    kind: setting(
      state.plane,
      (kind) => (kind === "points" ? "Plane through three latents" : "Plane in the two principal directions"),
      start,
    ),
    count: setting(count, (value) => `${value} images in a row`),
    show: setting(show, (value) => SHOWS.find(([one]) => one === value)![1]),
    reset: () => change("The map is back where it began", () => start(state.plane.value)),
    zoom(steps: number) {
      const width = clamp(extent.value * ZOOM ** -steps, ...LIMITS[state.plane.value]);
      if (width === extent.value) return;
      const before = canvas.current!.width ? { image: copy(canvas.current!), ...center(), extent: extent.value } : null;
      change("", () => (extent.value = width), before);
    },
    /** Moves the map by some cells, to whole cells. */
    move(columns: number, rows: number) {
      batch(() => {
        hovered.value = null;
        goTo(cells.value.pointOf(add(middle(), columns, rows)));
      });
      tell();
    },
    selectNext: (columns: number, rows: number) => select(add(selectedPlace(), columns, rows)),
    write() {
      const without = [...(markers.value.length > 1 ? [] : ["b", "c"]), ...(classifier ? [] : ["show"])];
      return Object.fromEntries(Object.entries(fields.write(state)).filter(([key]) => !without.includes(key)));
    },
  };
}

const add = ({ column, row }: Place, columns: number, rows: number) => ({ column: column + columns, row: row + rows });

function copy(canvas: HTMLCanvasElement) {
  const image = newCanvas(canvas.width, canvas.height);
  image.getContext("2d")!.drawImage(canvas, 0, 0);
  return image;
}

export type Model = ReturnType<typeof makeModel>;
