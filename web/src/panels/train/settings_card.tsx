/** The settings of a run: those of its start, and those that may change while it trains. */
import { useState } from "preact/hooks";
import { bound, Radios, TextField, type Cell } from "../../kit/controls";
import type { Setting } from "../../train/settings";
import { NETWORKS, readSetting, sentenceOf, type TrainState } from "./settings";

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
  const settings = state.settings[kind];
  const [wrong, setWrong] = useState(problems);
  const cellOf = (name: string): Cell<any> =>
    bound(settings[name].value, (value) => {
      settings[name].value = value;
      setWrong(({ [name]: _, ...others }) => others);
      change();
    });
  const group = (isFixed: boolean) => {
    const specs = Object.entries(NETWORKS[kind].specs).filter(
      ([name, { needs, ...spec }]) =>
        !hidden.includes(name) && (spec.isFixed ?? false) === isFixed && (!needs || settings[needs].value === "on"),
    );
    return (
      <>
        <div class="columns train-fields">
          {specs.map(
            ([name, spec]) =>
              !spec.choices && <NumberSetting key={kind + name} spec={spec} of={cellOf(name)} problem={wrong[name]} />,
          )}
        </div>
        {specs.map(
          ([name, { label, choices }]) =>
            choices && (
              <div key={name}>
                <Radios label={label} of={cellOf(name)} choices={choices} />
                <small class="wrong" role="alert">
                  {wrong[name]}
                </small>
              </div>
            ),
        )}
      </>
    );
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
  spec: Setting;
  of: Cell<number>;
  /** What is wrong with the value of a link. */
  problem?: string;
}

/** A field that takes a number once it is complete, and says what is wrong with it. */
function NumberSetting({ spec, of, problem = "" }: NumberProps) {
  const [typed, setTyped] = useState<string | null>(null);
  const wrong = typed !== null && readSetting(spec, typed) === undefined ? sentenceOf(spec) : problem;
  return (
    <TextField
      label={spec.label}
      of={bound(typed ?? String(of.value), setTyped)}
      hint={spec.hint}
      problem={wrong || undefined}
      aria-invalid={wrong !== ""}
      {...{ inputMode: "decimal", autocomplete: "off" }}
      onChange={({ currentTarget }) => {
        const value = readSetting(spec, currentTarget.value);
        if (value === undefined) return;
        setTyped(null);
        of.value = value as number;
      }}
    />
  );
}
