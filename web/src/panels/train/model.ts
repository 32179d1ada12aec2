/** What the panel shows, and what a reader does with it: settings, experiments, saved runs, own data. */
import { computed, signal } from "@preact/signals";
import { announce } from "../../kit/announce";
import { openPanel, readInteger } from "../../kit/codec";
import { download } from "../../kit/download";
import type { Manifest } from "../../kit/manifest";
import { addRun, isGan } from "../../kit/runs";
import { readImages } from "../../train/images";
import type { Images, Kind, SequenceData, Settings, Status } from "../../train/protocol";
import { MAX_FILE, parseNumbers, readSequences } from "../../train/sequences";
import type { Values } from "../../train/settings";
import { ganContent, lstmContent } from "./content";
import { EXPERIMENTS, type Experiment } from "./experiment";
import { readImageFiles } from "./image_files";
import type { Session } from "./session";
import { commandOf, digitsOf, NETWORKS, openState, problemsOf, setKind, setSettings, settingsOf } from "./settings";

/** Settings that own sequences do without. */
const OF_PALINDROMES = ["dataSize", "length", "encoding", "curriculum"];

/** What a GAN of the page can learn from: the images of MNIST in it, or those that a run trained on. */
export function imagesOf({ gans, trainingImages }: Manifest) {
  const run = gans.find(({ training, imageShape: [C, H, W] }) => training && C === 1 && H === W);
  const from = trainingImages ?? (run && { data: run.training!, source: null, classifier: run.classifier });
  if (!from) return null;
  const { data, source, classifier } = from;
  const count = Math.floor(data.tensors.images.shape[0] / 8) * 8;
  return {
    name: trainingImages ? "digits of MNIST" : `training images of ${run!.name}`,
    ...{ count, data: source, classNames: classifier?.classNames ?? [] },
    load: () => readImages(from, count),
  };
}

export function makeModel(manifest: Manifest, session: Session, view: URLSearchParams) {
  const state = openState(view);
  const ofPage = imagesOf(manifest);
  session.python = { version: manifest.version, lstmConfig: manifest.lstmConfig, ganConfig: manifest.ganConfig };
  session.images = async () => ofPage && ofPage.load();
  const guessed = readInteger(view.get("guess") ?? "", 0, 2);
  const guess = signal<number | null>(null); // Index of the run that the reader guesses
  const own = computed(() => (state.kind.value === "lstm" ? session.sequences.value : null));
  const hidden = computed(() => (own.value ? OF_PALINDROMES : []));
  const images = computed(() => {
    const given = session.ownImages.value;
    const count = given && given.bytes.length / given.size ** 2;
    return count ? { name: "own images", count, data: "images.npy", classNames: [] } : ofPage;
  });
  const digits = computed(() =>
    session.sequences.value ? [...parseNumbers(state.numbers.value)[0]] : [...state.digits.value].map(Number),
  );
  const chosen = computed(() => EXPERIMENTS[state.kind.value].find(({ id }) => id === state.experiment.value));
  const runs = computed(() => {
    const { gans, lstms } = manifest;
    const task = own.value ? "custom" : "palindrome";
    const found = state.kind.value === "gan" ? gans : lstms.filter((run) => run.task === task);
    return found.filter(({ id, metrics }) => metrics.epoch && !id.startsWith("trained-")); // by the page
  });
  /** The line that trains the same with Python, on data if they are given; null if there is none. */
  const commandOn = (data: string | null) => {
    const settings: Values = { ...settingsOf(state) };
    for (const name of hidden.value) settings[name] = NETWORKS.lstm.original[name];
    return commandOf(state.kind.value, settings as Settings, data);
  };

  const set = (name: string, value: number | string) => {
    state.settings[state.kind.value][name].value = value;
    if (name === "length") state.digits.value = digitsOf(Number(value));
  };
  const change = () => {
    state.experiment.value = "";
    void session.change(settingsOf(state));
  };
  const open = () => void session.open(state.kind.value, settingsOf(state));
  const follow = ({ kind, settings }: Status) => {
    setKind(state, kind);
    setSettings(state, kind, settings);
  };
  const restart = (why: string) => void session.restart(settingsOf(state), why);
  let before: { settings: Values; hasRun: boolean } | null = null; // What an experiment has taken the place of
  const begin = (one: Experiment, guessed: number | null) => {
    const kind = state.kind.value;
    before = { settings: settingsOf(state), hasRun: (session.lines.value.at(-1)?.seen.status.step ?? 0) > 0 };
    guess.value = guessed;
    state.experiment.value = one.id;
    const settings: Values = { ...NETWORKS[kind].original, ...one.base, seed: state.settings[kind].seed.value };
    if (one.updates)
      settings.epochs = Math.ceil((one.updates * Number(settings.batchSize)) / (images.value?.count ?? 1));
    const changed: Values = { ...settings, ...one.change };
    setSettings(state, kind, changed);
    if (kind === "lstm") state.digits.value = digitsOf(Number(changed.length));
    const [first, second] = [settings, changed] as Settings[];
    void session.compare([
      [one.names[0], first],
      [one.names[1], second],
    ]);
  };
  /** Puts the networks of the last line, as they are now, into the other panels, and returns the run. */
  const show = async () => {
    const now = await session.withLast(async ({ save, seen, data }) => ({ saved: await save(), seen: seen!, data }));
    if (!now) return undefined;
    const { saved, seen, data } = now;
    const command = commandOf(saved.kind, saved.settings, null);
    const run =
      saved.kind === "lstm"
        ? lstmContent(saved, data.sequences, command)
        : await ganContent(saved, seen, data.images!, command);
    addRun(manifest, run);
    return run;
  };
  const showFirst = (data: SequenceData | null) => {
    if (data) state.numbers.value = [...data.rows[0].numbers].map((value) => Number(value.toPrecision(6))).join(" ");
  };
  /** Begins a network anew with own data, or with those of the page. */
  const learn = (data: SequenceData | Images | null, kind: Kind) => {
    const [sequences, ownImages] = data && "rows" in data ? [data, null] : [null, data];
    setKind(state, kind);
    if (sequences) [state.settings.lstm.encoding.value, state.settings.lstm.curriculum.value] = ["scalar", "off"];
    showFirst(sequences);
    void session.learn(kind, settingsOf(state), { sequences, images: ownImages });
  };
  /** Lets a network learn from what `read` returns; what is wrong with it becomes a sentence. */
  const learnFrom = async (read: () => Promise<SequenceData | Images>) => {
    session.fileProblem.value = "";
    try {
      const data = await read();
      learn(data, "rows" in data ? "lstm" : "gan");
      announce("It learns from these now.");
    } catch (error) {
      announce((session.fileProblem.value = `It cannot learn from this: ${(error as Error).message}.`));
    }
  };
  return {
    ...{ session, state, guess, own, hidden, images, digits, chosen, runs, problems: problemsOf(state, view) },
    ...{ commandOn, set, change, begin, learn, learnFrom },
    reset() {
      state.experiment.value = "";
      restart("Reset.");
      announce("Back before the training.");
    },
    /** Begins with the experiment of a card. */
    start() {
      open();
      if (chosen.value && guessed !== undefined) begin(chosen.value, guessed);
    },
    choose(kind: Kind) {
      setKind(state, kind);
      open();
    },
    /** Opens the panel that shows the network, as it is now, from inside. */
    async lookInside() {
      const run = await show();
      if (run) openPanel(`${isGan(run) ? "latent" : "lstm"}?run=${run.id}`);
    },
    /** Ends an experiment: the settings, and the run that it took the place of, are back. */
    end() {
      const kind = state.kind.value;
      [state.experiment.value, guess.value] = ["", null];
      if (!before) return;
      const status = before.hasRun ? session.undo() : undefined;
      if (status) follow(status);
      else {
        setSettings(state, kind, before.settings);
        restart("The experiment has ended.");
      }
      if (kind === "lstm") state.digits.value = digitsOf(Number(state.settings.lstm.length.value));
      before = null;
    },
    async save() {
      const packed = await session.pack();
      if (packed) download(`${packed.name}.zip`, packed.content, "application/zip");
    },
    undo() {
      const status = session.undo();
      if (status) follow(status);
    },
    /** Goes on with the run that the browser kept. */
    async goOnWithKept() {
      const file = session.kept.value!.content;
      session.kept.value = null;
      const status = await session.load(file);
      if (status) follow(status);
    },
    /** Goes on with a saved run, or learns from own data. */
    async take(files: File[]) {
      const [file] = files;
      if (!file) return;
      if (/\.(csv|txt)$/i.test(file.name))
        return learnFrom(async () => {
          if (file.size > MAX_FILE) throw new Error(`${file.name} has ${file.size} bytes; give at most ${MAX_FILE}`);
          return readSequences(new Uint8Array(await file.arrayBuffer()), file.name);
        });
      if (files.every(({ type }) => type.startsWith("image/"))) return learnFrom(() => readImageFiles(files));
      const status = await session.load(file);
      if (!status) return;
      follow(status);
      if (status.kind === "lstm") showFirst(session.sequences.value);
      await show();
      announce(`Opened ${file.name}`);
    },
  };
}

export type Model = ReturnType<typeof makeModel>;
