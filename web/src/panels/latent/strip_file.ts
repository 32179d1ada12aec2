/**
 * The strip as a file: PNG, or SVG with the images inside.
 *
 * The PNG is a picture of the SVG. The page's colors do not matter: files are dark on white.
 */
import { enlarge, newCanvas, scaleTo, type ImageShape } from "../../kit/image";

interface StripFile {
  title: string;
  notes: string[]; // Below the title
  frames: { pixels: Float32Array; lines: string[] }[]; // `lines` stand below the image
  shape: ImageShape;
}

const [MARGIN, GAP, LINE] = [16, 10, 17];
const MAX_COLUMNS = 13;
const MIN_WIDTH = 560;
const [INK, GRAY] = ["#1a1c20", "#565b66"];
const PNG_SCALE = 3; // Pixels of a PNG per unit
/** Width of an image in a PNG, about, and of one inside an SVG, which no program then smooths much. */
const IMAGE = 300;

const shorten = (text: string, length: number) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

/** Places the parts of the strip; `y` of a text is that of its base line. */
function layOut({ title, notes, frames, shape }: StripFile) {
  const columns = Math.min(frames.length, MAX_COLUMNS);
  const enlargement = scaleTo(shape, IMAGE) / PNG_SCALE; // so that each pixel covers a whole number of the PNG's
  const [width, height] = [shape[2] * enlargement, shape[1] * enlargement];
  const rowHeight = height + Math.max(...frames.map(({ lines }) => lines.length)) * LINE + 2 * GAP;
  const top = MARGIN + 24 + notes.length * LINE + GAP;
  const inner = columns * (width + GAP) - GAP;
  const total = Math.max(2 * MARGIN + inner, MIN_WIDTH);
  const images = frames.map(({ pixels }, n) => {
    const x = Math.round((total - inner) / 2) + (n % columns) * (width + GAP);
    return { x, y: top + Math.floor(n / columns) * rowHeight, width, height, pixels };
  });
  const left = { x: MARGIN, anchor: "start" as const };
  const below = images.flatMap(({ x, y }, n) =>
    frames[n].lines.map((line, k) => ({
      ...{ x: x + width / 2, y: y + height + (k + 1) * LINE, size: 13, color: INK },
      ...{ anchor: "middle" as const, text: shorten(line, 15) },
    })),
  );
  const texts = [
    { ...left, y: MARGIN + 16, size: 18, color: INK, text: shorten(title, total / 9) },
    ...notes.map((note, n) => ({
      ...{ ...left, y: MARGIN + 20 + (n + 1) * LINE, size: 13, color: GRAY },
      text: shorten(note, total / 6.4),
    })),
    ...below,
  ];
  return {
    width: total,
    height: top + Math.ceil(frames.length / columns) * rowHeight + MARGIN - 2 * GAP,
    images,
    texts,
  };
}

export async function canvasOf(svg: string): Promise<HTMLCanvasElement> {
  const image = new Image();
  image.src = `data:image/svg+xml,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = newCanvas(Math.ceil(image.width * PNG_SCALE), Math.ceil(image.height * PNG_SCALE));
  canvas.getContext("2d")!.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** Returns the strip as the text of an SVG file that needs no other file. */
export function stripSvg(file: StripFile): string {
  const { width, height, images, texts } = layOut(file);
  const space = "http://www.w3.org/2000/svg";
  const root = document.implementation.createDocument(space, "svg", null);
  const svg = root.documentElement;
  const set = (element: Element, attributes: Record<string, string | number>) =>
    Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, String(value)));
  const add = (name: string, attributes: Record<string, string | number>, text = "") => {
    const element = svg.appendChild(root.createElementNS(space, name));
    set(element, attributes);
    element.textContent = printable(text);
  };
  set(svg, { width, height, viewBox: `0 0 ${width} ${height}`, role: "img" });
  add("title", {}, file.title);
  add("desc", {}, [...file.notes, ...file.frames.map(({ lines }) => lines.join(", "))].join("; "));
  add("rect", { width, height, fill: "#ffffff" });
  for (const { pixels, ...place } of images) {
    const href = enlarge(pixels, file.shape, scaleTo(file.shape, IMAGE)).toDataURL("image/png");
    add("image", { ...place, href, preserveAspectRatio: "none", "image-rendering": "pixelated" });
    add("rect", { ...place, fill: "none", stroke: GRAY, "stroke-width": 0.5 });
  }
  for (const { x, y, size, text, anchor, color } of texts) {
    const font = { "font-size": size, "font-family": "sans-serif", "text-anchor": anchor, fill: color };
    add("text", { x, y, ...font }, text);
  }
  return new XMLSerializer().serializeToString(root);
}

/** Returns a text without the characters that XML forbids. */
const printable = (text: string) => text.replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "\ufffd");
