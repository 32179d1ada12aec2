/**
 * The pictures over time: heat maps of the cell, the output after each step, the gradients, and the input.
 */
import { h } from "../../ui/dom.js";
import { forgetColors } from "../../ui/heatmap.js";
import { Chart } from "./chart.js";
import { formatNumber } from "./format.js";
import { letter } from "./letters.js";
import { MapView } from "./map_view.js";
import { mapNames, mapScale, shownValues } from "./scene.js";
import { channels, symbols } from "./sequence.js";
import { targetOf } from "./state.js";
import { bestClass, capital, classNames, MAP_TITLES, outputText, rangeText, stepText, whyNoOutputs } from "./texts.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./state.js").MapName} MapName */
/** @typedef {import("../../types.js").LstmContent} LstmContent */

const MAX_CLASSES = 24;
const MAX_LINES = 4;

export class Pictures {
  /** @type {Scene | null} */
  #scene = null;
  /** @type {Map<MapName, MapView>} */
  #maps = new Map();

  /**
   * @param {LstmContent} content
   * @param {Element} bars probabilities at one step, which stand beside those of all steps
   * @param {{announce: (text: string) => void, onselect: (selected: {map?: MapName, step: number, unit?: number}) =>
   *   void}} actions
   */
  constructor(content, bars, { announce, onselect }) {
    this.content = content;
    for (const name of mapNames(content)) {
      const title = MAP_TITLES[name];
      this.#maps.set(
        name,
        new MapView([`${title} `, ...letter(name, "t")], `${title} ${name}`, {
          describe: ({ column, row }) => this.#describe(name, column, row),
          announce,
          onselect: ({ column, row }) => onselect({ map: name, step: column, unit: row }),
        }),
      );
    }
    const isNumber = content.target === "number";
    this.outputs = isNumber
      ? new Chart("output", { isLog: false, onselect: (step) => onselect({ step }) })
      : new MapView(["class probabilities"], "class probabilities", {
          describe: ({ column, row }) => this.#describeClass(column, row),
          announce,
          onselect: ({ column }) => onselect({ step: column }),
        });
    this.gradients = new Chart(["gradient of the loss"], { isLog: true, onselect: (step) => onselect({ step }) });
    this.attention = new Chart("attention weight of each step", {
      isLog: false,
      onselect: (step) => onselect({ step }),
    });
    this.input = this.#inputView(announce, onselect);
    this.noOutputs = h("p", { class: "lstm-note" });
    this.noGradients = h("p", { class: "lstm-note" });
    this.maps = h(
      "div",
      { class: "lstm-maps", "data-count": String(this.#maps.size) },
      ...[...this.#maps.values()].map((map) => map.element),
    );
    const results = h("div", {}, bars, this.noOutputs);
    const isLate = content.inputKind === "numbers" && !isNumber; // four pictures: those over time stand side by side
    this.charts = h(
      "div",
      { class: "lstm-charts" },
      this.input?.element,
      this.outputs.element,
      isLate ? null : results,
      this.gradients.element,
      this.noGradients,
      isLate ? results : null,
      this.attention.element,
    );
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.redraw = () => {
      forgetColors();
      if (this.#scene) this.show(this.#scene);
    };
    this.scheme.addEventListener("change", this.redraw);
  }

  /**
   * Picture of numbers that the network reads: lines, or a heat map of many channels; none of symbols.
   * @param {(text: string) => void} announce
   * @param {(selected: {step: number}) => void} onselect
   */
  #inputView(announce, onselect) {
    const { content } = this;
    if (content.inputKind === "symbols") return null;
    /** @param {number} column */
    const toStep = (column) => Math.floor(column / content.patchSize);
    if (content.inputSize <= MAX_LINES)
      return new Chart("input", { isLog: false, onselect: (column) => onselect({ step: toStep(column) }) });
    return new MapView(["input"], "input", {
      describe: ({ column, row }) => {
        const value = this.#scene ? inputValues(this.#scene)[column * content.inputSize + row] : NaN;
        return `step ${column + 1}, ${content.channelNames[row]}: ${formatNumber(value)}`;
      },
      announce,
      onselect: ({ column }) => onselect({ step: toStep(column) }),
    });
  }

  destroy() {
    this.scheme.removeEventListener("change", this.redraw);
    for (const view of [...this.#maps.values(), this.outputs, this.input]) {
      if (view) view.frame.destroy();
    }
    this.gradients.destroy();
    this.attention.destroy();
  }

  /** @param {Scene} scene */
  show(scene) {
    this.#scene = scene;
    const { state, steps, order } = scene;
    const { content } = this;
    const axis = stepAxis(scene);
    const isDifference = scene.second && state.show === "difference";
    for (const [name, map] of this.#maps) {
      const values = shownValues(scene, (trace) => trace.cells[state.cell][name]).subarray(0, steps * order.length);
      const scale = mapScale(scene, name, values);
      const what = isDifference ? `Difference of the ${MAP_TITLES[name]}` : capital(MAP_TITLES[name]);
      const label = `${what} ${name}: ${order.length} units over ${steps} ${axis.noun}s, values ${rangeText(values)}`;
      const rows = order.length;
      map.frame.showRows(unitLabels(rows, state.order, content.cell === "rnn" ? "h" : "c"));
      map.frame.setHeight(mapHeight(rows));
      map.show({ values, columns: steps, rows, order, scale, binning: state.binning, label }, axis);
    }
    this.#showOutputs(scene, axis);
    this.#showGradients(scene, axis);
    this.#showInput(scene);
    this.select();
  }

  /**
   * @param {Scene} scene
   * @param {import("./frame.js").Steps} axis
   */
  #showOutputs(scene, axis) {
    const { first, second, steps, state } = scene;
    const { content } = this;
    const hasOutputs = first.outputs !== null && (!second || second.outputs !== null);
    this.outputs.element.hidden = !hasOutputs;
    this.noOutputs.hidden = hasOutputs;
    this.noOutputs.textContent = whyNoOutputs(content);
    if (!first.outputs || !hasOutputs) return;
    const found = targetOf(state, inputValues(scene));
    const target = Array.isArray(found) ? null : found;
    if (this.outputs instanceof Chart) {
      const lines = [{ name: second ? "first" : "output", values: first.outputs, color: 0 }];
      if (second?.outputs) lines.push({ name: "second", values: second.outputs, color: 1 });
      const level = typeof target === "number" ? { level: target, levelName: `target ${formatNumber(target)}` } : {};
      this.outputs.show({
        lines,
        ...level,
        label: `Output after each of ${steps} steps; the last is ${formatNumber(first.output[0])}`,
        steps: axis,
      });
      return;
    }
    const C = content.outputSize;
    const values = shownValues(scene, (trace) => /** @type {Float64Array} */ (trace.outputs)).subarray(0, steps * C);
    const isDifference = second !== null && state.show === "difference";
    const names = classNames(content);
    const order = null;
    this.outputs.frame.showRows(
      C <= MAX_CLASSES
        ? names.map((name, k) => ({ place: (k + 0.5) / C, name, marked: k === target && !isDifference }))
        : [0, C - 1].map((k) => ({ place: (k + 0.5) / C, name: names[k] })),
    );
    this.outputs.frame.setHeight(C <= MAX_CLASSES ? `${Math.max(C * 1.25, 5)}rem` : "15rem");
    this.outputs.show(
      {
        values,
        columns: steps,
        rows: C,
        order,
        scale: isDifference ? { name: "difference", limit: 1 } : { name: "sequential", limit: 1 },
        binning: state.binning,
        label:
          `${isDifference ? "Difference of the class" : "Class"} probabilities after each of ${steps} steps; ` +
          `at the end ${outputText(content, (state.show === "second" && second) || first)}`,
        marked: isDifference ? null : target,
      },
      axis,
    );
  }

  /**
   * @param {Scene} scene
   * @param {import("./frame.js").Steps} axis
   */
  #showGradients({ first, second, state, steps }, axis) {
    const { gradC, gradH } = first.cells[state.cell];
    const has = gradH.length > 0;
    this.gradients.element.hidden = !has;
    this.noGradients.hidden = has;
    this.noGradients.textContent = "Without a target there is no loss and no gradient. Choose a target class above.";
    if (!has) return;
    const names = second ? { c: "‖∂loss/∂c‖, first", h: "‖∂loss/∂h‖, first" } : { c: "‖∂loss/∂c‖", h: "‖∂loss/∂h‖" };
    /** @type {import("./chart.js").Line[]} */
    const lines = [];
    if (gradC.length) lines.push({ name: names.c, values: gradC.subarray(0, steps), color: 0 });
    lines.push({ name: names.h, values: gradH.subarray(0, steps), color: 1 });
    const other = second?.cells[state.cell];
    if (other?.gradC.length)
      lines.push({ name: "‖∂loss/∂c‖, second", values: other.gradC.subarray(0, steps), color: 0, dashed: true });
    const main = gradC.length ? gradC : gradH;
    this.gradients.show({
      lines,
      label:
        `Norm of the gradient of the loss for the ${gradC.length ? "cell" : "hidden"} state, logarithmic: ` +
        `${formatNumber(main[0])} at the first step, ${formatNumber(main[main.length - 1])} at the last`,
      steps: axis,
    });
  }

  /** @param {Scene} scene */
  #showInput(scene) {
    const attention = scene.first.attention;
    this.attention.element.hidden = !attention;
    if (attention) {
      const lines = [{ name: scene.second ? "first" : "weight", values: attention, color: 0 }];
      if (scene.second?.attention) lines.push({ name: "second", values: scene.second.attention, color: 1 });
      this.attention.show({ lines, label: "Weight of each step in the pooled state", steps: stepAxis(scene) });
    }
    if (!this.input) return;
    const { content } = this;
    const width = channels(content);
    const values = inputValues(scene);
    const count = values.length / width;
    const slots = scene.steps * content.patchSize;
    const steps = { count, names: null, others: null, noun: "step" };
    const label = `Input: ${width} ${width > 1 ? "channels" : "channel"} over ${count} steps, values ${rangeText(values)}`;
    if (this.input instanceof Chart) {
      /** @type {import("./chart.js").Line[]} */
      const lines = content.channelNames.map((name, channel) => ({
        name,
        values: everyNth(values, width, channel),
        color: channel,
      }));
      const other = scene.state.second;
      if (other && scene.state.show !== "second")
        content.channelNames.forEach((name, channel) =>
          lines.push({
            name: `${name}, second`,
            values: everyNth(other, width, channel),
            color: channel,
            dashed: true,
          }),
        );
      this.input.show({ lines, label, steps: { ...steps, count: Math.max(count, slots) }, slots });
      return;
    }
    const array = Float64Array.from(values);
    const isSigned = array.some((value) => value < 0);
    this.input.frame.showRows(unitLabels(width, "trained"));
    this.input.frame.setHeight(mapHeight(width));
    this.input.show(
      {
        values: array,
        columns: count,
        rows: width,
        order: null,
        scale: { name: isSigned ? "diverging" : "sequential", limit: largestOf(array) },
        binning: scene.state.binning,
        label,
      },
      steps,
    );
  }

  /** Marks the selected step and unit in all pictures. */
  select() {
    if (!this.#scene) return;
    const { state, first, steps } = this.#scene;
    const { step, unit } = state.selected;
    const column = Math.min(step, steps - 1);
    for (const map of this.#maps.values()) map.select({ column, row: unit });
    if (this.outputs instanceof Chart) {
      if (first.outputs && column < first.outputs.length)
        this.outputs.select(column, `step ${column + 1}: ${formatNumber(first.outputs[column])}`);
    } else if (first.outputs) {
      this.outputs.select({ column, row: bestClass(this.#shownOutput(column)) });
    }
    const { gradC, gradH } = first.cells[state.cell];
    const parts = [
      gradC.length > column ? `‖∂loss/∂c‖ = ${formatNumber(gradC[column])}` : "",
      gradH.length > column ? `‖∂loss/∂h‖ = ${formatNumber(gradH[column])}` : "",
    ].filter(Boolean);
    this.gradients.select(column, `step ${column + 1}: ${parts.join(", ")}`);
    if (first.attention) this.attention.select(column, `step ${column + 1}: ${formatNumber(first.attention[column])}`);
    const begin = column * this.content.patchSize;
    if (this.input instanceof Chart) {
      const width = channels(this.content);
      const row = inputValues(this.#scene).slice(begin * width, (begin + 1) * width);
      this.input.select(begin, `step ${begin + 1}: ${row.map((value) => formatNumber(value)).join(", ")}`);
    } else this.input?.select({ column: begin, row: 0 });
  }

  /** @param {number} column */
  #shownOutput(column) {
    const scene = /** @type {Scene} */ (this.#scene);
    const C = this.content.outputSize;
    const trace = (scene.state.show === "second" && scene.second) || scene.first;
    return (trace.outputs ?? trace.output).subarray(column * C, (column + 1) * C);
  }

  /**
   * @param {MapName} name
   * @param {number} column
   * @param {number} row
   */
  #describe(name, column, row) {
    if (!this.#scene) return "";
    const { state, order } = this.#scene;
    const value = shownValue(this.#scene, (trace) => trace.cells[state.cell][name], column * order.length + row);
    return `${stepText(this.#scene, column)}, unit ${row + 1}: ${this.#change}${name} = ${formatNumber(value)}`;
  }

  get #change() {
    return this.#scene?.second && this.#scene.state.show === "difference" ? "change of " : "";
  }

  /**
   * @param {number} column
   * @param {number} row
   */
  #describeClass(column, row) {
    if (!this.#scene?.first.outputs) return "";
    const C = this.content.outputSize;
    const value = shownValue(this.#scene, (trace) => trace.outputs ?? trace.output, column * C + row);
    const name = classNames(this.content)[row];
    return `${stepText(this.#scene, column)}: ${this.#change}P(${name}) = ${formatNumber(value)}`;
  }
}

/**
 * One value of those that a heat map shows.
 * @param {Scene} scene
 * @param {(trace: import("../../models/lstm.js").Trace) => Float64Array} pick
 * @param {number} index
 */
function shownValue({ state, first, second }, pick, index) {
  if (!second || state.show === "first") return pick(first)[index];
  return state.show === "second" ? pick(second)[index] : pick(second)[index] - pick(first)[index];
}

/**
 * Numbers that the shown sequence has.
 * @param {Scene} scene
 */
const inputValues = ({ state }) => (state.show === "second" && state.second) || state.values;

/**
 * @param {Scene} scene
 * @returns {import("./frame.js").Steps}
 */
function stepAxis({ state, steps }) {
  const { content } = state;
  const noun = content.patchSize > 1 ? "patch" : "step";
  if (content.inputKind === "numbers") return { count: steps, names: null, others: null, noun };
  const names = symbols(content);
  /** @param {number[]} values */
  const text = (values) => Array.from({ length: steps }, (_, t) => names[values[t]] ?? "");
  return { count: steps, names: text(state.values), others: state.second && text(state.second), noun };
}

/**
 * @param {number} count
 * @param {import("./state.js").Order} order
 * @param {string} [state] letter of the state that a cell has
 */
function unitLabels(count, order, state = "c") {
  if (order === "trained") return [0, count - 1].map((k) => ({ place: (k + 0.5) / count, name: String(k + 1) }));
  const key = order === "forget" ? "f" : state;
  return [
    { place: 0.03, name: `high ${key}` },
    { place: 0.97, name: `low ${key}` },
  ];
}

/** @param {number} rows */
const mapHeight = (rows) => `${Math.min(Math.max(rows * 0.75, 6), 15)}rem`;

/** @param {Float64Array} values */
const largestOf = (values) => values.reduce((max, value) => Math.max(max, Math.abs(value)), 0) || 1;

/**
 * @param {number[]} values
 * @param {number} width
 * @param {number} offset
 */
const everyNth = (values, width, offset) => values.filter((_, k) => k % width === offset);
