/**
 * Data blocks of the page: script elements that no browser runs, with zlib-deflated bytes in base64.
 */

/**
 * Returns the bytes of a base64 text.
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function fromBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/**
 * Inflates zlib data.
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * Returns the inflated bytes of the data block with this id.
 * @param {string} id
 */
export async function readBlock(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the file has no data block ${id}`);
  return inflate(fromBase64(element.textContent ?? ""));
}

/**
 * Returns the manifest.
 * @returns {Promise<import("../types.js").Manifest>}
 */
export async function readManifest() {
  const manifest = JSON.parse(new TextDecoder().decode(await readBlock("manifest")));
  if (manifest.schemaVersion !== 1) throw new Error(`the file has data of version ${manifest.schemaVersion}, not 1`);
  return manifest;
}
