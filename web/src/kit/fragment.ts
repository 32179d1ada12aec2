/** The URL fragment `#PANEL?key=value&...`. */
import type { View } from "./codec";

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

/** Writes the fragment into the address, where the browser permits it: not inside a sandboxed iframe. */
export function writeFragment(fragment: string, how: "push" | "replace") {
  try {
    if (how === "push") history.pushState(null, "", `#${fragment}`);
    else history.replaceState(null, "", `#${fragment}`);
  } catch {
    // The page works without an address; only bookmarks and the back button are missing.
  }
}
