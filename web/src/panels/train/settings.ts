/** The settings on show, their form in the fragment, and the command that trains the same. */
import { signal, type Signal } from "@preact/signals";
import { oneOf } from "../../kit/codec";
import { isPhone } from "../../kit/player";
import type { Kind, Settings } from "../../train/protocol";
import { kebab } from "../../train/run_files";
import {
  accepts,
  boundsText,
  GAN,
  GAN_ORIGINAL,
  LSTM,
  LSTM_ORIGINAL,
  type Setting,
  type Specs,
  type Values,
} from "../../train/settings";
import { EXPERIMENTS } from "./experiments";

interface Network {
  command: string;
  specs: Specs;
  original: Values;
  /** Of a page that a phone opens without a view: smaller, so that it stays cool. */
  phone: Values;
}

/** What the panel can train. */
export const NETWORKS: Record<Kind, Network> = {
  lstm: {
    ...{ command: "reviver lstm train --preset original", specs: LSTM, original: LSTM_ORIGINAL },
    phone: { hiddenSize: 64 },
  },
  gan: {
    ...{ command: "reviver gan train --preset original", specs: GAN, original: GAN_ORIGINAL },
    phone: { batchSize: 32 },
  },
};

/** Longest sequence that the panel reads out. */
const MAX_DIGITS = 60;

export const isDigits = (text: string) => new RegExp(`^\\d{1,${MAX_DIGITS}}$`).test(text);

export interface TrainState {
  kind: Signal<Kind>;
  /** By network and name. */
  settings: Record<Kind, Record<string, Signal<number | string>>>;
  /** What the LSTM reads. */
  digits: Signal<string>;
  /** The same of own sequences; not in the fragment. */
  numbers: Signal<string>;
  /** Id of a run of Python to compare with; "" for none. */
  python: Signal<string>;
  /** Id of the chosen experiment, such as a lesson's; "" for none. */
  experiment: Signal<string>;
}

/** Returns what a text says of a setting, or undefined. */
export function readSetting(spec: Setting, text: string): number | string | undefined {
  const trimmed = text.trim();
  const value = spec.choices ? trimmed : trimmed === "" ? NaN : Number(trimmed);
  return accepts(spec, value) ? value : undefined;
}

const kindField = oneOf<Kind>(["lstm", "gan"]);

/** Reads the state from the fragment. */
export function openState(view: URLSearchParams): TrainState {
  const kind = kindField.read(view.get("net") ?? "") ?? kindField.missing;
  const isSmall = isPhone() && !view.size;
  const read = (of: Kind) => {
    const { specs, original, phone } = NETWORKS[of];
    const start = isSmall ? { ...original, ...phone } : original;
    return Object.entries(specs).map(([name, spec]) => {
      const text = of === kind ? view.get(spec.key) : null;
      return [name, signal((text === null ? undefined : readSetting(spec, text)) ?? start[name])];
    });
  };
  const digits = view.get("digits") ?? "";
  return {
    kind: signal(kind),
    settings: { lstm: Object.fromEntries(read("lstm")), gan: Object.fromEntries(read("gan")) },
    digits: signal(isDigits(digits) ? digits : "4171"),
    numbers: signal("0"),
    python: signal(view.get("with") ?? ""),
    experiment: signal(EXPERIMENTS[kind].find(({ id }) => id === view.get("experiment"))?.id ?? ""),
  };
}

/** What the fragment keeps: the settings that differ from those of the report. */
export function writeState({ kind: { value: kind }, settings, digits, python, experiment }: TrainState) {
  const { specs, original } = NETWORKS[kind];
  const changed = Object.entries(settings[kind]).filter(([name, { value }]) => value !== original[name]);
  const written = changed.map(([name, { value }]) => [specs[name].key, String(value)]);
  return {
    ...(kind === "gan" && { net: kind }),
    ...Object.fromEntries(written),
    ...(kind === "lstm" && { digits: digits.value }),
    ...(python.value && { with: python.value }),
    ...(experiment.value && { experiment: experiment.value }),
  };
}

/** The settings of the network on show. */
export const settingsOf = ({ kind, settings }: TrainState) =>
  Object.fromEntries(Object.entries(settings[kind.value]).map(([name, { value }]) => [name, value])) as Settings;

/** What a setting must be, as a sentence. */
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

const lowerFirst = (text: string) => text.charAt(0).toLowerCase() + text.slice(1);

/** Settings in words. */
export const describe = (kind: Kind, settings: Values) =>
  Object.entries(settings)
    .map(([name, value]) => `${lowerFirst(NETWORKS[kind].specs[name].label)} = ${value}`)
    .join(", ");

/** Returns the command that trains the same from its start, on data if they are given; null if there is none. */
export function commandOf(kind: Kind, settings: Settings, data: string | null): string | null {
  const { command, original, specs } = NETWORKS[kind];
  const changes = Object.entries(changesIn(original, settings));
  if (changes.some(([name]) => specs[name].isOfPage)) return null;
  const options = changes.map(([name, value]) => `--${kebab(name)}${value === "on" ? "" : ` ${value}`}`);
  return [command, ...(data ? [`--data ${data}`] : []), ...options, "--out run"].join(" ");
}
