/** What surrounds every panel: the header with the names of the runs, the guide of a panel, and the footer. */
import { Fragment, type ComponentChildren } from "preact";
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

/** What the page is, and of which runs. */
export function Header({ manifest, lesson, children }: PageProps & { children: ComponentChildren }) {
  const runs = allRuns(manifest);
  const words = lesson ? "A lesson with " : `Trained networks of the run${runs.length > 1 ? "s" : ""} `;
  return (
    <header class="masthead">
      <div>
        <Logo />
        <div>
          <h1>{lesson ? lesson.title : "Reviver explorer"}</h1>
          <p class="runs note">
            {runs.length ? words : "Networks that learn in this page"}
            {runs.map(({ id, name }, index) => (
              <Fragment key={id}>
                {index ? ", " : ""}
                <strong>{name}</strong>
              </Fragment>
            ))}
          </p>
        </div>
      </div>
      {children}
    </header>
  );
}

export const LessonQuestion = ({ lesson }: { lesson: Lesson }) => (
  <section class="lesson-question" aria-labelledby="lesson-question">
    <h2 id="lesson-question">Your question</h2>
    <p>{lesson.question}</p>
  </section>
);

/** Address of a paragraph of a tutorial, where the tutorials stand beside the page. */
export function tutorialAddress(tutorial: "gan" | "lstm", anchor: string): string | null {
  const folder = document.querySelector('meta[name="tutorials"]')?.getAttribute("content");
  return folder ? `${folder}${tutorial}.html#${anchor}` : null;
}

/** Question, observation and limit of a panel, and where the tutorials stand beside the page, a link to its paragraph. */
export function Guide({ panel }: { panel: PanelInfo }) {
  const href = panel.tutorial && tutorialAddress(panel.tutorial, `panel-${panel.id}`);
  return (
    <dl class="columns guide">
      <div class="card series-0">
        <dt>Question</dt>
        <dd class="question">{panel.question}</dd>
        {href && (
          <dd class="note">
            <a href={href}>How it works: the tutorial</a>
          </dd>
        )}
      </div>
      <div class="card series-2">
        <dt>Observe</dt>
        <dd>{panel.observe}</dd>
      </div>
      <div class="card series-1">
        <dt>Limit</dt>
        <dd>{panel.limit}</dd>
      </div>
    </dl>
  );
}

/**
 * Version, licenses, and that nothing leaves the page. A lesson, whose navigation shows only its panels, links here to what
 * makes another.
 */
export function Footer({ manifest, lesson }: PageProps) {
  const items = allRuns(manifest).flatMap(({ facts }) => facts.licenses);
  if (manifest.trainingImages) items.push(manifest.trainingImages.license);
  const licenses = new Map(items.map(({ label, value }) => [label, value]));
  return (
    <footer class="row colophon note">
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
