/** The settings on show, their form in the fragment, and the command that trains the same. */
import { batch, signal, type Signal } from "@preact/signals";
import { KNOWN_KEYS, oneOf } from "../../kit/codec";
import { isPhone } from "../../kit/player";
import { BUILT_IN } from "../../train/cells";
import type { Kind, Settings } from "../../train/protocol";
import { kebab } from "../../train/run_files";
import {
  accepts,
  boundsText,
  GAN,
  GAN_ORIGINAL,
  GAN_QUICK,
  QUICK_DATA,
  LSTM,
  LSTM_ORIGINAL,
  type Setting,
  type Specs,
  type Values,
} from "../../train/settings";
import { EXPERIMENTS } from "./experiment";

export type Preset = "original" | "quick";

interface Network {
  specs: Specs;
  original: Values;
  /** Settings that a reader can begin with; the first ones are those of the panel. */
  presets: Partial<Record<Preset, Values>>;
  /** Those that the panel shows at once, with the values that a slider goes through. */
  steps: Record<string, readonly number[]>;
  phone: Values; // Of a page that a phone opens without a view: smaller, so that it stays cool
}

export const NETWORKS: Record<Kind, Network> = {
  lstm: {
    ...{ specs: LSTM, original: LSTM_ORIGINAL },
    presets: { original: LSTM_ORIGINAL },
    steps: {
      length: [2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 30, 40, 60],
      learningRate: [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1],
      hiddenDropout: [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
      hiddenSize: [8, 16, 32, 64, 128, 256],
    },
    phone: { hiddenSize: 64 },
  },
  gan: {
    ...{ specs: GAN, original: GAN_ORIGINAL },
    presets: { quick: GAN_QUICK, original: GAN_ORIGINAL },
    steps: {
      learningRate: [1e-5, 5e-5, 1e-4, 2e-4, 5e-4, 0.0012, 0.003, 0.01],
      batchSize: [8, 16, 32, 64, 128, 256],
      r1: [0, 0.05, 0.1, 0.2, 0.5, 1, 3, 10],
      discriminatorSteps: [1, 2, 3, 4, 5],
    },
    phone: { batchSize: 32, epochs: 9 },
  },
};

/** Longest sequence that the panel reads out. */
const MAX_DIGITS = 60;

export const isDigits = (text: string) => new RegExp(`^\\d{1,${MAX_DIGITS}}$`).test(text);

/** Digits of a palindrome without the last one, for each length. */
export function digitsOf(length: number): string {
  const half = "417052896341709852364170528963".slice(0, (length + 1) >> 1);
  const mirrored = [...half.slice(0, length >> 1)].reverse().join("");
  return `${half}${mirrored}`.slice(0, -1);
}

export interface TrainState {
  kind: Signal<Kind>;
  preset: Signal<Preset>; // Of the network on show: what its settings began with
  settings: Record<Kind, Record<string, Signal<number | string>>>; // By network and name
  digits: Signal<string>; // What the LSTM reads
  numbers: Signal<string>; // The same of own sequences; not in the fragment
  python: Signal<string>; // Id of a run of Python to compare with; "" for none
  experiment: Signal<string>; // Id of the chosen experiment, such as a lesson's; "" for none
  wrong: Signal<Record<string, string>>; // Fields whose text is no value of their setting: sentences by their labels
}

/** Returns what a text says of a setting, or undefined. */
export function readSetting(spec: Setting, text: string): number | string | undefined {
  const trimmed = text.trim();
  if (trimmed === "off" && spec.off !== undefined) return spec.off;
  if (spec.isCell) return accepts(spec, text) ? text : undefined;
  const value = spec.choices ? trimmed : trimmed === "" ? NaN : Number(trimmed);
  return accepts(spec, value) ? value : undefined;
}

export function formatSetting({ off, isCell }: Setting, value: number | string): string {
  if (isCell) return Object.hasOwn(BUILT_IN, value) ? String(value) : "own";
  return value === off ? "off" : String(value);
}

const keysOf = (specs: Specs) => Object.values(specs).map(({ key }) => key);
const kindField = oneOf<Kind>(["lstm", "gan"]);

const startOf = (kind: Kind, preset: Preset, isSmall: boolean): Values => ({
  ...NETWORKS[kind].presets[preset],
  ...(isSmall && NETWORKS[kind].phone),
});

const firstOf = (kind: Kind) => Object.keys(NETWORKS[kind].presets)[0] as Preset;

const KEYS = ["net", "preset", "digits", "with", "experiment", "guess", ...[LSTM, GAN].flatMap(keysOf)];

export function openState(view: URLSearchParams): TrainState {
  KEYS.forEach((key) => KNOWN_KEYS.add(key));
  const kind = kindField.read(view.get("net") ?? "") ?? kindField.missing;
  const wanted = view.get("preset") as Preset;
  const preset = Object.hasOwn(NETWORKS[kind].presets, wanted ?? "") ? wanted : firstOf(kind);
  const isSmall = isPhone() && ![...view.keys()].some((key) => key !== "net");
  const read = (of: Kind) => {
    const start = startOf(of, of === kind ? preset : firstOf(of), isSmall);
    return Object.entries(NETWORKS[of].specs).map(([name, spec]) => {
      const text = of === kind ? view.get(spec.key) : null;
      return [name, signal((text === null ? undefined : readSetting(spec, text)) ?? start[name])];
    });
  };
  const settings = { lstm: Object.fromEntries(read("lstm")), gan: Object.fromEntries(read("gan")) };
  const digits = view.get("digits") ?? "";
  return {
    ...{ kind: signal(kind), preset: signal(preset), settings },
    digits: signal(isDigits(digits) ? digits : digitsOf(settings.lstm.length.value)),
    numbers: signal("0"),
    python: signal(view.get("with") ?? ""),
    experiment: signal(EXPERIMENTS[kind].find(({ id }) => id === view.get("experiment"))?.id ?? ""),
    wrong: signal({}),
  };
}

export function setSettings({ settings, wrong }: TrainState, kind: Kind, values: Values) {
  batch(() => {
    for (const [name, of] of Object.entries(settings[kind])) of.value = values[name];
    wrong.value = {};
  });
}

export function setPreset(state: TrainState, preset: Preset) {
  const kind = state.kind.value;
  state.preset.value = preset;
  setSettings(state, kind, startOf(kind, preset, isPhone()));
}

export function setKind(state: TrainState, kind: Kind) {
  batch(() => {
    [state.kind.value, state.preset.value] = [kind, firstOf(kind)];
    [state.python.value, state.experiment.value, state.wrong.value] = ["", "", {}];
  });
}

/** What the fragment keeps: the settings that differ from those of the preset. */
export function writeState({ kind: { value: kind }, preset, settings, digits, python, experiment }: TrainState) {
  const { specs, presets } = NETWORKS[kind];
  const start = presets[preset.value]!;
  const changed = Object.entries(settings[kind]).filter(([name, { value }]) => value !== start[name]);
  const written = changed.map(([name, { value }]) => [specs[name].key, String(value)]);
  return {
    ...(kind === "gan" && { net: kind }),
    ...(preset.value !== firstOf(kind) && { preset: preset.value }),
    ...Object.fromEntries(written),
    ...(kind === "lstm" && { digits: digits.value }),
    ...(python.value && { with: python.value }),
    ...(experiment.value && { experiment: experiment.value }),
  };
}

export const settingsOf = ({ kind, settings }: TrainState) =>
  Object.fromEntries(Object.entries(settings[kind.value]).map(([name, { value }]) => [name, value])) as Settings;

export const sentenceOf = (spec: Setting) => `${spec.label} must be ${boundsText(spec)}.`;

/** What a link gives wrong: sentences by the names of the settings. */
export function problemsOf({ kind: { value: kind } }: TrainState, view: URLSearchParams): Record<string, string> {
  const { specs } = NETWORKS[kind];
  const wrong = Object.entries(specs).filter(
    ([, spec]) => view.has(spec.key) && readSetting(spec, view.get(spec.key)!) === undefined,
  );
  return Object.fromEntries(wrong.map(([name, spec]) => [name, `The link has another value. ${sentenceOf(spec)}`]));
}

/** Returns the settings of b that differ from those of a. */
export const changesIn = (a: Values, b: Values): Values =>
  Object.fromEntries(Object.entries(b).filter(([name, value]) => a[name] !== value));

/** Returns of several settings those in which they are not all equal. */
export const differences = (all: Values[]): Values[] =>
  all.map((one) =>
    Object.fromEntries(Object.entries(one).filter(([name, value]) => all.some((o) => o[name] !== value))),
  );

const lowerFirst = (text: string) => text.charAt(0).toLowerCase() + text.slice(1);

/** What a phone trains that is smaller than on other devices, in words; "" if that is not so. */
export function smallerOn({ kind: { value: kind }, settings }: TrainState): string {
  const { phone } = NETWORKS[kind];
  const isSmaller = isPhone() && Object.entries(phone).every(([name, value]) => settings[kind][name].value === value);
  return isSmaller ? `On a phone it trains less: ${describe(kind, phone)}.` : "";
}

/** Settings in words, such as "dropout of h 0.5". */
export const describe = (kind: Kind, settings: Values) =>
  Object.entries(settings)
    .map(([name, value]) => {
      const spec = NETWORKS[kind].specs[name];
      return `${lowerFirst(spec.label)} ${formatSetting(spec, value)}`;
    })
    .join(", ");

export const labelsOf = (kind: Kind, names: string[]) =>
  names.map((name) => NETWORKS[kind].specs[name].label).join(", ");

/**
 * Returns the command that trains the same from its start, on data if they are given: of the presets, the first one of which it
 * changes least. Null if there is none.
 */
export function commandOf(kind: Kind, settings: Settings, data: string | null): string | null {
  const { presets, specs } = NETWORKS[kind];
  const found = Object.entries(presets).map(([name, values]) => ({
    name,
    changes: Object.entries(changesIn(values, settings)),
  }));
  const { name: preset, changes } = found.reduce((a, b) => (b.changes.length < a.changes.length ? b : a));
  if (changes.some(([name]) => specs[name].isOfPage)) return null;
  const textOf = (name: string, value: number | string) =>
    value === "on" ? "" : ` ${specs[name].isCell && !Object.hasOwn(BUILT_IN, value) ? "mine.cell" : value}`;
  const options = changes.map(([name, value]) => `--${kebab(name)}${textOf(name, value)}`);
  const other = data && !(preset === "quick" && data === QUICK_DATA) ? [`--data ${data}`] : [];
  return [`reviver ${kind} train --preset ${preset}`, ...other, ...options, "--out run"].join(" ");
}
