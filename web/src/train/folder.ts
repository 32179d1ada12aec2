/** Run folders as zips: what a run of the page becomes, and what becomes a run of the page. */
import { ganFiles, readGan } from "./gan_folder";
import { GanRun, type Images } from "./gan_run";
import { lstmFiles, readLstm } from "./lstm_folder";
import { LstmRun } from "./lstm_run";
import type { SequenceData } from "./sequences";
import { unzipRun, zipRun, type Python } from "./run_files";

/** Returns the zip of a run, in a folder `name`. */
export function packRun(run: LstmRun | GanRun, name: string, python: Python): Uint8Array<ArrayBuffer> {
  const files = run instanceof GanRun ? ganFiles(run.save(), run.images, name, python) : lstmFiles(run, name, python);
  return zipRun(files, name, python.version);
}

/** What the page has to learn from, besides what a zip has. */
interface Known {
  images: Images | null;
  sequences: SequenceData | null;
}

/** Returns the run in a zip, which goes on where it was saved. */
export async function openRun(file: Blob, python: Python, known: Known): Promise<LstmRun | GanRun> {
  try {
    return await readRun(file, python, known);
  } catch (error) {
    const isDamaged = [TypeError, RangeError, SyntaxError].some((kind) => error instanceof kind); // of JSON, for example
    throw isDamaged ? new Error("the run folder in it is damaged") : error;
  }
}

async function readRun(file: Blob, python: Python, { images, sequences }: Known) {
  const read = await unzipRun(file);
  if (read.record.kind === "gan") {
    const found = await readGan(read, python, images);
    return checkPosition(
      await GanRun.restore(found.saved, found.images),
      found.images.bytes.length / found.images.size ** 2,
    );
  }
  if (read.record.kind !== "lstm") throw new Error("run.json is of no LSTM and no GAN");
  const { saved, own } = await readLstm(read, python, sequences);
  const run = await LstmRun.restore(saved, own);
  return checkPosition(run, run.data.train.count);
}

function checkPosition<R extends LstmRun | GanRun>(run: R, count: number): R {
  if (run.position >= count) throw new Error("its batch is beyond the end of the epoch");
  return run;
}
