/**
 * Controls with labels: native elements, so that keyboard, touch and screen readers work by themselves.
 */
import { h, uniqueId } from "./dom.js";

/**
 * A button.
 * @param {string} label
 * @param {() => void} onclick
 * @param {Record<string, unknown>} [properties]
 */
export const button = (label, onclick, properties = {}) => h("button", { type: "button", onclick, ...properties }, label);

/**
 * A choice among named values.
 * @template {string} Value
 * @param {string} label
 * @param {[Value, string][]} choices values with their names
 * @param {Value} value the first choice
 * @param {(value: Value) => void} onchange
 */
export function select(label, choices, value, onchange) {
  const id = uniqueId();
  const control = h("select", { id, onchange: () => onchange(/** @type {Value} */ (control.value)) });
  for (const [choice, name] of choices) control.append(h("option", { value: choice, selected: choice === value }, name));
  return { element: h("div", { class: "field" }, h("label", { for: id }, label), control), control };
}

/**
 * A slider that shows its value in words.
 * @param {string} label
 * @param {{min: number, max: number, step: number, value: number}} range
 * @param {(value: number) => void} oninput
 * @param {(value: number) => string} [format] the value in words
 */
export function slider(label, range, oninput, format = String) {
  const id = uniqueId();
  const output = h("output", { for: id });
  const control = h("input", { id, type: "range", min: range.min, max: range.max, step: range.step });
  const show = () => {
    output.textContent = format(control.valueAsNumber);
    control.setAttribute("aria-valuetext", output.textContent);
  };
  control.value = String(range.value);
  control.addEventListener("input", () => {
    show();
    oninput(control.valueAsNumber);
  });
  show();
  /** @param {number} value */
  const set = (value) => {
    control.value = String(value);
    show();
  };
  return { element: h("div", { class: "field" }, h("label", { for: id }, label), control, output), control, set };
}

/**
 * A check box.
 * @param {string} label
 * @param {boolean} checked
 * @param {(checked: boolean) => void} onchange
 */
export function toggle(label, checked, onchange) {
  const id = uniqueId();
  const control = h("input", { id, type: "checkbox", checked, onchange: () => onchange(control.checked) });
  return { element: h("div", { class: "field toggle" }, control, h("label", { for: id }, label)), control };
}
