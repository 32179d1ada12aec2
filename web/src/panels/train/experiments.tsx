/** The experiments: a reader guesses, both runs train beside each other, then Python's seeds answer and a sentence says why. */
import { useComputed } from "@preact/signals";
import { Button } from "../../kit/controls";
import { ScrollTable } from "../../kit/table";
import { tutorialAddress } from "../../page/masthead";
import { answerOf, MEASURED, SEEDS, UNDECIDED, type Experiment } from "./experiment";
import type { Model } from "./model";

const useProgress = ({ session }: Model) => {
  const hasBegun = useComputed(() => session.lines.value.length > 1);
  const isOver = useComputed(() => hasBegun.value && session.lines.value.every(({ seen }) => seen.status.isFinished));
  return { hasBegun: hasBegun.value, isOver: isOver.value };
};

type ChosenProps = { model: Model; one: Experiment };

/** The question, what to watch, and the reader's guess. */
export function Question({ model, one }: ChosenProps) {
  const { hasBegun } = useProgress(model);
  const href = tutorialAddress(model.state.kind.value, `experiment-${one.id}`);
  const guess = model.guess.value;
  return (
    <section class="train-task stack" aria-label="Experiment">
      <div class="row">
        <h3>{one.question}</h3>
        <Button onClick={model.end}>Back to my settings</Button>
        {href && <a href={href}>How it works: the tutorial</a>}
      </div>
      <p>
        {one.watch}
        {hasBegun && guess !== null && ` You guessed: ${one.names[guess] ?? UNDECIDED}.`}
      </p>
      {!hasBegun && (
        <fieldset class="field">
          <legend>{`Your guess first: ${one.guess.question}`}</legend>
          <div class="row">
            {[...one.names, UNDECIDED].map((name, k) => (
              <Button key={k} onClick={() => model.begin(one, k)}>
                {name}
              </Button>
            ))}
          </div>
        </fieldset>
      )}
    </section>
  );
}

/** What Python's runs with the same settings and numbers of updates gave, and why. */
export function Verdict({ model, one }: ChosenProps) {
  const { hasBegun, isOver } = useProgress(model);
  if (!hasBegun) return null;
  const answer = answerOf(one);
  const guess = model.guess.value;
  const isRight = guess === (answer ?? one.names.length);
  const rows = Object.entries(MEASURED[one.id].measures).map(([head, lines]) => ({
    head,
    cells: lines.map(medianAndRange),
  }));
  return (
    <section class="train-verdict" aria-label="Verdict">
      {!isOver && <p class="note">Python’s answer appears when both runs are at their end.</p>}
      {isOver && (
        <div class="columns halves">
          <div>
            <p>
              <strong>
                {answer === null
                  ? "Five seeds in Python show no clear difference."
                  : `All ${SEEDS} seeds in Python say: ${one.names[answer]}.`}
              </strong>
              {guess !== null && (isRight ? " You guessed right." : " You guessed otherwise.")}
            </p>
            <p>{one.why}</p>
          </div>
          <ScrollTable
            name={`Python, ${SEEDS} seeds, at the end: median and range`}
            columns={["Measure", ...one.names]}
            rows={rows}
          />
        </div>
      )}
    </section>
  );
}

/** Fractions as percentages: a mean ± its deviation may reach beyond 100 %. */
function medianAndRange(values: number[]) {
  const sorted = values.map((value) => Math.round(100 * value)).sort((a, b) => a - b);
  return `${sorted[sorted.length >> 1]}\u00a0% (${sorted[0]}\u2060–\u2060${sorted.at(-1)})`;
}
