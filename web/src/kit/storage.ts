/** Texts that the browser keeps; nothing where it does not, as in a sandboxed frame. */
export function recall(key: string): string | null {
  try {
    return localStorage.getItem(`reviver-${key}`);
  } catch {
    return null;
  }
}

export function remember(key: string, text: string) {
  try {
    localStorage.setItem(`reviver-${key}`, text);
  } catch {
    // It is forgotten with the page.
  }
}
