/** Run folders as zips: what a run of the page becomes, and what becomes a run of the page. */
import { ganFiles, readGan } from "./gan_folder";
import { GanRun } from "./gan_run";
import { lstmFiles, readLstm } from "./lstm_folder";
import { LstmRun } from "./lstm_run";
import type { Data } from "./protocol";
import { unzipRun, zipRun, type Python, type RunRead } from "./run_files";

export async function packRun(run: LstmRun | GanRun, name: string, python: Python): Promise<Uint8Array<ArrayBuffer>> {
  const files =
    run instanceof GanRun ? ganFiles(await run.save(), run.images, name, python) : lstmFiles(run, name, python);
  return zipRun(files, name, python.version);
}

/** Returns the run in a zip, which goes on where it was saved; `known` is what the page has to learn from, besides the zip. */
export async function openRun(file: Blob, python: Python, known: Data): Promise<LstmRun | GanRun> {
  try {
    const run = await restore(await unzipRun(file), python, known);
    const count = run.kind === "gan" ? run.count : run.data.train.count;
    if (run.position >= count) throw new Error("its batch is beyond the end of the epoch");
    return run;
  } catch (error) {
    const isDamaged = [TypeError, RangeError, SyntaxError].some((kind) => error instanceof kind); // of JSON, for example
    throw isDamaged ? new Error("the run folder in it is damaged") : error;
  }
}

async function restore(read: RunRead, python: Python, known: Data): Promise<LstmRun | GanRun> {
  if (read.record.kind === "gan") {
    const { saved, images } = readGan(read, python, known.images);
    return GanRun.restore(saved, images);
  }
  if (read.record.kind !== "lstm") throw new Error("run.json is of no LSTM and no GAN");
  const { saved, own } = readLstm(read, python, known.sequences);
  return LstmRun.restore(saved, own);
}
