/**
 * Commands to copy into a shell.
 */
import { button } from "../../ui/controls.js";
import { h, uniqueId } from "../../ui/dom.js";

/**
 * Quotes an argument for a POSIX shell.
 * @param {string} text
 */
export const quote = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/**
 * A command in a text field, with a button that copies it. Where the browser forbids copying, the text is selected.
 * @param {string} label
 * @param {(text: string) => void} announce
 */
export function commandField(label, announce) {
  const id = uniqueId();
  const field = h("input", { id, type: "text", readOnly: true, class: "command", spellcheck: false });
  const copied = h("span", { class: "copied" });
  /** @param {string} text */
  const say = (text) => {
    copied.textContent = text;
    announce(text);
  };
  const copy = async () => {
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
      say("Copied.");
    } catch {
      say("The command is selected. Press Ctrl+C to copy it.");
    }
  };
  field.addEventListener("focus", () => field.select());
  const element = h(
    "div",
    { class: "command-field" },
    h("label", { for: id }, label),
    field,
    button("Copy command", () => void copy()),
    copied,
  );
  return {
    element,
    /** @param {string} command */
    set(command) {
      field.value = command;
      copied.textContent = "";
    },
  };
}
