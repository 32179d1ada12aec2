/**
 * The state of a panel and its form in the URL fragment, declared once:
 *
 *     const fields = codec({ t: number(0, 1, 0.5), seed: integer(0, 999), path: oneOf(["linear", "spherical"]) });
 *     const state = fields.read(view);            // a signal per field: state.t.value = 0.7
 *     fields.write(state)                         // { t: "0.7", seed: "0", path: "linear" }
 *
 * A fragment is untrusted: what is wrong counts as missing, and nothing throws.
 */
import { signal, type Signal } from "@preact/signals";

export type View = Record<string, string>;

/** One value of the fragment: `read` returns undefined for a wrong text, `write` null for a value that is left out. */
export interface Field<T> {
  missing: T;
  read: (text: string) => T | undefined;
  write: (value: T) => string | null;
}

export const number = (min: number, max: number, missing = min, write: (value: number) => string = String) =>
  field(
    missing,
    (text) => {
      const value = text.trim() === "" ? NaN : Number(text);
      return value >= min && value <= max ? value : undefined;
    },
    write,
  );

/** An integer from `min` to `max`, none of which is negative. */
export const integer = (min: number, max: number, missing = min): Field<number> =>
  field(missing, (text) => readInteger(text, min, max), String);

/** Returns the integer of a text that somebody typed or that stands in an address; undefined if it is none in the range. */
export function readInteger(text: string, min: number, max: number): number | undefined {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : NaN;
  return value >= min && value <= max ? value : undefined;
}

/** One of some words, by default the first. */
export const oneOf = <W extends string>(words: readonly W[], missing = words[0] as W): Field<W> =>
  field(missing, (text) => words.find((word) => word === text), String);

/** A field that may have no value, null, which the fragment leaves out. */
export const optional = <T>({ read, write }: Field<T>): Field<T | null> =>
  field<T | null>(null, read, (value) => (value === null ? null : write(value)));

/** A field with a form of its own. */
export const field = <T>(missing: T, read: Field<T>["read"], write: Field<T>["write"]): Field<T> => ({
  missing,
  read,
  write,
});

/** Keys that some view has; what else stands in an address is reported. */
export const KNOWN_KEYS = new Set(["code"]);

type Fields = Record<string, Field<any>>;
/** A signal per field. */
export type State<F extends Fields> = { [K in keyof F]: F[K] extends Field<infer T> ? Signal<T> : never };

export const codec = <F extends Fields>(fields: F) => ({
  read(view: URLSearchParams): State<F> {
    Object.keys(fields).forEach((name) => KNOWN_KEYS.add(name));
    const entries = Object.entries(fields).map(([name, { read, missing }]) => {
      const text = view.get(name);
      return [name, signal((text === null ? undefined : read(text)) ?? missing)];
    });
    return Object.fromEntries(entries);
  },
  write(state: State<F>): View {
    const entries = Object.entries(fields).map(([name, { write }]) => [name, write(state[name].value)]);
    return Object.fromEntries(entries.filter(([, text]) => text !== null));
  },
});

/** Longest fragment that counts, in characters; real ones have a few thousand at most. */
const MAX_LENGTH = 1 << 16;

/** Splits a fragment, with or without #, into the id of a panel and its view. */
export function parseFragment(fragment: string): { id: string; query: string } {
  const text = fragment.startsWith("#") ? fragment.slice(1) : fragment;
  const mark = text.indexOf("?");
  const id = mark < 0 ? text : text.slice(0, mark);
  const query = mark < 0 || text.length > MAX_LENGTH ? "" : text.slice(mark + 1);
  return { id: id.slice(0, 100), query };
}

/** Returns the fragment, without #, of a panel with a view. */
export function formatFragment(id: string, view: View): string {
  const query = new URLSearchParams(view).toString();
  return query ? `${id}?${query}` : id;
}

/** Returns the fragment of the page. A page inside an iframe with `srcdoc` has none. */
export const currentFragment = () => location.hash.slice(1);

/** Opens a panel as its link does. */
export function openPanel(fragment: string) {
  const link = Object.assign(document.createElement("a"), { href: `#${fragment}` });
  document.getElementById("app")!.append(link);
  link.click();
  link.remove();
}

/** Writes the fragment into the address, where the browser permits it: not inside a sandboxed iframe. */
export function writeFragment(fragment: string, how: "push" | "replace") {
  try {
    if (how === "push") history.pushState(null, "", `#${fragment}`);
    else history.replaceState(null, "", `#${fragment}`);
  } catch {
    // The page works without an address; only bookmarks and the back button are missing.
  }
}
