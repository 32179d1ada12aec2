/**
 * Downloads of what the page has made.
 */
import { h } from "./dom.js";

/**
 * Offers bytes or text as a file.
 * @param {string} name
 * @param {BlobPart} content
 * @param {string} type MIME type
 */
export function download(name, content, type) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/**
 * Offers the picture of a canvas as a PNG file.
 * @param {string} name
 * @param {HTMLCanvasElement} canvas
 */
export async function downloadCanvas(name, canvas) {
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  if (!(blob instanceof Blob)) throw new Error(`the picture ${name} is too large for this browser`);
  download(name, blob, "image/png");
}

/**
 * Returns a file name that every system takes: letters, digits, dots, hyphens and underscores.
 * @param {string[]} parts joined with hyphens
 * @param {string} suffix with its dot
 */
export function fileName(parts, suffix) {
  const name = parts
    .join("-")
    .replace(/[^\p{L}\p{N}._-]+/gu, "-")
    .replace(/^[.-]+/, "");
  return `${name.slice(0, 80) || "explorer"}${suffix}`;
}
