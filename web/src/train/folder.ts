/** Run folders as zips: what a run of the page becomes, and what becomes a run of the page. */
import { ganFiles } from "./gan_folder";
import { GanRun } from "./gan_run";
import { lstmFiles } from "./lstm_folder";
import type { LstmRun } from "./lstm_run";
import { zipRun, type Python } from "./run_files";

/** Returns the zip of a run, in a folder `name`. */
export function packRun(run: LstmRun | GanRun, name: string, python: Python): Uint8Array<ArrayBuffer> {
  const files = run instanceof GanRun ? ganFiles(run.save(), run.images, name, python) : lstmFiles(run.save(), python);
  return zipRun(files, name, python.version);
}
