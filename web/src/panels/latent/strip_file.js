/**
 * The strip as a file: PNG, or SVG with the images inside.
 *
 * Both come from one layout, in the units of the SVG. The page's colors do not matter: files are dark on white.
 */
import { enlarge, scaleTo } from "../../ui/image.js";

/** @typedef {import("../../ui/image.js").ImageShape} ImageShape */

/**
 * @typedef {object} FileFrame
 * @property {Float32Array} pixels [P]
 * @property {string[]} lines text below the image
 */

/**
 * @typedef {object} Placed text of a layout
 * @property {number} x
 * @property {number} y of the base line
 * @property {number} size
 * @property {string} text
 * @property {"start" | "middle"} anchor
 * @property {string} color
 */

/**
 * @typedef {object} Layout
 * @property {number} width
 * @property {number} height
 * @property {{x: number, y: number, width: number, height: number, pixels: Float32Array}[]} images
 * @property {Placed[]} texts
 */

const [MARGIN, GAP, LINE] = [16, 10, 17];
const MAX_COLUMNS = 13;
const MIN_WIDTH = 560;
const [INK, GRAY] = ["#1a1c20", "#565b66"];
/** Pixels of a PNG per unit. */
const PNG_SCALE = 3;
/** Width of an image in a PNG, about, and of one inside an SVG, which no program then smooths much. */
const IMAGE = 300;

/** @param {string} text @param {number} length */
const shorten = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}\u2026` : text);

/**
 * Places the parts of the strip.
 * @param {string} title
 * @param {string[]} notes below the title
 * @param {FileFrame[]} frames
 * @param {ImageShape} shape
 * @returns {Layout}
 */
function layout(title, notes, frames, shape) {
  const columns = Math.min(frames.length, MAX_COLUMNS);
  const enlargement = scaleTo(shape, IMAGE) / PNG_SCALE; // so that each pixel covers a whole number of the PNG's
  const [width, height] = [shape[2] * enlargement, shape[1] * enlargement];
  const numLines = Math.max(...frames.map(({ lines }) => lines.length));
  const rowHeight = height + numLines * LINE + 2 * GAP;
  const top = MARGIN + 24 + notes.length * LINE + GAP;
  const total = Math.max(2 * MARGIN + columns * (width + GAP) - GAP, MIN_WIDTH);
  const left = Math.round((total - columns * (width + GAP) + GAP) / 2);
  /** @type {Placed[]} */
  const texts = [{ x: MARGIN, y: MARGIN + 16, size: 18, text: shorten(title, total / 9), anchor: "start", color: INK }];
  notes.forEach((note, n) =>
    texts.push({
      x: MARGIN,
      y: MARGIN + 20 + (n + 1) * LINE,
      size: 13,
      text: shorten(note, total / 6.4),
      anchor: "start",
      color: GRAY,
    }),
  );
  const images = frames.map(({ pixels, lines }, n) => {
    const x = left + (n % columns) * (width + GAP);
    const y = top + Math.floor(n / columns) * rowHeight;
    lines.forEach((text, k) =>
      texts.push({
        x: x + width / 2,
        y: y + height + (k + 1) * LINE,
        size: 13,
        text: shorten(text, 15),
        anchor: "middle",
        color: INK,
      }),
    );
    return { x, y, width, height, pixels };
  });
  return {
    width: total,
    height: top + Math.ceil(frames.length / columns) * rowHeight + MARGIN - 2 * GAP,
    images,
    texts,
  };
}

/**
 * Returns the strip as a picture.
 * @param {string} title
 * @param {string[]} notes
 * @param {FileFrame[]} frames
 * @param {ImageShape} shape
 */
export function stripCanvas(title, notes, frames, shape) {
  const { width, height, images, texts } = layout(title, notes, frames, shape);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.ceil(width * PNG_SCALE), Math.ceil(height * PNG_SCALE)];
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.scale(PNG_SCALE, PNG_SCALE);
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingEnabled = false;
  for (const image of images) {
    context.drawImage(enlarge(image.pixels, shape, 1), image.x, image.y, image.width, image.height);
    context.strokeStyle = GRAY;
    context.lineWidth = 0.5;
    context.strokeRect(image.x, image.y, image.width, image.height);
  }
  for (const { x, y, size, text, anchor, color } of texts) {
    context.font = `${size}px sans-serif`;
    context.textAlign = anchor === "middle" ? "center" : "start";
    context.fillStyle = color;
    context.fillText(text, x, y);
  }
  return canvas;
}

/**
 * Returns the strip as the text of an SVG file that needs no other file.
 * @param {string} title
 * @param {string[]} notes
 * @param {FileFrame[]} frames
 * @param {ImageShape} shape
 */
export function stripSvg(title, notes, frames, shape) {
  const { width, height, images, texts } = layout(title, notes, frames, shape);
  const space = "http://www.w3.org/2000/svg";
  const root = document.implementation.createDocument(space, "svg", null);
  /**
   * @param {Element} parent
   * @param {string} name
   * @param {Record<string, string | number>} attributes
   * @param {string} [text]
   */
  const add = (parent, name, attributes, text = "") => {
    const element = root.createElementNS(space, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
    element.textContent = printable(text);
    parent.append(element);
    return element;
  };
  const svg = root.documentElement;
  for (const [key, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}`, role: "img" }))
    svg.setAttribute(key, String(value));
  add(svg, "title", {}, title);
  add(svg, "desc", {}, [...notes, ...frames.map(({ lines }) => lines.join(", "))].join("; "));
  add(svg, "rect", { width, height, fill: "#ffffff" });
  for (const { pixels, ...place } of images) {
    const href = enlarge(pixels, shape, scaleTo(shape, IMAGE)).toDataURL("image/png");
    add(svg, "image", { ...place, href, preserveAspectRatio: "none", "image-rendering": "pixelated" });
    add(svg, "rect", { ...place, fill: "none", stroke: GRAY, "stroke-width": 0.5 });
  }
  for (const { x, y, size, text, anchor, color } of texts)
    add(
      svg,
      "text",
      { x, y, "font-size": size, "font-family": "sans-serif", "text-anchor": anchor, fill: color },
      text,
    );
  return new XMLSerializer().serializeToString(root);
}

/**
 * Returns a text without the characters that XML forbids.
 * @param {string} text
 */
const printable = (text) => text.replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "\ufffd");
