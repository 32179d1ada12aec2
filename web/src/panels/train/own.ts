/** What a reader brings to the panel, and what of the panel goes to others: saved runs, own data, trained networks. */
import { announce } from "../../kit/announce";
import type { Manifest } from "../../kit/manifest";
import { addRun } from "../../kit/runs";
import type { Images, Kind, LstmSettings, SequenceData } from "../../train/protocol";
import { MAX_FILE, readSequences } from "../../train/sequences";
import { LSTM_ORIGINAL } from "../../train/settings";
import { ganContent, lstmContent } from "./content";
import type { Session } from "./session";
import { readImageFiles } from "./image_files";
import { commandOf, setKind, setSettings, settingsOf, type TrainState } from "./settings";

/** Settings that own sequences do without. */
export const OF_PALINDROMES = ["dataSize", "length", "encoding", "curriculum"];

export const withoutPalindromes = (settings: LstmSettings): LstmSettings => ({
  ...settings,
  ...Object.fromEntries(OF_PALINDROMES.map((name) => [name, LSTM_ORIGINAL[name as "length"]])),
});

/** Puts the networks of the last line, as they are now, into the other panels. */
export async function showRun(session: Session, manifest: Manifest) {
  const now = await session.withLast(async ({ save, seen, data }) => ({ saved: await save(), seen: seen!, data }));
  if (!now) return;
  const { saved, seen, data } = now;
  const command = commandOf(saved.kind, saved.settings, null);
  const run =
    saved.kind === "lstm"
      ? lstmContent(saved, data.sequences, command)
      : await ganContent(saved, seen, data.images!, command);
  addRun(manifest, run);
  session.shown.value = run;
  announce("The other panels show the network now.");
}

/** Goes on with a saved run, or learns from own data. */
export async function takeFiles(files: File[], session: Session, state: TrainState, show: () => Promise<void>) {
  const [file] = files;
  if (!file) return;
  if (/\.(csv|txt)$/i.test(file.name))
    return learnFrom(session, state, async () => {
      if (file.size > MAX_FILE) throw new Error(`${file.name} has ${file.size} bytes; give at most ${MAX_FILE}`);
      return readSequences(new Uint8Array(await file.arrayBuffer()), file.name);
    });
  if (files.every(({ type }) => type.startsWith("image/")))
    return learnFrom(session, state, () => readImageFiles(files));
  const status = await session.load(file);
  if (!status) return;
  setKind(state, status.kind);
  setSettings(state, status.kind, status.settings);
  if (status.kind === "lstm") showFirst(session.sequences.value, state);
  await show();
  announce(`Opened ${file.name}`);
}

/** Lets a network learn from what `read` returns; what is wrong with it becomes a sentence. */
export async function learnFrom(session: Session, state: TrainState, read: () => Promise<SequenceData | Images>) {
  session.fileProblem.value = "";
  try {
    const own = await read();
    learn(session, state, own, "rows" in own ? "lstm" : "gan");
    announce("It learns from these now.");
  } catch (error) {
    announce((session.fileProblem.value = `It cannot learn from this: ${(error as Error).message}.`));
  }
}

/** Begins a network anew with own data, or with those of the page. */
export function learn(session: Session, state: TrainState, own: SequenceData | Images | null, kind: Kind) {
  const [sequences, images] = own && "rows" in own ? [own, null] : [null, own];
  setKind(state, kind);
  if (sequences) [state.settings.lstm.encoding.value, state.settings.lstm.curriculum.value] = ["scalar", "off"];
  showFirst(sequences, state);
  void session.learn(kind, settingsOf(state), { sequences, images });
}

function showFirst(own: SequenceData | null, state: TrainState) {
  if (own) state.numbers.value = [...own.rows[0].numbers].map((value) => Number(value.toPrecision(6))).join(" ");
}
