/**
 * Controls that choose a latent: its kind, and what this kind needs.
 */
import { button, select } from "../../ui/controls.js";
import { fill, h, uniqueId } from "../../ui/dom.js";
import { imageCanvas } from "../../ui/image.js";
import { rove } from "../../ui/roving.js";
import { MAX_SEED } from "./endpoints.js";

/** @typedef {import("./endpoints.js").Choice} Choice */
/** @typedef {import("./endpoints.js").Latents} Latents */

const GRID_COLUMNS = 5;

/**
 * Creates the controls. They change `chosen` in place and call `onchange`.
 * @param {Latents} latents
 * @param {Choice} chosen
 * @param {Float32Array} gridImages images of the sample grid [25, P]
 * @param {boolean} hasCode whether another panel passed a latent on
 * @param {() => void} onchange
 */
export function chooser(latents, chosen, gridImages, hasCode, onchange) {
  const details = h("div", { class: "chooser-details" });
  /** Controls of the kind, then those that follow a change. */
  const show = () =>
    fill(details, ...controlsOf(latents, chosen, gridImages, changed), conditionSelect(latents, chosen, onchange));
  /** A change that keeps the controls, so that the focus stays where it is. */
  const changed = () => onchange();
  /** @type {[Choice["kind"], string][]} */
  const kinds = [];
  if (latents.classes.length) kinds.push(["class", "by class"]);
  if (latents.examples.length) kinds.push(["example", "example"]);
  kinds.push(["random", "at random"], ["grid", "sample grid"]);
  if (hasCode || chosen.kind === "code") kinds.push(["code", "from a link"]);
  const kind = select("Choose", kinds, chosen.kind, (value) => {
    Object.assign(chosen, { kind: value, index: 0, classIndex: latents.classes[0] ?? 0, condition: null });
    show();
    onchange();
  });
  show();
  return h("div", { class: "chooser" }, kind.element, details);
}

/**
 * @param {Latents} latents
 * @param {Choice} chosen
 * @param {Float32Array} gridImages
 * @param {() => void} onchange
 * @returns {HTMLElement[]}
 */
function controlsOf(latents, chosen, gridImages, onchange) {
  if (chosen.kind === "class") return classControls(latents, chosen, onchange);
  if (chosen.kind === "example") return [exampleControls(chosen, () => latents.examples.length, onchange).element];
  if (chosen.kind === "random") return seedControls(chosen, onchange);
  if (chosen.kind === "grid") return [gridPicker(latents, chosen, gridImages, onchange)];
  return [h("p", { class: "note" }, "The link that opened this panel gives this latent.")];
}

/**
 * @param {Latents} latents
 * @param {Choice} chosen
 * @param {() => void} onchange
 */
function classControls(latents, chosen, onchange) {
  const examples = exampleControls(chosen, () => latents.byClass.get(chosen.classIndex)?.length ?? 0, onchange);
  /** @type {[string, string][]} */
  const choices = latents.classes.map((index) => [String(index), latents.className(index)]);
  const classes = select("Class", choices, String(chosen.classIndex), (value) => {
    Object.assign(chosen, { classIndex: Number(value), index: 0 });
    examples.show();
    onchange();
  });
  return [classes.element, examples.element];
}

/**
 * Buttons that go through examples, around the end.
 * @param {Choice} chosen
 * @param {() => number} count
 * @param {() => void} onchange
 */
function exampleControls(chosen, count, onchange) {
  const position = h("span", { class: "example-position" });
  const show = () => {
    position.textContent = `${chosen.index + 1} of ${count()}`;
  };
  /** @param {number} by */
  const move = (by) => {
    chosen.index = (chosen.index + by + count()) % count();
    show();
    onchange();
  };
  show();
  const previous = button("\u2039", () => move(-1), { "aria-label": "Previous example", title: "Previous example" });
  const next = button("\u203a", () => move(1), { "aria-label": "Next example", title: "Next example" });
  const element = h("div", { class: "examples", role: "group", "aria-label": "Example" }, previous, position, next);
  return { element, show };
}

/**
 * @param {Choice} chosen
 * @param {() => void} onchange
 */
function seedControls(chosen, onchange) {
  const id = uniqueId();
  const field = h("input", {
    id,
    type: "number",
    min: "0",
    max: String(MAX_SEED),
    step: "1",
    value: String(chosen.seed),
  });
  /** @param {number} seed */
  const set = (seed) => {
    chosen.seed = seed;
    onchange();
  };
  field.addEventListener("input", () => {
    const seed = field.valueAsNumber;
    if (Number.isInteger(seed) && seed >= 0 && seed <= MAX_SEED) set(seed);
  });
  const renew = button("New seed", () => {
    set(Math.floor(Math.random() * 10_000));
    field.value = String(chosen.seed);
  });
  return [h("div", { class: "field" }, h("label", { for: id }, "Seed"), field), renew];
}

/**
 * The 25 images of the sample grid as radio buttons.
 * @param {Latents} latents
 * @param {Choice} chosen
 * @param {Float32Array} gridImages
 * @param {() => void} onchange
 */
function gridPicker(latents, chosen, gridImages, onchange) {
  const { pixels, content } = latents.gan;
  const buttons = Array.from({ length: latents.gridSize }, (_, n) =>
    h(
      "button",
      { type: "button", role: "radio", "aria-label": `Sample ${n + 1}`, onclick: () => pick(n) },
      imageCanvas(gridImages.subarray(n * pixels, (n + 1) * pixels), content.imageShape, ""),
    ),
  );
  const group = h("div", { class: "grid-picker", role: "radiogroup", "aria-label": "Sample of the grid" }, ...buttons);
  const setStop = rove(
    group,
    () => buttons,
    (n) => pick(n),
    () => GRID_COLUMNS,
  );
  const show = () => {
    buttons.forEach((one, n) => one.setAttribute("aria-checked", String(n === chosen.index)));
    setStop(chosen.index);
  };
  /** @param {number} n */
  const pick = (n) => {
    chosen.index = n;
    show();
    onchange();
  };
  show();
  return group;
}

/**
 * The class that a conditional generator is given; examples by class have theirs.
 * @param {Latents} latents
 * @param {Choice} chosen
 * @param {() => void} onchange
 */
function conditionSelect(latents, chosen, onchange) {
  const { numClasses, classNames } = latents.gan.content;
  if (!numClasses || chosen.kind === "class") return null;
  /** @type {[string, string][]} */
  const choices = [
    ["", "its own"],
    ...Array.from({ length: numClasses }, (_, k) => /** @type {[string, string]} */ ([String(k), classNames[k]])),
  ];
  return select("Class given to G", choices, chosen.condition === null ? "" : String(chosen.condition), (value) => {
    chosen.condition = value === "" ? null : Number(value);
    onchange();
  }).element;
}
