/** Zip archives. */
import { unzipSync, zipSync, type UnzipFileInfo } from "fflate";

export type Files = Record<string, Uint8Array<ArrayBuffer>>;

/** Returns an archive of files by their paths, not compressed. */
export const zip = (files: Files) => zipSync(files, { level: 0, mtime: "1980-01-01T00:00" });

export class Archive {
  readonly paths: string[] = [];

  private constructor(private readonly bytes: Uint8Array<ArrayBuffer>) {
    // None is inflated.
    this.#unzip(({ name }) => this.paths.push(name) < 0, "it is not a zip, or only part of one");
  }

  static open = async (blob: Blob) => new Archive(new Uint8Array(await blob.arrayBuffer()));

  #unzip(filter: (file: UnzipFileInfo) => boolean, problem: string): Files {
    try {
      return unzipSync(this.bytes, { filter }) as Files;
    } catch {
      throw new Error(problem);
    }
  }

  has = (path: string) => this.paths.includes(path);

  /** Returns the content of a file of at most `limit` bytes. */
  read(path: string, limit: number): Uint8Array<ArrayBuffer> {
    let size = NaN;
    const isWanted = (file: UnzipFileInfo) => file.name === path && (size = file.originalSize) <= limit;
    const found = this.#unzip(isWanted, "the zip is damaged")[path];
    if (size > limit) throw new Error(`${path} has ${size} bytes, and the page reads at most ${limit}`);
    if (!found) throw new Error(`the zip has no ${path}`);
    return found;
  }

  readText = (path: string, limit: number) => new TextDecoder().decode(this.read(path, limit));
}
