/** The settings, what trains, its curves, and what the network makes of one palindrome or of 25 latents. */
import { useComputed, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { announce } from "../../kit/announce";
import { bound, cell, Field, Radios, Select } from "../../kit/controls";
import { CopyField, quote } from "../../kit/copy";
import type { Manifest } from "../../kit/manifest";
import type { Kind } from "../../train/protocol";
import { Actions } from "./actions";
import { Curves } from "./curves";
import { Experiments, EXPERIMENTS, type Experiment } from "./experiments";
import { Gates } from "./gates";
import { NETWORKS, type Settings, type Values } from "./networks";
import { Pictures } from "./pictures";
import type { Session } from "./session";
import { commandOf, isDigits, settingsOf, type TrainState } from "./settings";
import { SettingsCard } from "./settings_card";

const KINDS = [
  ["lstm", "LSTM on palindromes"],
  ["gan", "GAN on images"],
] as const;

interface TrainProps {
  manifest: Manifest;
  session: Session;
  state: TrainState;
  /** What the link gives wrong. */
  problems: Record<string, string>;
  /** What the GAN learns from; null if this file has nothing. */
  images: { name: string; count: number; data: string | null; classNames: string[] } | null;
}

export function Train({ manifest, session, state, problems, images }: TrainProps) {
  const kind = state.kind.value;
  const digits = useComputed(() => [...state.digits.value].map(Number));
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
  const runs = (kind === "gan" ? manifest.gans : manifest.lstms.filter(({ task }) => task === "palindrome")).filter(
    ({ metrics }) => metrics.epoch,
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
    const [first, second] = [settings, changed] as unknown as Settings[];
    void session.compare(kind, [chosen.names[0], first], [chosen.names[1], second]);
  };
  return (
    <div class="stack run-panel run-body">
      <Radios label="Network" of={bound(kind, choose)} choices={KINDS} segmented />
      {kind === "gan" && (
        <p class="note">
          {images
            ? `It learns from ${images.count.toLocaleString("en")} ${images.name}.`
            : "This file has no images to learn from."}
        </p>
      )}
      <div class="columns train-main">
        <div class="stack">
          <Actions
            {...{ session, state }}
            begin={chosen ? () => begin(chosen) : null}
            reset={() => {
              reset();
              announce("The run is forgotten.");
            }}
          />
          <Experiments {...{ kind, chosen }} onBegin={begin} />
        </div>
        <SettingsCard {...{ state, problems, change }} />
      </div>
      {runs.length > 0 && (
        <Select
          label="Compare with a run of Python"
          of={state.python}
          choices={[["", "none"], ...runs.map(({ id, name }) => [id, name] as const)]}
        />
      )}
      <Curves lines={session.lines.value} python={runs.find(({ id }) => id === state.python.value) ?? null} />
      {kind === "lstm" ? (
        <Reading {...{ session, state }} />
      ) : (
        <Pictures lines={session.lines.value} classNames={images?.classNames ?? []} />
      )}
      <Command {...{ session, state, images }} />
    </div>
  );
}

type Part = Pick<TrainProps, "session" | "state">;

/** The digits, and what the LSTM makes of them. */
function Reading({ session, state }: Part) {
  const typed = useSignal<string | null>(null);
  const text = cell(
    () => typed.value ?? state.digits.value,
    (next) => {
      typed.value = isDigits(next) ? null : next;
      if (isDigits(next)) state.digits.value = next;
    },
  );
  const trace = session.lines.value.at(-1)?.seen.trace;
  return (
    <section class="card stack">
      <h3>One palindrome, read by the network as it is now</h3>
      <Field label="Digits that the network reads: all but the last of a palindrome" class="wide">
        {(id) => (
          <>
            <input
              id={id}
              class="command"
              inputMode="numeric"
              autocomplete="off"
              value={text.value}
              aria-invalid={typed.value !== null}
              aria-describedby={`${id}-problem`}
              onInput={(event) => (text.value = event.currentTarget.value)}
            />
            <p id={`${id}-problem`} class="wrong" role="alert">
              {typed.value !== null && "Type 1 to 60 digits, and nothing else."}
            </p>
          </>
        )}
      </Field>
      {trace ? <Gates trace={trace} /> : <p class="muted">It reads them once the training has started.</p>}
    </section>
  );
}

/** The line that trains the same with Python. */
function Command({ session, state, images }: Part & Pick<TrainProps, "images">) {
  const kind = state.kind.value;
  const data = kind === "gan" && images ? images.data : null;
  const command = commandOf(kind, settingsOf(state), data && quote(data));
  const isChanged = session.lines.value.length > 1;
  return (
    <section class="stack">
      <h3>The same run with Python</h3>
      {command ? (
        <CopyField text={command} copy="Copy command" />
      ) : (
        <p>{`Python has no option for ${kind === "lstm" ? "this forget bias" : "exchanged labels"}, so no command trains the same.`}</p>
      )}
      <p class="note">
        {isChanged && "It trains with the last settings from the start. "}
        {kind === "lstm"
          ? "The page draws the weights, the data, their order and the dropout that torch draws of this seed. So the losses are equal up to rounding."
          : `The page draws the weights and the latents that torch draws of this seed${data ? "" : ", but learns from fewer images"}. Rounding alone makes two runs part after some updates.`}
      </p>
    </section>
  );
}
