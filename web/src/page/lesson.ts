/**
 * A lesson: the same page with chosen panels, a start view and a teacher's question.
 *
 * The new file is the old one but for the title, the data blocks `lesson` and `manifest`, and blocks that no chosen panel
 * needs. Script, style and content security policy stay, so that the hashes hold. The title is text: the serialiser of the
 * browser escapes it.
 */
import { readJson, writeJson } from "../kit/bytes";
import type { GanContent, Manifest } from "../kit/manifest";
import { type Run } from "../kit/runs";
import type { Panel, Part } from "./panel";

export interface Lesson {
  schema: 1;
  title: string;
  question: string;
  panels: string[]; // Ids of the panels
  start: string; // URL fragment of the first view, without #
}

export const [MAX_TITLE, MAX_QUESTION] = [120, 1000]; // Longest title and question, in characters
/** Networks and images of a GAN that a lesson can leave out, by the parts with the same names. */
const PARTS = ["discriminator", "classifier", "training", "test"] as const;

/** Returns a copy of the page. The texts of its data blocks are not copied but shared. */
export const copyPage = (page: Document) => page.documentElement.cloneNode(true) as HTMLElement;

/** Returns the lesson of the page, or null. */
export async function readLesson(): Promise<Lesson | null> {
  if (!document.getElementById("lesson")) return null;
  const lesson: Lesson = await readJson("lesson");
  if (lesson.schema !== 1) throw new Error("the file has a lesson of another version");
  return lesson;
}

/** Returns the manifest for some panels, without what none of them needs. */
function reduceManifest(manifest: Manifest, panels: Panel[]): Manifest {
  const needs = (part: Part) => panels.some((panel) => !panel.needs || panel.needs.includes(part));
  const reduce = (gan: GanContent) => ({
    ...gan,
    ...Object.fromEntries(PARTS.map((part) => [part, needs(part) ? gan[part] : null])),
  });
  return {
    ...manifest,
    gans: needs("generator") ? manifest.gans.map(reduce) : [],
    trainingImages: needs("images") ? manifest.trainingImages : null,
    lstms: manifest.lstms.map((lstm) => (needs("lstm") ? lstm : { ...lstm, stages: [] })),
  };
}

/** Ids of the data blocks that a part of the manifest names, wherever they stand. */
function blocksIn(part: unknown): string[] {
  if (typeof part !== "object" || part === null) return [];
  const own = "block" in part && "tensors" in part ? [String(part.block)] : [];
  return [...own, ...Object.values(part).flatMap(blocksIn)];
}

/** Keeps the links to the tutorials in a copy that will stand elsewhere, or drops them where they have no address. */
function moveLinks(page: Element) {
  const tutorials = page.querySelector('meta[name="tutorials"]');
  const folder = tutorials?.getAttribute("content");
  const isPublished = folder && location.protocol.startsWith("http");
  tutorials?.setAttribute("content", isPublished ? new URL(folder, location.href).href : "");
}

function removeLine(block: Element) {
  if (block.nextSibling?.nodeType === Node.TEXT_NODE) block.nextSibling.remove();
  block.remove();
}

/** Returns the HTML of a page with a lesson; `source` is a copy of the page as it was read. */
export async function renderLesson(source: HTMLElement, manifest: Manifest, lesson: Lesson, panels: Panel[]) {
  const page = source.cloneNode(true) as HTMLElement;
  const isInPage = (run: Run) => blocksIn(run).every((id) => page.querySelector(`#${CSS.escape(id)}`)); // not made by it
  const [gans, lstms] = [manifest.gans.filter(isInPage), manifest.lstms.filter(isInPage)];
  const reduced = reduceManifest({ ...manifest, gans, lstms }, panels);
  const kept = new Set(["manifest", ...blocksIn(reduced)]);
  for (const block of page.querySelectorAll('script[type="text/plain"]')) if (!kept.has(block.id)) removeLine(block);
  moveLinks(page);
  const manifestBlock = page.querySelector("script#manifest")!;
  manifestBlock.textContent = await writeJson(reduced);
  const lessonBlock = document.createElement("script");
  lessonBlock.setAttribute("type", "text/plain");
  lessonBlock.id = "lesson";
  lessonBlock.textContent = await writeJson(lesson);
  manifestBlock.before(lessonBlock, "\n");
  page.querySelector("title")!.textContent = lesson.title;
  return `<!doctype html>\n${page.outerHTML}\n`;
}
