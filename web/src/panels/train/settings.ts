/** Settings of a run that the panel shows: their names, bounds and form in the fragment, and the command that trains the same. */
import type { Signal } from "@preact/signals";
import { codec, field, integer, number, oneOf, type Field, type State } from "../../kit/codec";
import { LSTM_BOUNDS, LSTM_ORIGINAL, type LstmSettings } from "../../train/settings";

export type Numeric = Exclude<keyof LstmSettings, "encoding" | "optimizer">;

interface Spec {
  label: string;
  /** In the fragment. */
  key: string;
  /** Of `reviver lstm train`; null if Python has none. */
  option: string | null;
  hint?: string;
}

/** The fields in their order. A change of those before `length` needs a new run; one of the others forks the run. */
export const SPECS: Record<Numeric, Spec> = {
  seed: { label: "Seed", key: "seed", option: "--seed" },
  dataSize: { label: "Palindromes", key: "data", option: "--data-size", hint: "at most: equal ones count once" },
  trainFraction: { label: "Part to learn from", key: "part", option: "--train-fraction" },
  hiddenSize: { label: "Units", key: "units", option: "--hidden-size" },
  length: { label: "Length T", key: "length", option: "--length" },
  learningRate: { label: "Learning rate", key: "rate", option: "--learning-rate" },
  hiddenDropout: { label: "Dropout of h", key: "dropout", option: "--hidden-dropout" },
  forgetBias: { label: "Forget bias", key: "forget", option: null, hint: "a change moves the biases now" },
  maxNorm: { label: "Largest norm", key: "clip", option: "--max-norm" },
  batchSize: { label: "Batch", key: "batch", option: "--batch-size" },
  epochs: { label: "Epochs", key: "epochs", option: "--epochs" },
};

export const NUMERIC = Object.keys(SPECS) as Numeric[];
export const START_ONLY: readonly (keyof LstmSettings)[] = [
  "seed",
  "dataSize",
  "trainFraction",
  "hiddenSize",
  "encoding",
];
export const ENCODINGS = [
  ["scalar", "as one number"],
  ["onehot", "one-hot"],
] as const;
export const OPTIMIZERS = [
  ["rmsprop", "RMSprop"],
  ["adam", "Adam"],
] as const;

/** Longest sequence that the panel reads out. */
const MAX_DIGITS = 60;

/** A field that the fragment leaves out while it has its default. */
const brief = <T>({ missing, read, write }: Field<T>): Field<T> =>
  field(missing, read, (value) => (value === missing ? null : write(value)));

const numeric = (name: Numeric): Field<number> => {
  const [low, high, unit] = LSTM_BOUNDS[name]!;
  const missing = LSTM_ORIGINAL[name];
  if (low >= 0 && unit === 1) return brief(integer(low, high, missing));
  const { read, write } = number(low, high, missing);
  const fits = (value: number | undefined) =>
    value !== undefined && (!unit || value % unit === 0) ? value : undefined;
  return brief(field(missing, (text) => fits(read(text)), write));
};

/** What the fragment keeps. */
const fields = {
  ...(Object.fromEntries(NUMERIC.map((name) => [SPECS[name].key, numeric(name)])) as Record<string, Field<number>>),
  encoding: brief(oneOf(ENCODINGS.map(([name]) => name))),
  optimizer: brief(oneOf(OPTIMIZERS.map(([name]) => name))),
  digits: field("4171", (text) => (isDigits(text) ? text : undefined), String),
};

export const isDigits = (text: string) => new RegExp(`^\\d{1,${MAX_DIGITS}}$`).test(text);

export const trainCodec = codec(fields);
export type TrainState = State<typeof fields>;

/** The signal of a number. */
export const signalOf = (state: TrainState, name: Numeric) =>
  (state as unknown as Record<string, Signal<number>>)[SPECS[name].key];

export const settingsOf = (state: TrainState): LstmSettings => ({
  ...(Object.fromEntries(NUMERIC.map((name) => [name, signalOf(state, name).value])) as Record<Numeric, number>),
  encoding: state.encoding.value,
  optimizer: state.optimizer.value,
});

export function setSettings(state: TrainState, settings: LstmSettings) {
  for (const name of NUMERIC) signalOf(state, name).value = settings[name];
  [state.encoding.value, state.optimizer.value] = [settings.encoding, settings.optimizer];
}

/** What a number must be, as a sentence. */
export function boundsText(name: Numeric): string {
  const [low, high, unit] = LSTM_BOUNDS[name]!;
  const kind = unit === 1 ? "a whole number" : unit ? `a multiple of ${unit}` : "a number";
  return `${SPECS[name].label} must be ${kind} from ${low} to ${high}.`;
}

/** Returns the number of a text, or undefined. */
export const readNumber = (name: Numeric, text: string) => numeric(name).read(text.trim());

/** What a link gives wrong: sentences by the names of the settings. */
export function problemsOf(view: URLSearchParams): Partial<Record<Numeric, string>> {
  const wrong = NUMERIC.filter(
    (name) => view.has(SPECS[name].key) && readNumber(name, view.get(SPECS[name].key)!) === undefined,
  );
  return Object.fromEntries(wrong.map((name) => [name, `The link has another value. ${boundsText(name)}`]));
}

/** Names of the settings that differ. */
export const changedIn = (a: LstmSettings, b: LstmSettings) =>
  (Object.keys(a) as (keyof LstmSettings)[]).filter((name) => a[name] !== b[name]);

/** The changed settings in words. */
export const describe = (settings: Partial<LstmSettings>) =>
  Object.entries(settings)
    .map(([name, value]) => `${(SPECS[name as Numeric]?.label ?? name).toLowerCase()} ${value}`)
    .join(", ");

/** Returns the command that trains the same from its start; null if Python has none. */
export function commandOf(settings: LstmSettings): string | null {
  const changed = changedIn(LSTM_ORIGINAL, settings);
  const options = changed.map((name) => {
    const option = name === "encoding" ? "--encoding" : name === "optimizer" ? null : SPECS[name].option;
    return option && `${option} ${settings[name]}`;
  });
  if (options.includes(null)) return null;
  return ["reviver lstm train --preset original", ...options, "--out run"].join(" ");
}
