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
