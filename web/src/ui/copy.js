/**
 * Text to copy.
 */
import { button } from "./controls.js";
import { h } from "./dom.js";

/**
 * A text with a button that copies it. Where the browser refuses, as inside an iframe, the button selects it.
 * @param {string} text
 * @param {string} label of the button
 * @param {(text: string) => void} announce
 */
export function copyField(text, label, announce) {
  const code = h("code", {}, text);
  const status = h("span", { class: "muted" });
  /** @param {string} message */
  const report = (message) => {
    status.textContent = message;
    announce(message);
  };
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      report("Copied.");
    } catch {
      getSelection()?.selectAllChildren(code);
      report("Selected: press Ctrl+C or ⌘C to copy.");
    }
  };
  return h(
    "div",
    { class: "copy-field" },
    h("pre", { tabIndex: 0, "data-scrolls": "" }, code),
    button(label, () => void copy()),
    status,
  );
}
