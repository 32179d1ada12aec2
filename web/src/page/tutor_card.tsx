/** The step of a lesson on show: what to look at, its question with a field for the answer, and at the end what to hand in. */
import { useEffect, useRef } from "preact/hooks";
import { announce } from "../kit/announce";
import { bound, Button, TextField } from "../kit/controls";
import { CopyField } from "../kit/copy";
import { download, fileName } from "../kit/download";
import { explain } from "../kit/terms";
import type { Opened } from "./panel";
import type { Tutor } from "./tutor";

const MAX_ANSWER = 5000;
const DRAWN = 300; // Milliseconds after which a panel has drawn what it shows
const BAR = 90; // Pixels at the top that the bar of the panel Train may cover
const sheet = new CSSStyleSheet(); // marks the place of the step, whatever is rendered there
document.adoptedStyleSheets.push(sheet);

interface CardProps {
  tutor: Tutor;
  opened: Opened | null; // Of the panel on show
  go: (index: number) => void;
}

export function TutorCard({ tutor, opened, go }: CardProps) {
  const {
    plan: { value: plan },
    step: { value: step },
    index: { value: index },
    answers,
  } = tutor;
  const card = useRef<HTMLElement>(null);
  useEffect(() => {
    sheet.replaceSync(
      step?.at ? `${step.at} { outline: 3px solid var(--second); outline-offset: 0.3rem; border-radius: 2px }` : "",
    );
    const scroll = setInterval(() => {
      const place = step?.at && document.querySelector(step.at)?.getBoundingClientRect();
      if (!place || !place.height) return; // it comes later
      clearInterval(scroll);
      const free = card.current?.getBoundingClientRect().top ?? innerHeight;
      if (place.top < 0 || place.bottom > free) scrollBy({ top: place.top - BAR });
    }, DRAWN);
    return () => clearInterval(scroll);
  }, [step, opened !== null]);
  if (!plan || !step) return null;
  const isLast = index === plan.steps.length - 1;
  const answer = answers.value[index] ?? "";
  const move = (by: number) => {
    go(index + by);
    announce(`Step ${index + by + 1} of ${plan.steps.length}`);
  };
  return (
    <aside class="tutor card" aria-label="Lesson" ref={card}>
      <details open>
        <summary>
          <strong>{plan.title}</strong>
          <span class="muted">{` ${index + 1} of ${plan.steps.length}`}</span>
        </summary>
        <div class="columns" style={{ "--least": "15rem" }}>
          {step.text && <p>{explain(step.text)}</p>}
          {step.part && opened?.parts?.[step.part]}
          {step.question && (
            <div class="stack">
              <TextField
                label={step.question}
                of={bound(answer, (text) => tutor.answer(String(index), text))}
                {...{ rows: 2, maxLength: MAX_ANSWER, placeholder: "Your answer" }}
              />
              {step.answer && answer.trim() && (
                <details key={index}>
                  <summary>Compare</summary>
                  <p>{step.answer}</p>
                </details>
              )}
            </div>
          )}
          {isLast && <HandIn tutor={tutor} />}
        </div>
      </details>
      <div class="row">
        <Button disabled={index === 0} onClick={() => move(-1)}>
          Back
        </Button>
        {!isLast && (
          <Button class="primary" onClick={() => move(1)}>
            Next
          </Button>
        )}
        {plan.id !== "file" && (
          <Button onClick={() => tutor.end()}>{isLast ? "End the lesson" : "Skip the lesson"}</Button>
        )}
      </div>
    </aside>
  );
}

function HandIn({ tutor }: { tutor: Tutor }) {
  const text = tutor.handIn;
  if (text === null) return null;
  const name = bound(tutor.answers.value.name ?? "", (value) => tutor.answer("name", value));
  return (
    <div class="stack">
      <TextField label="Your name, if you hand this in" of={name} maxLength={100} autocomplete="off" />
      <Button onClick={() => download(fileName([tutor.plan.value!.title, "answers"], ".txt"), text, "text/plain")}>
        Save my answers
      </Button>
      <CopyField text={text} copy="Copy my answers" />
    </div>
  );
}
