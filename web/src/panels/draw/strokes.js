/**
 * Strokes of a drawing, and their form in the URL fragment.
 *
 * Coordinates and widths are integers from 0 to 255, fractions of the side of the drawing. In the fragment a stroke is
 * [points, width, red, green, blue, x, y, x, y, ...] in bytes; all strokes stand one after the other in base64url.
 */

/**
 * @typedef {object} Stroke
 * @property {number} width 1 to 255
 * @property {[number, number, number]} color red, green and blue
 * @property {[number, number][]} points x and y
 */

/** Largest coordinate. */
export const MAX = 255;
/** Longest stroke that one entry holds; a longer one continues as another. */
const MAX_POINTS = 255;
const HEADER = 5;
/** Longest text that is read: about 20,000 points. */
const MAX_TEXT = 60_000;

/**
 * Returns strokes as text.
 * @param {Stroke[]} strokes
 */
export function encodeStrokes(strokes) {
  const bytes = strokes
    .flatMap(splitStroke)
    .flatMap(({ width, color, points }) => [points.length, width, ...color, ...points.flat()]);
  const binary = bytes.map((byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/**
 * @param {Stroke} stroke
 * @returns {Stroke[]}
 */
function splitStroke(stroke) {
  const parts = [];
  // The last point of one part is the first of the next, so that no gap is seen.
  for (let i = 0; i === 0 || i < stroke.points.length - 1; i += MAX_POINTS - 1)
    parts.push({ ...stroke, points: stroke.points.slice(i, i + MAX_POINTS) });
  return parts;
}

/**
 * Returns the strokes of a text from a fragment; none from where it is wrong.
 * @param {string} text untrusted
 * @returns {Stroke[]}
 */
export function decodeStrokes(text) {
  if (text.length > MAX_TEXT || !/^[\w-]*$/.test(text)) return [];
  let binary = "";
  try {
    binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    return [];
  }
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  const strokes = [];
  for (let i = 0; i + HEADER <= bytes.length;) {
    const [count, width, red, green, blue] = bytes.subarray(i, i + HEADER);
    const end = i + HEADER + 2 * count;
    if (!count || !width || end > bytes.length) break;
    /** @type {[number, number][]} */
    const points = Array.from({ length: count }, (_, n) => [bytes[i + HEADER + 2 * n], bytes[i + HEADER + 2 * n + 1]]);
    strokes.push(/** @type {Stroke} */ ({ width, color: [red, green, blue], points }));
    i = end;
  }
  return strokes;
}
