/**
 * Strokes of a drawing, and their form in the URL fragment.
 *
 * Coordinates and widths are integers from 0 to 255, fractions of the side of the drawing. In the fragment a stroke is
 * [points, width, red, green, blue, x, y, x, y, ...] in bytes; all strokes stand one after the other in base64url.
 */
import { fromBase64, toBase64url } from "../../kit/bytes";
import { drawImage, newCanvas, type ImageShape } from "../../kit/image";

export type Point = [number, number];
export type Color = [number, number, number];

export interface Stroke {
  /** 1 to 255. */
  width: number;
  color: Color;
  points: Point[];
}

/** Largest coordinate. */
export const MAX = 255;
/** Longest stroke that one entry holds; a longer one continues as another. */
const MAX_POINTS = 255;
const HEADER = 5;
/** Longest text that is read: about 20,000 points. */
const MAX_TEXT = 60_000;

export const encodeStrokes = (strokes: Stroke[]) =>
  toBase64url(
    Uint8Array.from(
      strokes.flatMap(split).flatMap(({ width, color, points }) => [points.length, width, ...color, ...points.flat()]),
    ),
  );

/** Splits a stroke; the last point of one part is the first of the next, so that no gap is seen. */
function split(stroke: Stroke): Stroke[] {
  const count = Math.max(1, Math.ceil((stroke.points.length - 1) / (MAX_POINTS - 1)));
  const part = (n: number) => stroke.points.slice(n * (MAX_POINTS - 1), n * (MAX_POINTS - 1) + MAX_POINTS);
  return Array.from({ length: count }, (_, n) => ({ ...stroke, points: part(n) }));
}

/** Returns the strokes of an untrusted text; none from where it is wrong. */
export function decodeStrokes(text: string): Stroke[] {
  // Not `fromBase64url`: a text that was cut off still has its first strokes.
  if (text.length > MAX_TEXT || text.length % 4 === 1 || !/^[\w-]*$/.test(text)) return [];
  const bytes = fromBase64(text.replaceAll("-", "+").replaceAll("_", "/"));
  const strokes: Stroke[] = [];
  for (let i = 0; i + HEADER <= bytes.length;) {
    const [count, width, ...color] = bytes.subarray(i, i + HEADER);
    const start = i + HEADER;
    i = start + 2 * count;
    if (!count || !width || i > bytes.length) break;
    const points = Array.from({ length: count }, (_, n): Point => [bytes[start + 2 * n], bytes[start + 2 * n + 1]]);
    strokes.push({ width, color: color as Color, points });
  }
  return strokes;
}

/** Paints a picture, or black without one, and strokes above it. */
export function paint(canvas: HTMLCanvasElement, base: Float32Array | null, shape: ImageShape, strokes: Stroke[]) {
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.fillStyle = "black";
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (base) {
    const picture = newCanvas(shape[2], shape[1]);
    drawImage(picture, base, shape);
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  }
  for (const stroke of strokes) paintStroke(canvas, stroke);
}

/** Paints a stroke from one of its points. */
export function paintStroke(canvas: HTMLCanvasElement, { width, color, points }: Stroke, from = 0) {
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.lineWidth = (width / MAX) * Math.max(canvas.width, canvas.height);
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = `rgb(${color.join(" ")})`;
  context.beginPath();
  points.slice(from).forEach(([x, y], index) => {
    const position = [(x / MAX) * canvas.width, (y / MAX) * canvas.height] as const;
    if (index === 0) context.moveTo(...position);
    context.lineTo(...position); // also for a single point, which becomes a dot
  });
  context.stroke();
}
