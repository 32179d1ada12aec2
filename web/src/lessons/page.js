/**
 * A lesson: the same page with chosen panels, a start view and a teacher's question.
 *
 * The new file is the old one but for the title, the data blocks `lesson` and `manifest`, and blocks that no chosen panel
 * needs. Script, style and content security policy stay, so that the hashes hold. The title is text: the serialiser of the
 * browser escapes it.
 */
import { readBlock } from "../data/blocks.js";
import { reduceManifest } from "./manifest.js";

/** @typedef {import("../types.js").Lesson} Lesson */
/** @typedef {import("../types.js").Manifest} Manifest */
/** @typedef {import("../panels/panel.js").Panel} Panel */

/** Longest title and question, in characters. */
export const MAX_TITLE = 120;
export const MAX_QUESTION = 1000;

/**
 * Returns a copy of the page. The texts of its data blocks are not copied but shared.
 * @param {Document} page
 */
export const copyPage = (page) => /** @type {HTMLElement} */ (page.documentElement.cloneNode(true));

/**
 * Returns the lesson of the page, or null. What is wrong in it counts as missing.
 * @returns {Promise<Lesson | null>}
 */
export async function readLesson() {
  if (!document.getElementById("lesson")) return null;
  const lesson = JSON.parse(new TextDecoder().decode(await readBlock("lesson")));
  if (!lesson || lesson.schema !== 1) throw new Error("the file has a lesson of another version");
  return {
    schema: 1,
    title: String(lesson.title ?? "Lesson").slice(0, MAX_TITLE),
    question: String(lesson.question ?? "").slice(0, MAX_QUESTION),
    panels: Array.isArray(lesson.panels) ? lesson.panels.map(String) : [],
    start: String(lesson.start ?? ""),
  };
}

/**
 * Returns the bytes as a data block has them: zlib-deflated, in base64.
 * @param {string} text
 */
async function encodeBlock(text) {
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

/**
 * Keeps the links to the tutorials in a copy that will stand elsewhere, or drops them where they have no address on the
 * web.
 * @param {Element} page
 */
function moveLinks(page) {
  const tutorials = page.querySelector('meta[name="tutorials"]');
  const folder = tutorials?.getAttribute("content");
  const isPublished = folder && location.protocol.startsWith("http");
  tutorials?.setAttribute("content", isPublished ? new URL(folder, location.href).href : "");
}

/**
 * Returns the HTML of a page with a lesson.
 * @param {HTMLElement} source a copy of the page as it was read; stays as it is
 * @param {Manifest} manifest
 * @param {Lesson} lesson
 * @param {Panel[]} panels the chosen ones
 */
export async function renderLesson(source, manifest, lesson, panels) {
  const page = /** @type {HTMLElement} */ (source.cloneNode(true));
  const reduced = reduceManifest(manifest, panels);
  const blocks = [...page.querySelectorAll('script[type="text/plain"]')];
  for (const block of blocks) if (block.id !== "manifest" && !reduced.blocks.has(block.id)) removeLine(block);
  moveLinks(page);
  const manifestBlock = /** @type {Element} */ (page.querySelector("script#manifest"));
  manifestBlock.textContent = await encodeBlock(JSON.stringify(reduced.manifest));
  const lessonBlock = document.createElement("script");
  lessonBlock.setAttribute("type", "text/plain");
  lessonBlock.id = "lesson";
  lessonBlock.textContent = await encodeBlock(JSON.stringify(lesson));
  manifestBlock.before(lessonBlock, "\n");
  /** @type {Element} */ (page.querySelector("title")).textContent = lesson.title;
  return `<!doctype html>\n${page.outerHTML}\n`;
}

/**
 * Removes a data block and the end of its line.
 * @param {Element} block
 */
function removeLine(block) {
  if (block.nextSibling?.nodeType === Node.TEXT_NODE) block.nextSibling.remove();
  block.remove();
}
