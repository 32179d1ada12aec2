/** The settings of a run: those of its start, and those that may change while it trains. */
import { useId, useState } from "preact/hooks";
import { cell, Radios, type Cell } from "../../kit/controls";
import {
  boundsText,
  ENCODINGS,
  NUMERIC,
  OPTIMIZERS,
  readNumber,
  signalOf,
  SPECS,
  START_ONLY,
  type Numeric,
  type TrainState,
} from "./settings";

interface CardProps {
  state: TrainState;
  problems: Partial<Record<Numeric, string>>;
  /** Called after a change. */
  change: () => void;
}

export function SettingsCard({ state, problems, change }: CardProps) {
  const fields = (names: Numeric[]) => (
    <div class="columns train-fields">
      {names.map((name) => (
        <NumberSetting key={name} name={name} of={signalOf(state, name)} problem={problems[name]} onChange={change} />
      ))}
    </div>
  );
  const chosen = <T extends string>(of: Cell<T>) =>
    cell(
      () => of.value,
      (value) => {
        of.value = value;
        change();
      },
    );
  return (
    <section class="card stack" aria-label="Settings">
      <h3>Start of a run</h3>
      {fields(NUMERIC.filter((name) => START_ONLY.includes(name)))}
      <Radios label="A digit is read" of={chosen(state.encoding)} choices={ENCODINGS} />
      <h3>May change while it trains</h3>
      {fields(NUMERIC.filter((name) => !START_ONLY.includes(name)))}
      <Radios label="Optimizer" of={chosen(state.optimizer)} choices={OPTIMIZERS} />
      <p class="note">
        A change above ends the run. One below forks it: the run goes on with the change, and beside it without.
      </p>
    </section>
  );
}

interface NumberProps {
  name: Numeric;
  of: Cell<number>;
  /** What is wrong with the value of a link. */
  problem?: string;
  onChange: () => void;
}

/** A field that takes a number once it is complete, and says what is wrong with it. */
function NumberSetting({ name, of, problem = "", onChange }: NumberProps) {
  const id = useId();
  const [typed, setTyped] = useState<string | null>(null);
  const [isOpen, setOpen] = useState(problem !== "");
  const wrong = typed !== null && readNumber(name, typed) === undefined ? boundsText(name) : isOpen ? problem : "";
  const { label, hint } = SPECS[name];
  const onCommit = (event: { currentTarget: HTMLInputElement }) => {
    const value = readNumber(name, event.currentTarget.value);
    if (value === undefined) return;
    setTyped(null);
    setOpen(false);
    if (value === of.value) return;
    of.value = value;
    onChange();
  };
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        id={id}
        inputMode="decimal"
        autocomplete="off"
        value={typed ?? String(of.value)}
        aria-invalid={wrong !== ""}
        aria-describedby={`${id}-about`}
        onInput={(event) => setTyped(event.currentTarget.value)}
        onChange={onCommit}
      />
      <small id={`${id}-about`}>
        {hint}
        <span class="wrong" role="alert">
          {wrong}
        </span>
      </small>
    </div>
  );
}
