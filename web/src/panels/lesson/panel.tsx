/** Panel "Lessons": the lessons of the page, and a new file with chosen panels, a start view and a teacher's questions. */
import { useSignal } from "@preact/signals";
import { announce } from "../../kit/announce";
import { Button, bound, Select, TextField, Toggle } from "../../kit/controls";
import { download, fileName } from "../../kit/download";
import type { Manifest } from "../../kit/manifest";
import { MAX_QUESTION, MAX_TITLE, renderLesson } from "../../page/lesson";
import type { Panel } from "../../page/panel";
import type { Shell } from "../../page/shell";
import { PLANS } from "../../page/tutor";

/** `source` is a copy of the page as it was read. */
type FormProps = { manifest: Manifest; source: HTMLElement; shell: Shell };

const linkOf = (fragment: string, lesson: string) => `${fragment}${fragment.includes("?") ? "&" : "?"}lesson=${lesson}`;

const Plans = () => (
  <section class="stack" aria-label="Lessons">
    <p>Each leads through the page step by step. At the end there is a text with your answers, to hand in.</p>
    <ul class="gallery" role="list" style={{ "--size": "14rem" }}>
      {PLANS.map(({ id, title, about, steps }) => (
        <li key={id} class="card">
          <a href={`#${linkOf(steps[0].open ?? "train", id)}`}>{title}</a>
          <p class="note">{about}</p>
        </li>
      ))}
    </ul>
  </section>
);

function LessonForm({ manifest, source, shell }: FormProps) {
  const panels = shell.available.filter((panel) => panel.guide && panel.id !== "lesson" && shell.offers(panel));
  const title = useSignal(shell.lesson?.title ?? "");
  const question = useSignal(shell.lesson?.question ?? "");
  const left = useSignal<string[]>([]);
  const wanted = useSignal(panels[0]?.id);
  const steps = useSignal("");
  const result = useSignal("");
  const chosen = panels.filter(({ id }) => !left.value.includes(id));
  const start = (chosen.find(({ id }) => id === wanted.value) ?? chosen[0])?.id ?? "";
  const nameOfView = ({ id, title }: Panel) => (shell.fragmentOf(id) === id ? title : `${title}, as you left it`);
  const toggle = (id: string) =>
    (left.value = left.value.includes(id) ? left.value.filter((one) => one !== id) : [...left.value, id]);
  const save = async () => {
    const texts = { title: title.value.trim() || "Lesson", question: question.value.trim() };
    const view = shell.fragmentOf(start);
    const startView = steps.value ? linkOf(view, steps.value) : view;
    const lesson = { schema: 1 as const, ...texts, panels: chosen.map(({ id }) => id), start: startView };
    const html = await renderLesson(source, manifest, lesson, chosen);
    const name = fileName([lesson.title], ".html");
    download(name, html, "text/html");
    const megabytes = (html.length / 1e6).toFixed(1);
    result.value = `Saved ${name}, ${megabytes} MB. It opens in any browser, without a network connection.`;
    announce(result.value);
  };
  return (
    <form class="card stack lesson-form" onSubmit={(event) => event.preventDefault()}>
      <TextField label="Title" of={title} maxLength={MAX_TITLE} />
      <TextField
        label="Your questions to the students"
        of={question}
        rows={3}
        maxLength={MAX_QUESTION}
        hint="With a field for the answer below the panels. A blank line begins another question."
      />
      <fieldset class="field">
        <legend>Panels</legend>
        <div class="columns">
          {panels.map(({ id, title: name }) => (
            <Toggle key={id} label={name} of={bound(!left.value.includes(id), () => toggle(id))} />
          ))}
        </div>
      </fieldset>
      <Select
        label="Start view"
        of={bound(start, (id) => (wanted.value = id))}
        choices={chosen.map((panel) => [panel.id, nameOfView(panel)])}
      />
      <Select
        label="Lesson of the page that leads through it"
        of={steps}
        choices={[["", "none"], ...PLANS.map(({ id, title }) => [id, title] as const)]}
      />
      <div class="row controls">
        <Button class="primary" disabled={!chosen.length} onClick={() => void save()}>
          Save as lesson
        </Button>
      </div>
      <p class="result">{result}</p>
    </form>
  );
}

export const lessonPanel = (source: HTMLElement, shell: () => Shell): Panel => ({
  id: "lesson",
  needs: [],
  title: "Lessons",
  guide: {
    question: "What should your students look at first?",
    observe: "A lesson opens at your start view, with your question on top, and shows only the panels that you chose.",
    caveat: "A lesson is a file of its own. Later changes to this page do not affect it.",
  },
  unavailable: () => null,
  open: async (manifest) => ({
    view: () => ({}),
    body: (
      <>
        {!shell().lesson && <Plans />}
        <h3>Make a lesson of your own</h3>
        <LessonForm {...{ manifest, source }} shell={shell()} />
      </>
    ),
  }),
});
