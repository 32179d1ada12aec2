/** The settings of a run: those of its start, and those that may change while it trains. */
import { useId, useState } from "preact/hooks";
import { bound, Radios, type Cell } from "../../kit/controls";
import type { Kind } from "../../train/protocol";
import { NETWORKS } from "./networks";
import { boundsText, readSetting, type TrainState } from "./settings";

interface CardProps {
  state: TrainState;
  problems: Record<string, string>;
  /** Called after a change. */
  change: () => void;
  /** Settings that mean nothing here. */
  hidden: string[];
}

export function SettingsCard({ state, problems, change, hidden }: CardProps) {
  const kind = state.kind.value;
  const [wrong, setWrong] = useState(problems);
  const all = Object.entries(NETWORKS[kind].specs).filter(([name]) => !hidden.includes(name));
  const group = (isFixed: boolean) => {
    const isAsked = (needs?: string) => !needs || state.settings[kind][needs].value === "on";
    const specs = all.filter(([, spec]) => (spec.isFixed ?? false) === isFixed && isAsked(spec.needs));
    return (
      <>
        <div class="columns train-fields">
          {specs.flatMap(([name, { choices }]) =>
            choices ? (
              []
            ) : (
              <NumberSetting key={kind + name} {...{ kind, name }} of={cellOf(name)} problem={wrong[name]} />
            ),
          )}
        </div>
        {specs.flatMap(([name, { label, choices }]) =>
          choices ? (
            <div key={name}>
              <Radios label={label} of={cellOf(name)} choices={choices} />
              <small class="wrong" role="alert">
                {wrong[name]}
              </small>
            </div>
          ) : (
            []
          ),
        )}
      </>
    );
  };
  const cellOf = (name: string): Cell<any> => {
    const of = state.settings[kind][name];
    return bound(of.value, (value) => {
      of.value = value;
      setWrong(({ [name]: _, ...others }) => others);
      change();
    });
  };
  return (
    <section class="card stack" aria-label="Settings">
      <h3>Start of a run</h3>
      <p class="note">A change here ends the run.</p>
      {group(true)}
      <h3>May change while it trains</h3>
      <p class="note">A change here forks the run: it goes on with the change, and beside it without.</p>
      {group(false)}
    </section>
  );
}

interface NumberProps {
  kind: Kind;
  name: string;
  of: Cell<number>;
  /** What is wrong with the value of a link. */
  problem?: string;
}

/** A field that takes a number once it is complete, and says what is wrong with it. */
function NumberSetting({ kind, name, of, problem = "" }: NumberProps) {
  const id = useId();
  const [typed, setTyped] = useState<string | null>(null);
  const isWrong = typed !== null && readSetting(kind, name, typed) === undefined;
  const wrong = isWrong ? boundsText(kind, name) : problem;
  const { label, hint } = NETWORKS[kind].specs[name];
  const onChange = (event: { currentTarget: HTMLInputElement }) => {
    const value = readSetting(kind, name, event.currentTarget.value);
    if (value === undefined) return;
    setTyped(null);
    of.value = value;
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
        onChange={onChange}
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
