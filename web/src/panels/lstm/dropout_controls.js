/**
 * Controls of dropout: on or off, the seed of the masks, and the spread over 100 masks.
 */
import { button, toggle } from "../../ui/controls.js";
import { h, uniqueId } from "../../ui/dom.js";
import { group } from "./radios.js";
import { Spread } from "./spread.js";
import { MAX_SEED, readInteger } from "./state.js";

const KINDS = {
  step: "a new mask at every step",
  variational: "one mask for the whole sequence",
  zoneout: "zoneout: a dropped unit keeps its previous value",
};

export class DropoutControls {
  /**
   * @param {import("../../models/lstm.js").Lstm} lstm
   * @param {import("./state.js").State} state
   * @param {{update: () => void, announce: (text: string) => void}} actions
   */
  constructor(lstm, state, { update, announce }) {
    this.lstm = lstm;
    this.state = state;
    this.update = update;
    const { hiddenDropout, hiddenDropoutKind } = lstm.content;
    this.spread = new Spread(announce);
    this.spread.element.hidden = true;
    this.spreadToggle = toggle("Spread over 100 masks", false, () => this.#startSpread());
    this.seed = this.#seedField();
    this.seedRow = h(
      "div",
      { class: "lstm-row" },
      this.seed.element,
      button("Next mask", () => this.#setSeed(this.#nextSeed())),
    );
    this.seedRow.hidden = state.seed === null;
    const title = "Dropout";
    this.element =
      hiddenDropout > 0
        ? group(
            title,
            h("p", {}, `Trained with dropout of the hidden state, p = ${hiddenDropout}, ${KINDS[hiddenDropoutKind]}.`),
            toggle("Drop units, as in training", state.seed !== null, (checked) =>
              this.#setSeed(checked ? readInteger(this.seed.control.value, 0, MAX_SEED, 0) : null),
            ).element,
            this.seedRow,
            this.spreadToggle.element,
          )
        : group(title, h("p", {}, "This network was trained without dropout of the hidden state."));
  }

  #seedField() {
    const id = uniqueId();
    const control = h("input", {
      id,
      type: "number",
      min: "0",
      max: String(MAX_SEED),
      step: "1",
      value: String(this.state.seed ?? 0),
      oninput: () => {
        const seed = readInteger(control.value, 0, MAX_SEED, null);
        if (seed !== null) this.#setSeed(seed);
      },
    });
    return { element: h("div", { class: "field" }, h("label", { for: id }, "Mask seed"), control), control };
  }

  #nextSeed() {
    return ((this.state.seed ?? -1) + 1) % (MAX_SEED + 1);
  }

  /** @param {number | null} seed */
  #setSeed(seed) {
    this.state.seed = seed;
    this.seedRow.hidden = seed === null;
    if (seed !== null && this.seed.control.value !== String(seed)) this.seed.control.value = String(seed);
    this.update();
  }

  /** Computes the spread again after a change of the sequence or the stage. */
  show() {
    if (this.spreadToggle.control.checked) this.#startSpread();
  }

  #startSpread() {
    const isOn = this.spreadToggle.control.checked;
    this.spread.element.hidden = !isOn;
    this.spread.stop();
    if (!isOn) return;
    const { lstm } = this;
    const { stage, values } = this.state;
    const x = lstm.encode(values);
    /** @param {bigint | null} seed */
    const compute = (seed) => lstm.trace(stage, x, { seed, outputs: false }).output;
    this.spread.start(lstm.content, compute);
  }

  destroy() {
    this.spread.stop();
  }
}
