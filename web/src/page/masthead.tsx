/** What surrounds every panel: the header with the names of the runs, the guide of a panel, and the footer. */
import type { ComponentChildren } from "preact";
import type { Manifest } from "../kit/manifest";
import { allRuns } from "../kit/runs";
import type { Lesson } from "./lesson";
import type { PanelInfo } from "./panel";

const LOGO = ["11110", "10001", "10001", "11110", "10100", "10010", "10001"];

const Logo = () => (
  <svg viewBox="-0.5 -0.5 6 8" class="logo" aria-hidden="true">
    {LOGO.flatMap((row, y) =>
      [...row].map((pixel, x) => <rect x={x} y={y} width={0.86} height={0.86} class={pixel === "1" ? "on" : ""} />),
    )}
  </svg>
);

type PageProps = { manifest: Manifest; lesson: Lesson | null };

export const Header = ({ lesson, children }: Pick<PageProps, "lesson"> & { children: ComponentChildren }) => (
  <header class={`row masthead ${lesson ? "lesson" : ""}`}>
    <Logo />
    <h1>{lesson ? lesson.title : "Reviver explorer"}</h1>
    {children}
  </header>
);

function Runs({ manifest, lesson }: PageProps) {
  const runs = allRuns(manifest);
  const words = lesson ? "A lesson with " : `Trained networks of the run${runs.length > 1 ? "s" : ""} `;
  return (
    <p class="runs">
      {runs.length ? words : "Networks that learn in this page"}
      {runs.map(({ name }, k) => [k > 0 && ", ", <strong>{name}</strong>])}
    </p>
  );
}

/** Address of a paragraph of a tutorial, where the tutorials stand beside the page. */
export function tutorialAddress(tutorial: "gan" | "lstm", anchor: string): string | null {
  const folder = document.querySelector('meta[name="tutorials"]')?.getAttribute("content");
  return folder ? `${folder}${tutorial}.html#${anchor}` : null;
}

/** Title of a panel with its question, which opens what to observe, a caveat, and where it stands the tutorial. */
export function PanelHead({ panel: { id, title, guide, tutorial } }: { panel: PanelInfo }) {
  const href = tutorial && tutorialAddress(tutorial, `panel-${id}`);
  return (
    <div class="row panel-head">
      <h2 class="panel-title" tabIndex={-1}>
        {title}
      </h2>
      {guide?.about && <p>{guide.about}</p>}
      {guide && (
        <details>
          <summary>{guide.question}</summary>
          <dl>
            <dt>Observe</dt>
            <dd>{guide.observe}</dd>
            <dt>Caveat</dt>
            <dd>{guide.caveat}</dd>
          </dl>
        </details>
      )}
      {href && (
        <a class="note" href={href}>
          How it works: the tutorial
        </a>
      )}
    </div>
  );
}

/**
 * Version, licenses, and that nothing leaves the page. A lesson, whose navigation shows only its panels, links here to what
 * makes another.
 */
export function Footer({ manifest, lesson }: PageProps) {
  const items = allRuns(manifest).flatMap(({ facts }) => facts.licenses);
  if (manifest.trainingImages) items.push(manifest.trainingImages.license);
  const licenses = new Map(items.map(({ label, value, note }) => [label, note ? `${value}: ${note}` : value]));
  return (
    <footer class="row colophon note">
      <Runs {...{ manifest, lesson }} />
      <p>Runs offline; nothing leaves this page.</p>
      <p>Made with Reviver {manifest.version}, MIT license.</p>
      {lesson && (
        <p>
          <a href="#lesson">Make a lesson from this one</a>
        </p>
      )}
      {licenses.size > 0 && (
        <details>
          <summary>Licenses</summary>
          <dl class="columns">{[...licenses].map(([label, value]) => [<dt>{label}</dt>, <dd>{value}</dd>])}</dl>
        </details>
      )}
    </footer>
  );
}
