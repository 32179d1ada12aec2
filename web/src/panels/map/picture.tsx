/** The map as a picture on a canvas. No class is told by its color alone. */
import { clamp } from "../../kit/format";
import type { Place, Point } from "./cells";
import { type Model, REGION_CELLS } from "./model";

/** Text on each of them is black: contrast at least 7. */
const COLORS = [
  ...["#6fb7e6", "#f2a33a", "#7cc77c", "#ef8a86", "#bfa3e0"],
  ...["#c79f8c", "#eba3cf", "#b4b4b4", "#cfd04f", "#58c9cf"],
];

export const classColor = (classIndex: number) => COLORS[classIndex % COLORS.length] ?? "#ffffff";

/** A name of at most three letters, else the index; nothing for no class. */
export const shortName = (names: string[], classIndex: number) =>
  names[classIndex]?.length > 3 ? String(classIndex) : (names[classIndex] ?? "");

export const ClassLegend = ({ names }: { names: string[] }) => (
  <div class="row class-legend" role="list" aria-label="Colors of the predicted classes">
    {names.map((name, k) => (
      <div key={k} role="listitem">
        <span style={{ background: classColor(k) }}>{shortName(names, k)}</span>
        {shortName(names, k) !== name && name}
      </div>
    ))}
  </div>
);

/** Draws the map in a width in CSS pixels, and lets what is missing be computed. */
export function drawMap(model: Model, width: number) {
  const canvas = model.canvas.current!;
  const { state, columns, markers, gan } = model;
  const cells = model.cells.value;
  cells.progress.value; // follows it
  const center = model.center();
  const scale = width / state.extent.value;
  const size = width / columns.value;
  const show = state.show.value;
  const names = gan.content.classifier?.classNames ?? [];
  const onScreen = ({ x, y }: Point) => ({
    x: width / 2 + (x - center.x) * scale,
    y: width / 2 - (y - center.y) * scale,
  });

  const places = visible(model.middle(), columns.value);
  cells.want(places);
  const pixels = Math.round(width * devicePixelRatio);
  if (canvas.height !== pixels) canvas.width = canvas.height = pixels;
  const context = canvas.getContext("2d")!;
  context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  context.clearRect(0, 0, width, width);
  context.imageSmoothingEnabled = false;
  const fill = (color: string, x: number, y: number, width: number, height: number, alpha = 1) => {
    Object.assign(context, { fillStyle: color, globalAlpha: alpha });
    context.fillRect(x, y, width, height);
    context.globalAlpha = 1;
  };
  const setFont = (font: number) => (context.font = `700 ${font}px system-ui, sans-serif`);
  const write = (text: string, { x, y }: Point, font: number) => {
    setFont(font);
    Object.assign(context, { textAlign: "center", textBaseline: "middle", fillStyle: "#000000" });
    context.fillText(text, x, y);
  };

  const drawCell = (place: Place) => {
    const cell = cells.get(place);
    if (!cell) return;
    const middle = onScreen(cells.pointOf(place));
    const [x, y] = [middle.x - size / 2, middle.y - size / 2];
    const { image, classIndex, confidence } = cell;
    const [color, name] = [classColor(classIndex), shortName(names, classIndex)];
    if (!image) {
      fill("#ffffff", x, y, size + 0.5, size + 0.5);
      fill(color, x, y, size + 0.5, size + 0.5, 0.35 + 0.65 * confidence);
      const isNamed = size >= 13 || (place.column % REGION_CELLS === 0 && place.row % REGION_CELLS === 0);
      if (isNamed) write(name, middle, clamp(0.55 * size, 9, 16));
      return;
    }
    const withClass = show === "classes";
    const inset = withClass ? 1 + Math.max(2, 0.05 * size) : 1;
    if (withClass) fill(color, x + 1, y + 1, size - 2, size - 2);
    context.drawImage(image, x + inset, y + inset, size - 2 * inset, size - 2 * inset);
    if (!withClass) return;
    const font = clamp(0.24 * size, 9, 16);
    setFont(font);
    const width = context.measureText(name).width + 0.6 * font;
    fill(color, x + 1, y + 1, width, 1.2 * font);
    write(name, { x: x + 1 + width / 2, y: y + 1 + 0.62 * font }, font);
  };

  const drawMarker = (point: Point, name: string) => {
    const aside = show === "regions" ? 0 : Math.max(size / 2 - 11, 0); // so that the image is visible
    const [x, y] = [onScreen(point).x + aside, onScreen(point).y + aside];
    context.beginPath();
    context.arc(x, y, 10, 0, 2 * Math.PI);
    Object.assign(context, { fillStyle: "#ffffff", lineWidth: 2, strokeStyle: "#000000" });
    context.fill();
    context.stroke();
    write(name, { x, y: y + 1 }, 12);
  };

  /** The frame of the enlarged cell, in white and black, which stands out on every image. */
  const drawSelection = () => {
    const side = Math.max(size, 10);
    const { x, y } = onScreen(cells.pointOf(model.place()));
    for (const [strokeStyle, lineWidth] of [
      ["#000000", 5],
      ["#ffffff", 2],
    ]) {
      // prettier-ignore
      Object.assign(context, { strokeStyle, lineWidth });
      context.strokeRect(x - side / 2, y - side / 2, side, side);
    }
  };

  if (cells.before && cells.busy.peek()) {
    const { image, extent } = cells.before;
    const side = extent * scale;
    const { x, y } = onScreen(cells.before);
    context.globalAlpha = 0.5;
    context.drawImage(image, x - side / 2, y - side / 2, side, side);
    context.globalAlpha = 1;
  }
  places.forEach(drawCell);
  for (const { point, name } of markers.value) drawMarker(point, name);
  drawSelection();
}

/** Cells that are at least partly visible, those near the middle first. */
function visible(middle: Place, columns: number): Place[] {
  const count = columns + 2;
  const half = (columns + 1) / 2;
  const places = Array.from({ length: count ** 2 }, (_, k) => ({
    column: middle.column - half + (k % count),
    row: middle.row - half + Math.floor(k / count),
  }));
  const distance = ({ column, row }: Place) => Math.hypot(column - middle.column, row - middle.row);
  return places.sort((a, b) => distance(a) - distance(b));
}
