/** What trains on one screen: its settings, what the network makes of one palindrome or of 25 latents, and its curves. */
import { useComputed, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { announce } from "../../kit/announce";
import { download } from "../../kit/download";
import type { Manifest } from "../../kit/manifest";
import { isPhone } from "../../kit/player";
import type { Kind, Settings } from "../../train/protocol";
import { DIGITS } from "../../train/palindromes";
import { parseNumbers } from "../../train/sequences";
import type { Values } from "../../train/settings";
import { Bar } from "./bar";
import { Below } from "./below";
import { Curves, Densities } from "./curves";
import { EXPERIMENTS, type Experiment } from "./experiment";
import { Experiments } from "./experiments";
import { Chooser, dropTarget } from "./files";
import { useCells } from "./gates";
import { News } from "./news";
import { OF_PALINDROMES, showRun, takeFiles } from "./own";
import { Picture } from "./picture";
import { usePresent } from "./present";
import type { Session } from "./session";
import { digitsOf, NETWORKS, setKind, setSettings, settingsOf, type ImagesAbout, type TrainState } from "./settings";
import { SettingsCard } from "./settings_card";
import { Steps } from "./steps";
import { Presets, Task } from "./task";

interface TrainProps {
  manifest: Manifest;
  session: Session;
  state: TrainState;
  /** What the link gives wrong. */
  problems: Record<string, string>;
  /** Null if this file has none. */
  images: ImagesAbout | null;
}

export function Train({ manifest, session, state, problems, images: ofPage }: TrainProps) {
  const ownImages = session.ownImages.value;
  const images = ownImages
    ? { name: "own images", count: ownImages.bytes.length / ownImages.size ** 2, data: "images.npy", classNames: [] }
    : ofPage;
  const kind = state.kind.value;
  const own = kind === "lstm" ? session.sequences.value : null;
  const hidden = own ? OF_PALINDROMES : [];
  const chooser = useRef<HTMLInputElement>(null);
  const guess = useSignal<number | null>(null);
  const present = usePresent();
  const digits = useComputed(() =>
    session.sequences.value ? [...parseNumbers(state.numbers.value)[0]] : [...state.digits.value].map(Number),
  );
  const chosen = EXPERIMENTS[kind].find(({ id }) => id === state.experiment.value);
  const set = (name: string, value: number | string) => {
    state.settings[kind][name].value = value;
    if (name === "length") state.digits.value = digitsOf(Number(value));
  };
  const change = () => {
    state.experiment.value = "";
    void session.change(settingsOf(state));
  };
  useEffect(() => {
    void session.open(kind, settingsOf(state));
    return () => session.pause();
  }, []);
  useEffect(() => void session.read(digits.value), [digits.value]);
  const runs = (
    kind === "gan" ? manifest.gans : manifest.lstms.filter(({ task }) => task === (own ? "custom" : "palindrome"))
  ).filter(
    ({ id, metrics }) => metrics.epoch && !id.startsWith("trained-"), // by the page
  );
  const cells = useCells();
  const reset = () => {
    state.experiment.value = "";
    void session.restart(settingsOf(state), "Reset.");
    announce("Back before the training.");
  };
  const choose = (next: Kind) => {
    setKind(state, next);
    void session.open(next, settingsOf(state));
  };
  /** Asks for a guess before an experiment. */
  const prepare = (one: Experiment) => {
    guess.value = null;
    state.experiment.value = one.id;
    if (session.lines.value.length > 1) void session.restart(settingsOf(state), "Another experiment was chosen.");
  };
  const begin = (one: Experiment, guessed: number | null) => {
    guess.value = guessed;
    state.experiment.value = one.id;
    const seed = state.settings[kind].seed.value;
    const settings: Values = { ...NETWORKS[kind].original, ...one.base, seed };
    if (one.updates) settings.epochs = Math.ceil((one.updates * Number(settings.batchSize)) / (images?.count ?? 1));
    const changed: Values = { ...settings, ...one.change };
    setSettings(state, kind, changed);
    if (kind === "lstm") state.digits.value = digitsOf(Number(changed.length));
    const [first, second] = [settings, changed] as Settings[];
    void session.compare([one.names[0], first], [one.names[1], second]);
  };
  const show = () => showRun(session, manifest);
  const take = (files: File[]) => void takeFiles(files, session, state, show);
  const save = async () => {
    const packed = await session.pack();
    if (packed) download(`${packed.name}.zip`, packed.content, "application/zip");
  };
  const undo = () => {
    const status = session.undo();
    if (!status) return;
    setKind(state, status.kind);
    setSettings(state, status.kind, status.settings);
  };
  const menu = {
    ...{ save: () => void save(), open: () => chooser.current!.click(), show: () => void show() },
    present: present.toggle,
  };
  return (
    <div class="stack run-panel run-body train" {...dropTarget(take)}>
      <Bar
        {...{ session, state, choose, reset, menu, isPresenting: present.isOn }}
        begin={chosen ? () => begin(chosen, guess.value) : null}
      />
      <News {...{ session, undo }} />
      <Chooser element={chooser} onFiles={take} />
      <div class="train-main">
        <Task {...{ session, state, images }} />
        <section class="stack train-left" aria-label="Settings">
          <details open={!isPhone()}>
            <summary>Settings</summary>
            <div class="stack">
              <Presets {...{ state, change }} />
              <Steps {...{ state, set, change, hidden }} />
            </div>
          </details>
          <details open={Object.keys(problems).length > 0}>
            <summary>More settings</summary>
            <SettingsCard {...{ state, problems, set, change, hidden }} />
          </details>
          {!own && <Experiments {...{ kind, session, chosen, guess, begin }} choose={prepare} />}
        </section>
        <Picture {...{ session, state, cells }} classNames={images?.classNames ?? []} />
        <section class="stack train-curves" aria-label="Curves">
          <Curves
            {...{ lines: session.lines, kind, classCount: own?.classes.length ?? DIGITS }}
            python={runs.find(({ id }) => id === state.python.value) ?? null}
          />
          {kind === "gan" && <Densities lines={session.lines} />}
        </section>
      </div>
      <Below {...{ session, state, images, cells, runs, change }} />
    </div>
  );
}
