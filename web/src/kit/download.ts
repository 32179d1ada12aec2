/** Downloads of what the page has made. */
import { announce } from "./announce";

export function download(name: string, content: BlobPart, type: string) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
  announce(`Saved ${name}`);
}

export async function downloadCanvas(name: string, canvas: HTMLCanvasElement) {
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
  if (!blob) throw new Error(`the picture ${name} is too large for this browser`);
  download(name, blob, "image/png");
}

/** Returns a file name that every system takes: letters of any script, digits, dots, hyphens and underscores. */
export function fileName(parts: string[], suffix: string): string {
  const name = parts
    .join("-")
    .replace(/[^\p{L}\p{M}\p{N}._-]+/gu, "-")
    .replace(/^[.-]+|[.-]+$/g, "");
  return `${name.slice(0, 80) || "explorer"}${suffix}`;
}
