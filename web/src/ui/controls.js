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
export const button = (label, onclick, properties = {}) =>
  h("button", { type: "button", onclick, ...properties }, label);

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
  for (const [choice, name] of choices)
    control.append(h("option", { value: choice, selected: choice === value }, name));
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

/**
 * A choice among few named values, all visible: radio buttons that look like one row of buttons.
 * @template {string} Value
 * @param {string} label
 * @param {[Value, string][]} choices values with their names
 * @param {Value} value the first choice
 * @param {(value: Value) => void} onchange
 */
export function segmented(label, choices, value, onchange) {
  const name = uniqueId();
  const inputs = choices.map(([choice]) =>
    h("input", { type: "radio", name, value: choice, checked: choice === value, onchange: () => onchange(choice) }),
  );
  const segments = choices.map(([, text], index) => h("label", {}, inputs[index], h("span", {}, text)));
  /** @param {Value} chosen */
  const set = (chosen) => {
    for (const input of inputs) input.checked = input.value === chosen;
  };
  return {
    element: h("fieldset", { class: "field segmented" }, h("legend", {}, label), h("div", {}, segments)),
    inputs,
    set,
  };
}

/**
 * A field for text of one line, or of several.
 * @param {string} label
 * @param {string} value
 * @param {(value: string) => void} oninput
 * @param {{rows?: number, maxLength?: number, hint?: string}} [options]
 */
export function textField(label, value, oninput, { rows = 1, maxLength = 200, hint = "" } = {}) {
  const id = uniqueId();
  const control = h(rows > 1 ? "textarea" : "input", {
    id,
    maxLength,
    value,
    "aria-describedby": hint ? `${id}-hint` : undefined,
    oninput: () => oninput(control.value),
  });
  if (control instanceof HTMLTextAreaElement) control.rows = rows;
  const note = hint ? h("small", { id: `${id}-hint` }, hint) : null;
  return { element: h("div", { class: "field wide" }, h("label", { for: id }, label), control, note), control };
}
