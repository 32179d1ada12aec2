/**
 * A choice among few values that all show.
 */
import { h, uniqueId } from "../../ui/dom.js";

/**
 * @template {string} Value
 * @param {string} legend
 * @param {[Value, string][]} choices values with their names
 * @param {Value} value the first choice
 * @param {(value: Value) => void} onchange
 */
export function radios(legend, choices, value, onchange) {
  const name = uniqueId();
  const controls = choices.map(([choice]) =>
    h("input", {
      type: "radio",
      name,
      value: choice,
      id: uniqueId(),
      checked: choice === value,
      onchange: () => onchange(choice),
    }),
  );
  const labels = choices.map(([, label], k) =>
    h("span", { class: "lstm-radio" }, controls[k], h("label", { for: controls[k].id }, label)),
  );
  /** @param {Value} chosen */
  const set = (chosen) => {
    for (const control of controls) control.checked = control.value === chosen;
  };
  return { element: h("fieldset", { class: "lstm-radios" }, h("legend", {}, legend), labels), set };
}

/**
 * A group of controls.
 * @param {string} title
 * @param {...(import("../../ui/dom.js").Child | import("../../ui/dom.js").Child[])} children
 */
export const group = (title, ...children) =>
  h("fieldset", { class: "lstm-group" }, h("legend", {}, title), ...children);
