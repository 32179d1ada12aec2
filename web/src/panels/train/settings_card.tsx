/** All settings of a run: those of its start, and those that may change while it trains. */
import { useState } from "preact/hooks";
import { bound, Radios, TextField, type Cell } from "../../kit/controls";
import type { Setting } from "../../train/settings";
import { formatSetting, NETWORKS, readSetting, sentenceOf, type TrainState } from "./settings";

interface CardProps {
  state: TrainState;
  problems: Record<string, string>;
  set: (name: string, value: number | string) => void;
  /** Called after a change. */
  change: () => void;
  /** Settings that mean nothing here. */
  hidden: string[];
}

export function SettingsCard({ state, problems, set, change, hidden }: CardProps) {
  const kind = state.kind.value;
  const settings = state.settings[kind];
  const [wrong, setWrong] = useState(problems);
  const cellOf = (name: string): Cell<any> =>
    bound(settings[name].value, (value) => {
      set(name, value);
      setWrong(({ [name]: _, ...others }) => others);
      change();
    });
  const group = (isFixed: boolean) => {
    const specs = Object.entries(NETWORKS[kind].specs).filter(
      ([name, { needs, ...spec }]) =>
        !hidden.includes(name) &&
        !spec.isCell &&
        (spec.isFixed ?? false) === isFixed &&
        (!needs || settings[needs].value === "on"),
    );
    return (
      <>
        <div class="columns train-fields">
          {specs.map(
            ([name, spec]) =>
              !spec.choices && (
                <NumberSetting key={kind + name} {...{ spec, state }} of={cellOf(name)} problem={wrong[name]} />
              ),
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
    <div class="stack train-more">
      <p class="note">Changing one of these discards the current run:</p>
      {group(true)}
      <p class="note">Changing one of these forks the run: one copy continues with the change, one without.</p>
      {group(false)}
    </div>
  );
}

interface NumberProps {
  spec: Setting;
  state: TrainState;
  of: Cell<number>;
  /** What is wrong with the value of a link. */
  problem?: string;
}

/** A field that takes a number once it is complete, and says what is wrong with it. */
function NumberSetting({ spec, state, of, problem = "" }: NumberProps) {
  const [typed, setTyped] = useState<string | null>(null);
  const isWrong = typed !== null && readSetting(spec, typed) === undefined;
  const type = (text: string) => {
    const { [spec.label]: _, ...others } = state.wrong.value;
    const sentence = readSetting(spec, text) === undefined && { [spec.label]: sentenceOf(spec) };
    state.wrong.value = { ...others, ...sentence };
    setTyped(text);
  };
  const wrong = isWrong ? sentenceOf(spec) : problem;
  return (
    <TextField
      label={spec.label}
      of={bound(typed ?? formatSetting(spec, of.value), type)}
      hint={spec.hint}
      problem={wrong || undefined}
      aria-invalid={wrong !== ""}
      {...{ inputMode: "decimal", autocomplete: "off", maxLength: 40 }}
      onChange={({ currentTarget }) => {
        const value = readSetting(spec, currentTarget.value);
        if (value === undefined) return;
        setTyped(null);
        of.value = value as number;
      }}
    />
  );
}
