/**
 * The frame around the panels: title, navigation, question and limit of the panel, and the URL fragment.
 *
 * The fragment is `#PANEL?key=value&...`. It is untrusted: an unknown panel or value counts as missing.
 */
import { button } from "./controls.js";
import { fill, h } from "./dom.js";

/** @typedef {import("../types.js").Manifest} Manifest */
/** @typedef {import("../panels/panel.js").Panel} Panel */
/** @typedef {import("../panels/panel.js").PanelHandle} PanelHandle */
/** @typedef {import("../explorer.js").Explorer} Explorer */

export class Shell {
  /** @type {Explorer | null} */
  #explorer = null;
  /** @type {PanelHandle | null} */
  #handle = null;
  /** @type {Panel | null} */
  #panel = null;
  #written = "";

  /**
   * @param {HTMLElement} root
   * @param {Manifest} manifest
   * @param {Panel[]} panels
   */
  constructor(root, manifest, panels) {
    this.panels = panels;
    this.main = h("main", { id: "panel", tabIndex: -1 });
    this.status = h("div", { role: "status", class: "visually-hidden" });
    this.navigation = h("nav", { "aria-label": "Panels" });
    fill(
      root,
      h("header", {}, h("h1", {}, manifest.title), this.navigation),
      this.main,
      this.status,
    );
  }

  viewChanged = () => {
    if (!this.#panel || !this.#handle) return;
    const values = new URLSearchParams(this.#handle.view()).toString();
    this.#written = `#${this.#panel.id}${values && `?${values}`}`;
    history.replaceState(null, "", this.#written);
  };

  /** @param {string} text */
  announce = (text) => {
    this.status.textContent = text;
  };

  /** @param {Explorer} explorer */
  async start(explorer) {
    this.#explorer = explorer;
    for (const panel of this.panels) {
      if (panel.unavailable(explorer)) continue;
      this.navigation.append(
        button(panel.title, () => void this.show(panel, new URLSearchParams()), { "data-panel": panel.id }),
      );
    }
    window.addEventListener("hashchange", () => {
      if (location.hash !== this.#written) void this.#followFragment();
    });
    await this.#followFragment();
  }

  async #followFragment() {
    const [id, query] = location.hash.slice(1).split("?", 2);
    const available = this.panels.filter((panel) => !panel.unavailable(/** @type {Explorer} */ (this.#explorer)));
    const panel = available.find((candidate) => candidate.id === id) ?? available[0];
    await this.show(panel, new URLSearchParams(panel.id === id ? query : ""));
  }

  /**
   * Shows a panel.
   * @param {Panel} panel
   * @param {URLSearchParams} view
   */
  async show(panel, view) {
    this.#handle?.destroy?.();
    this.#panel = panel;
    for (const link of this.navigation.children)
      link.setAttribute("aria-current", String(link.getAttribute("data-panel") === panel.id));
    const body = h("div", { class: "panel-body" });
    fill(
      this.main,
      h("h2", {}, panel.title),
      h("p", { class: "question" }, panel.question),
      h("p", { class: "observe" }, h("strong", {}, "Observe: "), panel.observe),
      body,
      h("p", { class: "limit" }, h("strong", {}, "Limit: "), panel.limit),
    );
    this.#handle = await panel.mount(body, /** @type {Explorer} */ (this.#explorer), view);
    this.viewChanged();
  }
}
