/** The game: one image after the other, then the results. */
import { batch, useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { announce } from "../../kit/announce";
import { Button, NumberField, Select, Toggle } from "../../kit/controls";
import { Image } from "../../kit/image";
import type { GanContent } from "../../kit/manifest";
import { MAX_SEED, type GameState } from "./panel";
import { kind, output, Results } from "./results";
import { deal, sourceOf, sourcesOf, type Card } from "./round";

interface GameProps {
  runs: GanContent[];
  state: GameState;
  first: Card[];
}

export function Game({ runs, state, first }: GameProps) {
  const { run, at, seed } = state;
  const chosen = runs.find(({ id }) => id === run.value)!;
  const key = `${run.value} ${at.value} ${seed.value}`;
  /** The round on the table, until the next one is dealt. */
  const table = useSignal({ key, round: first, content: chosen });
  /** Of the player; true: real. */
  const answers = useSignal<boolean[]>([]);
  const feedback = useSignal("");
  const tells = useSignal(false);
  const hasKeys = useSignal(true);
  const real = useRef<HTMLButtonElement>(null);
  const deals = useRef({ count: 0, focus: false });
  const { round, content } = table.value;
  const number = answers.value.length + 1;
  const isOver = number > round.length;

  useEffect(() => {
    const turn = ++deals.current.count;
    if (key === table.value.key) return;
    at.value = sourceOf(chosen, at.value).id;
    void deal(chosen, at.value, seed.value).then((dealt) => {
      if (turn !== deals.current.count) return; // another round was chosen meanwhile
      batch(() => {
        table.value = { key, round: dealt, content: chosen };
        [answers.value, feedback.value] = [[], ""];
      });
    });
  }, [key]);
  const playAgain = () => {
    seed.value = (seed.value + 1) % (MAX_SEED + 1);
    deals.current.focus = true;
  };
  const answer = (guess: boolean) => {
    const { length } = answers.value; // a key may come before the page shows the next image
    const card = round[length];
    if (!card) return;
    const mark = (right: boolean) => (right ? "right" : "wrong");
    const byD = `${output(card.logit, content.isLogOdds)}, ${mark(card.answer === card.real)}`;
    const words = `Image ${length + 1} was ${kind(card.real)}. You: ${mark(guess === card.real)}. D: ${byD}.`;
    feedback.value = tells.value ? words : "";
    answers.value = [...answers.value, guess];
    if (length + 1 < round.length) announce(`${feedback.value} Image ${length + 2} of ${round.length}.`);
  };
  const takeBack = () => {
    feedback.value = "";
    answers.value = answers.value.slice(0, -1);
    announce(`Image ${number - 1} of ${round.length} again.`);
  };
  useLayoutEffect(() => {
    if (deals.current.focus) real.current?.focus();
    deals.current.focus = false;
  }, [round]);
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      const typing = (event.target as Element).closest?.("input:not([type=checkbox]), select, textarea");
      if (!hasKeys.value || typing || event.altKey || event.ctrlKey || event.metaKey || event.repeat) return;
      const key = event.key.toLowerCase();
      if (key === "r" || key === "g") answer(key === "r");
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  });

  return (
    <>
      <div class="row game-controls">
        {runs.length > 1 && <Select label="Run" of={run} choices={runs.map(({ id, name }) => [id, name])} />}
        <Select label="Images from" of={at} choices={sourcesOf(chosen).map(({ id, name }) => [id, name])} />
      </div>
      {isOver ? (
        <Results {...{ round, content, playAgain }} answers={answers.value} />
      ) : (
        <div class="row game-table">
          <Image pixels={round[number - 1].pixels} shape={content.imageShape} label="the image to judge" />
          <div class="stack">
            <p class="muted game-progress">{`Image ${number} of ${round.length}`}</p>
            <p>Is this image real or generated? Each one is real with probability ½.</p>
            <div class="row">
              <Button ref={real} onClick={() => answer(true)}>
                Real (R)
              </Button>
              <Button onClick={() => answer(false)}>Generated (G)</Button>
              <Button onClick={takeBack} disabled={number === 1 || tells.value}>
                Take back
              </Button>
            </div>
            <p class="game-feedback" style={{ minHeight: "3em" }}>
              {feedback}
            </p>
          </div>
        </div>
      )}
      <div class="row game-controls">
        <NumberField label="Seed of the round" of={seed} min={0} max={MAX_SEED} late />
        <Button onClick={playAgain}>New round</Button>
        <Toggle label="Tell me after each image" of={tells} />
        <Toggle label="Answer with the keys R and G" of={hasKeys} />
      </div>
    </>
  );
}
