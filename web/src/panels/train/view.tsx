/** The settings, what trains, its curves, and one palindrome that it reads. */
import { useComputed, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { announce } from "../../kit/announce";
import { cell, Field } from "../../kit/controls";
import { CopyField } from "../../kit/copy";
import { Actions } from "./actions";
import { Curves } from "./curves";
import { Experiments, type Experiment } from "./experiments";
import { Gates } from "./gates";
import type { Session } from "./session";
import { SettingsCard } from "./settings_card";
import { commandOf, isDigits, setSettings, settingsOf, type Numeric, type TrainState } from "./settings";
import { LSTM_ORIGINAL } from "../../train/settings";

interface TrainProps {
  session: Session;
  state: TrainState;
  /** What the link gives wrong. */
  problems: Partial<Record<Numeric, string>>;
}

export function Train({ session, state, problems }: TrainProps) {
  const experiment = useSignal<Experiment | null>(null);
  const digits = useComputed(() => [...state.digits.value].map(Number));
  const change = () => void session.change(settingsOf(state));
  useEffect(() => {
    change(); // another link has other settings
    return () => session.pause();
  }, []);
  useEffect(() => void session.read(digits.value), [digits.value]);
  const reset = () => {
    session.reset();
    experiment.value = null;
    announce("The run is forgotten.");
  };
  const begin = (chosen: Experiment) => {
    experiment.value = chosen;
    const settings = { ...LSTM_ORIGINAL, ...chosen.base, seed: settingsOf(state).seed };
    setSettings(state, { ...settings, ...chosen.change });
    void session.compare([chosen.names[0], settings], [chosen.names[1], { ...settings, ...chosen.change }]);
  };
  return (
    <div class="stack run-body">
      <div class="columns train-main">
        <div class="stack">
          <Actions {...{ session, state, reset }} />
          <Experiments chosen={experiment.value} onBegin={begin} />
        </div>
        <SettingsCard {...{ state, problems, change }} />
      </div>
      <Curves lines={session.lines.value} />
      <Reading {...{ session, state }} />
      <Command {...{ session, state }} />
    </div>
  );
}

/** The digits, and what the network makes of them. */
function Reading({ session, state }: Pick<TrainProps, "session" | "state">) {
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
function Command({ session, state }: Pick<TrainProps, "session" | "state">) {
  const command = commandOf(settingsOf(state));
  const isChanged = session.lines.value.length > 1;
  return (
    <section class="stack">
      <h3>The same run with Python</h3>
      {command ? (
        <CopyField text={command} copy="Copy command" />
      ) : (
        <p>Python has no option for this forget bias or this optimizer, so no command trains the same.</p>
      )}
      <p class="note">
        {isChanged && "It trains with the last settings from the start. "}
        The page draws the weights, the data, their order and the dropout that torch draws of this seed. So the losses
        are equal up to rounding.
      </p>
    </section>
  );
}
