/**
 * Strokes of a drawing, and their form in the URL fragment.
 *
 * Coordinates and widths are integers from 0 to 255, fractions of the side of the drawing. In the fragment a stroke is
 * [points, width, red, green, blue, x, y, x, y, ...] in bytes; all strokes stand one after the other in base64url.
 */
import { fromBase64, toBase64url } from "../../kit/bytes";
import { imageCanvas, type ImageShape } from "../../kit/image";

export type Point = [number, number];
export type Color = [number, number, number];

export interface Stroke {
  width: number; // 1 to 255
  color: Color;
  points: Point[];
}

export const MAX = 255; // Largest coordinate
const MAX_POINTS = 255; // Longest stroke that one entry holds; a longer one continues as another
const HEADER = 5;
const MAX_TEXT = 60_000; // Longest text that is read: about 20,000 points
const SIDE = 336; // Pixels of the longer side of a drawing

export function encodeStrokes(strokes: Stroke[]): string {
  const bytes: number[] = [];
  for (const { width, color, points } of strokes)
    // The last point of one entry is the first of the next, so that no gap is seen.
    for (let from = 0; from === 0 || from < points.length - 1; from += MAX_POINTS - 1) {
      const part = points.slice(from, from + MAX_POINTS);
      bytes.push(part.length, width, ...color, ...part.flat());
    }
  return toBase64url(Uint8Array.from(bytes));
}

/** Returns the strokes of an untrusted text; none from where it is wrong, so one that was cut off has its first strokes. */
export function decodeStrokes(text: string): Stroke[] {
  if (text.length > MAX_TEXT || text.length % 4 === 1 || !/^[\w-]*$/.test(text)) return [];
  const bytes = fromBase64(text.replaceAll("-", "+").replaceAll("_", "/")); // `fromBase64url` refuses what was cut off
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

/** Size of a drawing that becomes an image of a shape, in pixels. */
export function padSize([, height, width]: ImageShape) {
  const scale = SIDE / Math.max(height, width);
  return { width: Math.round(width * scale), height: Math.round(height * scale) };
}

const contextOf = (canvas: HTMLCanvasElement) => canvas.getContext("2d", { willReadFrequently: true })!;

export function paint(canvas: HTMLCanvasElement, base: Float32Array | null, shape: ImageShape, strokes: Stroke[]) {
  const image = imageCanvas(base ?? new Float32Array(3 * shape[1] * shape[2]).fill(-1), shape);
  contextOf(canvas).drawImage(image, 0, 0, canvas.width, canvas.height);
  for (const stroke of strokes) paintStroke(canvas, stroke);
}

export function paintStroke(canvas: HTMLCanvasElement, { width, color, points }: Stroke) {
  const context = contextOf(canvas);
  const at = ([x, y]: Point) => [(x / MAX) * canvas.width, (y / MAX) * canvas.height] as const;
  context.lineWidth = (width / MAX) * Math.max(canvas.width, canvas.height);
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = `rgb(${color.join(" ")})`;
  context.beginPath();
  context.moveTo(...at(points[0]));
  for (const point of points) context.lineTo(...at(point)); // also of a single point, which becomes a dot
  context.stroke();
}
