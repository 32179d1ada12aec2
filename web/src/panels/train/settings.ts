/** The settings on show, their form in the fragment, and the command that trains the same. */
import { signal, type Signal } from "@preact/signals";
import { field, integer, number, oneOf, type Field } from "../../kit/codec";
import { isPhone } from "../../kit/player";
import type { Kind } from "../../train/protocol";
import { EXPERIMENTS } from "./experiments";
import { NETWORKS, type Settings, type Values } from "./networks";

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

/** A setting in the fragment. */
function fieldOf(kind: Kind, name: string): Field<any> {
  const { specs, bounds, original } = NETWORKS[kind];
  const { choices } = specs[name];
  if (choices) return oneOf(choices.map(([value]) => value));
  const [low, high, unit] = bounds[name]!;
  if (low >= 0 && unit === 1) return integer(low, high, original[name] as number);
  const { missing, read, write } = number(low, high, original[name] as number);
  const fits = (value?: number) => (value !== undefined && (!unit || value % unit === 0) ? value : undefined);
  return field(missing, (text) => fits(read(text)), write);
}

/** Returns what a text says of a setting, or undefined. */
export const readSetting = (kind: Kind, name: string, text: string): number | undefined =>
  fieldOf(kind, name).read(text.trim());

const kindField = oneOf<Kind>(["lstm", "gan"]);

/** Reads the state from the fragment. */
export function openState(view: URLSearchParams): TrainState {
  const kind = kindField.read(view.get("net") ?? "") ?? kindField.missing;
  const isSmall = isPhone() && !view.size;
  const read = (of: Kind) => {
    const { specs, original, phone } = NETWORKS[of];
    const start = isSmall ? { ...original, ...phone } : original;
    return Object.entries(specs).map(([name, { key }]) => {
      const text = of === kind ? view.get(key) : null;
      return [name, signal((text === null ? undefined : readSetting(of, name, text)) ?? start[name])];
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
  valuesOf(NETWORKS[kind.value].original, settings[kind.value]) as unknown as Settings;

const valuesOf = (original: Values, of: Record<string, Signal<number | string>>): Values => ({
  ...original,
  ...Object.fromEntries(Object.entries(of).map(([name, { value }]) => [name, value])),
});

/** What a setting must be, as a sentence. */
export function boundsText(kind: Kind, name: string): string {
  const { label, choices } = NETWORKS[kind].specs[name];
  if (choices) return `${label} must be ${choices.map(([value]) => value).join(" or ")}.`;
  const [low, high, unit] = NETWORKS[kind].bounds[name]!;
  const what = unit === 1 ? "a whole number" : unit ? `a multiple of ${unit}` : "a number";
  return `${label} must be ${what} from ${low} to ${high}.`;
}

/** What a link gives wrong: sentences by the names of the settings. */
export function problemsOf({ kind: { value: kind } }: TrainState, view: URLSearchParams): Record<string, string> {
  const { specs } = NETWORKS[kind];
  const wrong = Object.entries(specs).filter(
    ([name, { key }]) => view.has(key) && readSetting(kind, name, view.get(key)!) === undefined,
  );
  return Object.fromEntries(wrong.map(([name]) => [name, `The link has another value. ${boundsText(kind, name)}`]));
}

/** Returns the settings of b that differ from those of a. */
export const changesIn = (a: Settings, b: Settings): Values =>
  Object.fromEntries(Object.entries(b).filter(([name, value]) => (a as unknown as Values)[name] !== value));

const lowerFirst = (text: string) => text.charAt(0).toLowerCase() + text.slice(1);

/** Settings in words. */
export const describe = (kind: Kind, settings: Values) =>
  Object.entries(settings)
    .map(([name, value]) => `${lowerFirst(NETWORKS[kind].specs[name].label)} = ${value}`)
    .join(", ");

/** Returns the command that trains the same from its start, on data if they are given; null if there is none. */
export function commandOf(kind: Kind, settings: Settings, data: string | null): string | null {
  const { command, original, specs } = NETWORKS[kind];
  const changes = Object.entries(changesIn(original as unknown as Settings, settings));
  const options = changes.map(
    ([name, value]) => specs[name].option && (value === "on" ? specs[name].option : `${specs[name].option} ${value}`),
  );
  return options.includes(null)
    ? null
    : [command, ...(data ? [`--data ${data}`] : []), ...options, "--out run"].join(" ");
}
