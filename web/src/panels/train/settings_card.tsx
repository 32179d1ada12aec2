/** All settings of a run: a preset, those that the panel shows at once, and the others. */
import { useState } from "preact/hooks";
import { bound, Radios, Select, Slider, TextField, type Cell } from "../../kit/controls";
import type { Setting } from "../../train/settings";
import type { Model } from "./model";
import {
  changesIn,
  formatSetting,
  NETWORKS,
  readSetting,
  sentenceOf,
  setPreset,
  settingsOf,
  type Preset,
  type TrainState,
} from "./settings";

export function Presets({ model: { state, change } }: { model: Model }) {
  const { presets } = NETWORKS[state.kind.value];
  const names = Object.keys(presets) as Preset[];
  if (names.length < 2) return null;
  const changes = changesIn(presets[state.preset.value]!, settingsOf(state));
  const isChanged = Object.keys(changes).some((name) => name !== "seed");
  const choices = names.map((name) => [name, name] as const);
  return (
    <Select<Preset | "">
      label="Begin with"
      of={bound(isChanged ? "" : state.preset.value, (name) => {
        if (!name) return;
        setPreset(state, name);
        change();
      })}
      choices={isChanged ? [["", "these settings"], ...choices] : choices}
    />
  );
}

/** Sliders over some values; the run follows once the reader lets go. */
export function Steps({ model: { state, hidden, set, change } }: { model: Model }) {
  const kind = state.kind.value;
  const { specs, steps } = NETWORKS[kind];
  const shown = Object.entries(steps).filter(([name]) => !hidden.value.includes(name));
  return (
    <>
      {shown.map(([name, values]) => {
        const value = Number(state.settings[kind][name].value);
        const at = Math.max(0, values.filter((one) => one <= value).length - 1);
        return (
          <Slider
            key={kind + name}
            label={specs[name].label}
            of={bound(at, (next) => set(name, values[next]))}
            {...{ min: 0, max: values.length - 1, step: 1, onChange: change }}
            format={() => formatSetting(specs[name], value)}
          />
        );
      })}
    </>
  );
}

export function MoreSettings({ model: { state, hidden, problems, set, change } }: { model: Model }) {
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
        !hidden.value.includes(name) &&
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
                <p class="wrong" role="alert">
                  {wrong[name]}
                </p>
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
  problem?: string; // What is wrong with the value of a link
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
