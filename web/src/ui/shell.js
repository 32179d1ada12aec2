/**
 * The frame around the panels: navigation, the panel on show, and the URL fragment.
 *
 * A panel that cannot start says so in its place; the others go on.
 */
import { fill, h } from "./dom.js";
import { currentFragment, formatFragment, parseFragment, writeFragment } from "./fragment.js";
import { footer, guide, header, lessonQuestion } from "./masthead.js";

/** @typedef {import("../types.js").Manifest} Manifest */
/** @typedef {import("../types.js").Lesson} Lesson */
/** @typedef {import("../panels/panel.js").Panel} Panel */
/** @typedef {import("../panels/panel.js").PanelHandle} PanelHandle */
/** @typedef {import("../explorer.js").Explorer} Explorer */

/** Milliseconds between two writes of the address: browsers stop pages that write it at every move of a slider. */
const WRITE_INTERVAL = 250;

export class Shell {
  /** @type {Panel[]} */
  #panels = [];
  /** @type {Explorer | null} */
  #explorer = null;
  /** @type {Panel | null} */
  #panel = null;
  /** @type {PanelHandle | null} */
  #handle = null;
  /** @type {number | undefined} */
  #writing = undefined;
  /** Last view of each panel, by its id: what a return to the panel shows. @type {Map<string, string>} */
  #views = new Map();

  /**
   * @param {HTMLElement} root
   * @param {Manifest} manifest
   * @param {Lesson | null} lesson
   */
  constructor(root, manifest, lesson) {
    this.root = root;
    this.lesson = lesson;
    this.pageTitle = lesson ? lesson.title : manifest.title;
    this.main = h("main", { id: "panel" });
    this.status = h("div", { role: "status", class: "visually-hidden" });
    this.navigation = h("nav", { "aria-label": "Panels" });
    const skip = h("a", { href: "#panel", class: "skip" }, "Skip to the panel");
    skip.addEventListener("click", (event) => this.#skip(event));
    fill(
      root,
      skip,
      header(manifest, lesson, this.navigation),
      lesson?.question ? lessonQuestion(lesson) : null,
      this.main,
      this.status,
      footer(manifest, lesson),
    );
    root.addEventListener("click", (event) => this.#followLink(event));
    window.addEventListener("hashchange", () => void this.open(currentFragment(), { write: null }));
    window.addEventListener("pagehide", () => this.#writeView());
  }

  /**
   * Panels that these runs have, in the order of the navigation.
   * @returns {Panel[]}
   */
  get available() {
    const explorer = /** @type {Explorer} */ (this.#explorer);
    return this.#panels.filter((panel) => !panel.unavailable(explorer));
  }

  /**
   * Fragment of a panel with its last view.
   * @param {string} id
   */
  fragmentOf(id) {
    return this.#views.get(id) ?? id;
  }

  /** Keeps the view of the panel in the address, soon. */
  viewChanged = () => {
    this.#writing ??= window.setTimeout(() => this.#writeView(), WRITE_INTERVAL);
  };

  /** @param {string} text */
  announce = (text) => {
    // A screen reader is silent about a text that stays the same; an invisible character makes it another.
    this.status.textContent = this.status.textContent === text ? `${text}\u00a0` : text;
  };

  /**
   * Shows the navigation and the first panel.
   * @param {Explorer} explorer
   * @param {Panel[]} panels
   */
  async start(explorer, panels) {
    this.#explorer = explorer;
    this.#panels = panels;
    this.#fillNavigation(explorer);
    await this.open(currentFragment() || (this.lesson?.start ?? ""), { write: "replace", focus: false });
  }

  /**
   * Shows the panel and the view that a fragment names, or else the first panel.
   * @param {string} fragment untrusted
   * @param {{write?: "push" | "replace" | null, focus?: boolean}} [options] how to write the address, and whether to
   *   move the focus to the panel
   */
  async open(fragment, { write = "push", focus = true } = {}) {
    const { id, query } = parseFragment(fragment);
    const panels = this.available;
    const panel = panels.find((candidate) => candidate.id === id) ?? panels.find(this.offers) ?? panels[0];
    if (!panel) return fill(this.main, h("p", { role: "alert" }, "There is no run in this file."));
    this.#writeView();
    if (write) writeFragment(query && panel.id === id ? `${id}?${query}` : panel.id, write);
    await this.#show(panel, new URLSearchParams(panel.id === id ? query : ""), focus);
  }

  /**
   * Whether the navigation offers a panel: in a lesson only those of the lesson.
   * @param {Panel} panel
   */
  offers = (panel) => !this.lesson || this.lesson.panels.includes(panel.id);

  /** @param {Explorer} explorer */
  #fillNavigation(explorer) {
    const items = this.available
      .filter(this.offers)
      .map((panel) => h("li", {}, h("a", { href: `#${panel.id}`, "data-panel": panel.id }, panel.title)));
    const missing = this.lesson ? [] : this.#panels.filter((panel) => panel.unavailable(explorer));
    fill(
      this.navigation,
      h("ul", { class: "tabs" }, items),
      missing.length > 0 &&
        h(
          "details",
          { class: "missing" },
          h("summary", {}, "Not available"),
          h(
            "dl",
            {},
            missing.flatMap((panel) => [h("dt", {}, panel.title), h("dd", {}, panel.unavailable(explorer))]),
          ),
        ),
    );
  }

  /**
   * Shows a panel.
   * @param {Panel} panel
   * @param {URLSearchParams} view
   * @param {boolean} focus
   */
  async #show(panel, view, focus) {
    this.#handle?.destroy?.();
    this.#handle = null;
    this.#panel = panel;
    this.#markCurrent(panel);
    document.title = `${panel.title} – ${this.pageTitle}`;
    const heading = h("h2", { tabIndex: -1, class: "panel-title" }, panel.title);
    const body = h("div", { class: `panel-body panel-${panel.id}` });
    fill(this.main, heading, guide(panel), body);
    if (focus) {
      window.scrollTo(0, 0);
      heading.focus();
    }
    this.main.setAttribute("aria-busy", "true");
    const handle = await mount(panel, body, /** @type {Explorer} */ (this.#explorer), view);
    if (body.parentNode !== this.main) return handle?.destroy?.(); // another panel was chosen in the meantime
    this.#handle = handle;
    this.main.setAttribute("aria-busy", "false");
    this.viewChanged();
  }

  /** @param {Panel} panel */
  #markCurrent(panel) {
    for (const link of this.navigation.querySelectorAll("a")) {
      if (link.dataset.panel === panel.id) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  /** Keeps the view of the panel in the address, now. */
  #writeView() {
    clearTimeout(this.#writing);
    this.#writing = undefined;
    if (!this.#panel || !this.#handle) return;
    const fragment = formatFragment(this.#panel.id, readView(this.#handle));
    this.#views.set(this.#panel.id, fragment);
    // After the back button the address already names the next panel: it must not get the view of this one.
    if (parseFragment(currentFragment()).id === this.#panel.id) writeFragment(fragment, "replace");
  }

  /**
   * Opens a link to a panel here, because a page inside an iframe with `srcdoc` has no address for fragments.
   * @param {MouseEvent} event
   */
  #followLink(event) {
    const link = event.target instanceof Element && event.target.closest("a");
    const href = (link && link.getAttribute("href")) || "";
    if (!link || !href.startsWith("#") || event.defaultPrevented || link.hasAttribute("download")) return;
    if (event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    const fragment = href.slice(1);
    // The link of the current panel resets it; that of another returns to its last view.
    this.#writeView();
    const returns = link.dataset.panel && this.#panel?.id !== fragment;
    void this.open(returns ? this.fragmentOf(fragment) : fragment);
  }

  /** @param {Event} event */
  #skip(event) {
    event.preventDefault();
    /** @type {HTMLElement | null} */ (this.main.querySelector(".panel-title"))?.focus();
  }
}

/**
 * Fills a panel. An error becomes a sentence in its place.
 * @param {Panel} panel
 * @param {HTMLElement} body
 * @param {Explorer} explorer
 * @param {URLSearchParams} view
 * @returns {Promise<PanelHandle | null>}
 */
async function mount(panel, body, explorer, view) {
  try {
    return await panel.mount(body, explorer, view);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const text = `This panel could not start: ${reason}. The others still work.`;
    fill(body, h("p", { role: "alert", class: "alert" }, text));
    console.error(error);
    return null;
  }
}

/**
 * Returns the view of a panel; none if that fails, so that the navigation goes on.
 * @param {PanelHandle} handle
 */
function readView(handle) {
  try {
    return handle.view();
  } catch (error) {
    console.error(error);
    return {};
  }
}
