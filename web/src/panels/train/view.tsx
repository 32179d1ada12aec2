/** The settings, what trains, its curves, and what the network makes of one palindrome or of 25 latents. */
import { useComputed } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { announce } from "../../kit/announce";
import { bound, Radios, Select } from "../../kit/controls";
import { CopyField, quote } from "../../kit/copy";
import type { Manifest } from "../../kit/manifest";
import type { Kind, LstmSettings, Settings } from "../../train/protocol";
import { DIGITS } from "../../train/palindromes";
import { parseNumbers } from "../../train/sequences";
import type { Values } from "../../train/settings";
import { Actions } from "./actions";
import { Curves } from "./curves";
import { Experiments, EXPERIMENTS, type Experiment } from "./experiments";
import { dropTarget, Files, Shown } from "./files";
import { Pictures } from "./pictures";
import { OF_PALINDROMES, showRun, takeFiles, withoutPalindromes } from "./own";
import { Reading } from "./reading";
import type { Session } from "./session";
import { commandOf, NETWORKS, settingsOf, type TrainState } from "./settings";
import { SettingsCard } from "./settings_card";

interface TrainProps {
  manifest: Manifest;
  session: Session;
  state: TrainState;
  /** What the link gives wrong. */
  problems: Record<string, string>;
  /** What the GAN learns from; null if this file has nothing. */
  images: { name: string; count: number; data: string | null; classNames: string[] } | null;
}

export function Train({ manifest, session, state, problems, images: ofPage }: TrainProps) {
  const ownImages = session.ownImages.value;
  const images = ownImages
    ? { name: "own images", count: ownImages.bytes.length / ownImages.size ** 2, data: "images.npy", classNames: [] }
    : ofPage;
  const kind = state.kind.value;
  const own = kind === "lstm" ? session.sequences.value : null;
  const kinds = [
    ["lstm", session.sequences.value ? "LSTM on own sequences" : "LSTM on palindromes"],
    ["gan", "GAN on images"],
  ] as const;
  const digits = useComputed(() =>
    session.sequences.value ? [...parseNumbers(state.numbers.value)[0]] : [...state.digits.value].map(Number),
  );
  const chosen = EXPERIMENTS[kind].find(({ id }) => id === state.experiment.value);
  const change = () => {
    state.experiment.value = "";
    void session.change(state.kind.value, settingsOf(state));
  };
  useEffect(() => {
    session.open(kind, settingsOf(state));
    return () => session.pause();
  }, []);
  useEffect(() => void session.read(digits.value), [digits.value]);
  const runs = (
    kind === "gan" ? manifest.gans : manifest.lstms.filter(({ task }) => task === (own ? "custom" : "palindrome"))
  ).filter(
    ({ id, metrics }) => metrics.epoch && !id.startsWith("trained-"), // by the page
  );
  const reset = () => {
    session.reset();
    state.experiment.value = "";
  };
  const choose = (next: Kind) => {
    reset();
    state.kind.value = next;
    state.python.value = "";
  };
  const begin = (chosen: Experiment) => {
    state.experiment.value = chosen.id;
    const seed = state.settings[kind].seed.value;
    const settings: Values = { ...NETWORKS[kind].original, ...chosen.base, seed };
    if (chosen.updates)
      settings.epochs = Math.ceil((chosen.updates * Number(settings.batchSize)) / (images?.count ?? 1));
    const changed: Values = { ...settings, ...chosen.change };
    for (const [name, of] of Object.entries(state.settings[kind])) of.value = changed[name];
    const [first, second] = [settings, changed] as Settings[];
    void session.compare(kind, [chosen.names[0], first], [chosen.names[1], second]);
  };
  const show = () => showRun(session, manifest);
  const take = (files: File[]) => takeFiles(files, session, state, show);
  return (
    <div class="stack run-panel run-body" {...dropTarget((files) => void take(files))}>
      <Radios label="Network" of={bound(kind, choose)} choices={kinds} segmented />
      {kind === "gan" && (
        <p class="note">
          {images
            ? `It learns from ${images.count.toLocaleString("en")} ${images.name}.`
            : "This file has no images to learn from."}
        </p>
      )}
      <div class="columns halves">
        <div class="stack">
          <Actions
            {...{ session, state }}
            begin={chosen ? () => begin(chosen) : null}
            show={() => void show()}
            reset={() => {
              reset();
              announce("The run is forgotten.");
            }}
          />
          <Shown run={session.shown.value} />
          <Files {...{ session, state }} onFiles={(files) => void take(files)} />
          {!own && <Experiments {...{ kind, chosen }} onBegin={begin} />}
        </div>
        <SettingsCard {...{ state, problems, change }} hidden={own ? OF_PALINDROMES : []} />
      </div>
      {runs.length > 0 && (
        <Select
          label="Compare with a run of Python"
          of={state.python}
          choices={[["", "none"], ...runs.map(({ id, name }) => [id, name] as const)]}
        />
      )}
      <Curves
        lines={session.lines.value}
        classCount={own?.classes.length ?? DIGITS}
        python={runs.find(({ id }) => id === state.python.value) ?? null}
      />
      {kind === "lstm" ? (
        <Reading {...{ session, state }} />
      ) : (
        <Pictures lines={session.lines.value} classNames={images?.classNames ?? []} />
      )}
      <Command {...{ session, state, images }} />
    </div>
  );
}

/** The line that trains the same with Python. */
function Command({ session, state, images }: Pick<TrainProps, "session" | "state" | "images">) {
  const kind = state.kind.value;
  const data = kind === "gan" && images ? images.data : null;
  const own = kind === "lstm" ? session.sequences.value : null;
  const settings = own ? withoutPalindromes(settingsOf(state) as LstmSettings) : settingsOf(state);
  const command = commandOf(kind, settings, own ? quote(own.name) : data && quote(data));
  const isChanged = session.lines.value.length > 1;
  return (
    <section class="stack">
      <h3>The same run with Python</h3>
      {command ? (
        <CopyField text={command} copy="Copy command" />
      ) : (
        <p>{`Python has no option for ${kind === "lstm" ? "this forget bias" : "exchanged labels"}, so no command trains the same.`}</p>
      )}
      {kind === "gan" && session.ownImages.value && <p>The run that you save has the file images.npy.</p>}
      <p class="note">
        {isChanged && "It trains with the last settings from the start. "}
        {kind === "lstm"
          ? "The page draws the weights, the data, their order and the dropout that torch draws of this seed. So the losses are equal up to rounding."
          : `The page draws the weights and the latents that torch draws of this seed${data ? "" : ", but learns from fewer images"}. Rounding alone makes two runs part after some updates.`}
      </p>
    </section>
  );
}
