/**
 * A panel about one GAN run at a time, with a choice of the run where the file has several.
 */
import { select } from "../../ui/controls.js";
import { fill, h } from "../../ui/dom.js";

/** @typedef {import("../../explorer.js").Explorer} Explorer */
/** @typedef {import("../../models/gan.js").Gan} Gan */
/** @typedef {import("../panel.js").PanelHandle} PanelHandle */

/**
 * Shows the panel of the run that the fragment names, or of the first.
 * @param {HTMLElement} root
 * @param {Explorer} explorer
 * @param {URLSearchParams} view untrusted
 * @param {(body: HTMLElement, gan: Gan, view: URLSearchParams) => Required<PanelHandle>} create fills `body`
 * @returns {Promise<PanelHandle>}
 */
export async function mountRun(root, explorer, view, create) {
  const { gans } = explorer.manifest;
  let id = gans.find((gan) => gan.id === view.get("run"))?.id ?? gans[0].id;
  const body = h("div", { class: "run-panel" });
  let panel = create(body, await explorer.gan(id), view);
  /** @param {string} chosen */
  const change = async (chosen) => {
    id = chosen;
    const gan = await explorer.gan(chosen);
    if (id !== chosen) return; // another choice while this run loaded
    panel.destroy();
    panel = create(body, gan, new URLSearchParams());
    explorer.viewChanged();
    explorer.announce(`Run ${gan.content.name}`);
  };
  const choices = gans.map((gan) => /** @type {[string, string]} */ ([gan.id, gan.name]));
  const runs = choices.length > 1 && select("Run", choices, id, (chosen) => void change(chosen)).element;
  fill(root, runs && h("div", { class: "controls" }, runs), body);
  return {
    view: () => ({ run: id, ...panel.view() }),
    destroy() {
      id = "";
      panel.destroy();
    },
  };
}

/**
 * Returns the number of an untrusted text, or `fallback` if it is none in the range.
 * @param {string | null} text
 * @param {{min: number, max: number, integer?: boolean}} range
 * @param {number} fallback
 */
export function numberIn(text, { min, max, integer = false }, fallback) {
  const value = text === null || text.trim() === "" ? NaN : Number(text);
  return value >= min && value <= max && (!integer || Number.isInteger(value)) ? value : fallback;
}

/** Milliseconds without a change after which a reader is told. */
const QUIET = 300;

/**
 * Returns a function that announces a result once the changes have come to rest, and one that forgets what it has not yet
 * said.
 * @param {Explorer} explorer
 */
export function whenQuiet(explorer) {
  let timer = 0;
  return {
    /** @param {string} text */
    tell(text) {
      explorer.viewChanged();
      clearTimeout(timer);
      timer = window.setTimeout(() => explorer.announce(text), QUIET);
    },
    cancel: () => clearTimeout(timer),
  };
}
