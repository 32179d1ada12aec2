/**
 * The frame around the panels: navigation, the panel on show, and the URL fragment. A panel that cannot start says so in its
 * place; the others go on.
 */
import { effect, signal } from "@preact/signals";
import { render, type ComponentChildren } from "preact";
import { useErrorBoundary } from "preact/hooks";
import { cancelAnnouncement, status } from "../kit/announce";
import { currentFragment, formatFragment, KNOWN_KEYS, parseFragment, writeFragment } from "../kit/codec";
import type { Manifest } from "../kit/manifest";
import { allRuns } from "../kit/runs";
import { Tip } from "../kit/terms";
import type { Lesson } from "./lesson";
import { Footer, Header, PanelHead } from "./masthead";
import { Navigation } from "./navigation";
import type { Opened, Panel } from "./panel";
import { Tutor } from "./tutor";
import { TutorCard } from "./tutor_card";

/** Milliseconds between two writes of the address: browsers stop pages that write it at every move of a slider. */
const WRITE_INTERVAL = 250;
/** What the fragment keeps beside the view of a panel: a step of a lesson, and whether the panel stands alone. */
const OF_PAGE = ["lesson", "embed"];

interface Shown {
  panel: Panel;
  number: number; // Counts what was shown, so that the same panel opened again begins anew
  opened: Opened | null; // Null while it opens
  unknown?: string[]; // Keys of the address that the panel does not have
  missing?: string | false; // Panel of the address that the page does not have
}

export class Shell {
  #shown = signal<Shown | null>(null);
  #writing: ReturnType<typeof setTimeout> | undefined;
  #views = new Map<string, string>(); // Last view of each panel, by its id: what a return to the panel shows
  readonly tutor: Tutor;
  #isEmbedded = false;

  constructor(
    readonly manifest: Manifest,
    readonly lesson: Lesson | null,
    readonly panels: Panel[],
  ) {
    this.tutor = new Tutor(lesson);
  }

  /** Panels that these runs have, in the order of the navigation. */
  get available() {
    return allRuns(this.manifest) && this.panels.filter((panel) => !panel.unavailable(this.manifest));
  }

  /** Whether the navigation offers a panel: in a lesson only those of the lesson. */
  offers = (panel: Panel) => !this.lesson || this.lesson.panels.includes(panel.id);

  fragmentOf = (id: string) => this.#views.get(id) ?? id; // Fragment of a panel with its last view

  /** Fills the page, and shows the panel that the address names. */
  async start(root: HTMLElement) {
    render(<this.Frame />, root);
    root.addEventListener("click", (event) => this.#followLink(event));
    window.addEventListener("hashchange", () => void this.open(currentFragment(), null));
    window.addEventListener("pagehide", () => this.#writeView());
    effect(() => {
      const opened = this.#shown.value?.opened;
      if (!opened) return;
      this.#viewOf(opened); // follows every signal that the view reads
      this.#writing ??= setTimeout(() => this.#writeView(), WRITE_INTERVAL);
    });
    await this.open(currentFragment() || (this.lesson?.start ?? ""), "replace", false);
  }

  /** Shows the panel and the view that a fragment names, or else the first panel. `write` is how to write the address. */
  async open(fragment: string, write: "push" | "replace" | null = "push", focus = true) {
    const { id, query } = parseFragment(fragment);
    const { available } = this;
    const panel = available.find((one) => one.id === id) ?? available.find(this.offers) ?? available[0];
    this.#writeView();
    cancelAnnouncement();
    const view = new URLSearchParams(panel.id === id ? query : "");
    const [step, embed] = OF_PAGE.map((key) => view.get(key));
    if (embed === "1") this.#embed();
    if (step) this.tutor.read(step);
    else if (
      panel.id === "train" &&
      !this.lesson &&
      !this.#isEmbedded &&
      [...view.keys()].every((key) => key === "net")
    )
      this.tutor.greet(view.get("net") ?? "lstm");
    OF_PAGE.forEach((key) => view.delete(key));
    if (write) writeFragment(formatFragment(panel.id, { ...Object.fromEntries(view), ...this.#ofPage }), write);
    const number = (this.#shown.peek()?.number ?? 0) + 1;
    this.#shown.value = { panel, number, opened: null };
    document.title = `${panel.title} – ${this.lesson?.title ?? this.manifest.title}`;
    if (focus) {
      window.scrollTo(0, 0);
      setTimeout(focusHeading, 0);
    }
    const opened = await openPanel(panel, this.manifest, view);
    if (this.#shown.peek()?.number !== number) return;
    const known = new Set([...KNOWN_KEYS, ...Object.keys(readView(opened))]);
    const unknown = [...view.keys()].filter((key) => !known.has(key));
    const missing = this.panels.every((one) => one.id !== id) && id;
    this.#shown.value = { panel, number, opened, unknown, missing };
  }

  Frame = () => (
    <>
      <a
        href="#panel"
        class="skip visually-hidden"
        onClick={(event) => {
          event.preventDefault();
          focusHeading();
        }}
      >
        Skip to the panel
      </a>
      <Header lesson={this.lesson}>
        <this.Navigation />
      </Header>
      <this.Main />
      <this.Lesson />
      <div role="status" class="visually-hidden">
        {status}
      </div>
      <Footer manifest={this.manifest} lesson={this.lesson} />
      <Tip />
    </>
  );

  Navigation = () => (
    <Navigation
      shown={this.available.filter(this.offers)}
      missing={this.lesson ? [] : this.panels.filter((panel) => panel.unavailable(this.manifest))}
      manifest={this.manifest}
      current={this.#shown.value?.panel.id}
    />
  );

  Lesson = () => <TutorCard tutor={this.tutor} opened={this.#shown.value?.opened ?? null} go={this.#goTo} />;

  Main = () => {
    const shown = this.#shown.value;
    if (!shown) return <main id="panel" />;
    const { panel, number, opened, unknown = [], missing } = shown;
    return (
      <main id="panel" aria-busy={!opened}>
        <PanelHead key={number} panel={panel} />
        {missing && (
          <p class="wrong" role="alert">
            {`This page has no panel “${missing.slice(0, 40)}” any more; this is ${panel.title}.`}
          </p>
        )}
        {unknown.length > 0 && (
          <p class="wrong" role="alert">
            {`The address has ${unknown.map((key) => `“${key.slice(0, 40)}”`).join(", ")}, which this panel does not know. It is ignored.`}
          </p>
        )}
        <div key={`body-${number}`} class={`stack panel-body panel-${panel.id}`}>
          {opened && <Boundary>{opened.body}</Boundary>}
        </div>
      </main>
    );
  };

  #writeView() {
    clearTimeout(this.#writing);
    this.#writing = undefined;
    const shown = this.#shown.peek();
    if (!shown?.opened) return;
    const { id } = shown.panel;
    const fragment = formatFragment(id, this.#viewOf(shown.opened));
    this.#views.set(id, formatFragment(id, readView(shown.opened)));
    // After the back button the address already names the next panel: it must not get the view of this one.
    if (parseFragment(currentFragment()).id === id) writeFragment(fragment, "replace");
  }

  get #ofPage() {
    return { ...this.tutor.view, ...(this.#isEmbedded && { embed: "1" }) };
  }

  #viewOf = (opened: Opened) => ({ ...readView(opened), ...this.#ofPage });

  /** Shows the panel alone, for slides and course pages. */
  #embed() {
    this.#isEmbedded = true;
    document.documentElement.classList.add("embedded");
  }

  /** Goes to a step of the lesson, and opens what it shows: that of the last step that names something, if need be. */
  #goTo = (index: number) => {
    const { plan, index: current } = this.tutor;
    const named = (to: number) => plan.value!.steps.findLastIndex(({ open }, k) => open && k <= to);
    const [before, now] = [current.value, index].map(named);
    current.value = index;
    const fragment = plan.value!.steps[now]?.open ?? "";
    const { id } = parseFragment(fragment);
    if (!this.available.some((panel) => panel.id === id)) return;
    if (now !== before || this.#shown.peek()?.panel.id !== id) void this.open(fragment, "push", false);
  };

  /** Opens a link to a panel here, because a page inside an iframe with `srcdoc` has no address for fragments. */
  #followLink(event: MouseEvent) {
    const link = event.target instanceof Element && event.target.closest("a");
    const href = (link && link.getAttribute("href")) || "";
    if (!link || !href.startsWith("#") || event.defaultPrevented || link.hasAttribute("download")) return;
    if (event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    const fragment = href.slice(1);
    // The link of the current panel resets it; that of another returns to its last view.
    this.#writeView();
    const returns = link.dataset.panel && this.#shown.peek()?.panel.id !== fragment;
    void this.open(returns ? this.fragmentOf(fragment) : fragment);
  }
}

const focusHeading = () => document.querySelector<HTMLElement>(".panel-title")?.focus();

/** Opens a panel. An error becomes a sentence in its place. */
async function openPanel(panel: Panel, manifest: Manifest, view: URLSearchParams): Promise<Opened> {
  try {
    return await panel.open(manifest, view);
  } catch (error) {
    console.error(error);
    return { view: () => ({}), body: <Failure error={error} /> };
  }
}

const Failure = ({ error }: { error: unknown }) => (
  <p role="alert" class="card alert">
    {`This panel could not start: ${error instanceof Error ? error.message : String(error)}. The others still work.`}
  </p>
);

function Boundary({ children }: { children: ComponentChildren }) {
  const [error] = useErrorBoundary(console.error);
  return error ? <Failure error={error} /> : <>{children}</>;
}

/** The view of a panel; none if that fails. */
function readView(opened: Opened) {
  try {
    return opened.view();
  } catch (error) {
    console.error(error);
    return {};
  }
}
