/** The game: one image after the other, then the results. */
import { batch, useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { announce } from "../../kit/announce";
import { Button, cell, NumberField, Select, Toggle } from "../../kit/controls";
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
  /** The run of the round stays until the next round is dealt. */
  const table = useSignal({ round: first, content: state.run.value });
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

  const start = async (focus = false) => {
    const turn = ++deals.current.count;
    const { run, at, seed } = state;
    const next = { content: run.value, round: await deal(run.value, at.value, seed.value) };
    if (turn !== deals.current.count) return; // another round was chosen meanwhile
    deals.current.focus = focus;
    batch(() => {
      [table.value, answers.value, feedback.value] = [next, [], ""];
    });
  };
  const playAgain = () => {
    state.seed.value = (state.seed.value + 1) % (MAX_SEED + 1);
    void start(true);
  };
  const answer = (guess: boolean) => {
    if (isOver) return;
    const card = round[number - 1];
    const mark = (right: boolean) => (right ? "right" : "wrong");
    const byD = `${output(card.logit, content.isLogOdds)}, ${mark(card.answer === card.real)}`;
    const words = `Image ${number} was ${kind(card.real)}. You: ${mark(guess === card.real)}. D: ${byD}.`;
    feedback.value = tells.value ? words : "";
    answers.value = [...answers.value, guess];
    if (number < round.length) announce(`${feedback.value} Image ${number + 1} of ${round.length}.`);
  };
  const takeBack = () => {
    feedback.value = "";
    answers.value = answers.value.slice(0, -1);
    announce(`Image ${number - 1} of ${round.length} again.`);
  };
  useLayoutEffect(() => {
    if (deals.current.focus) real.current?.focus();
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

  const follow = <T,>(get: () => T, set: (value: T) => void) =>
    cell(get, (value) => {
      set(value);
      void start();
    });
  const chosenRun = follow(
    () => state.run.value.id,
    (id) => {
      state.run.value = runs.find((run) => run.id === id)!;
      state.at.value = sourceOf(state.run.value, state.at.value).id;
    },
  );
  const sources = sourcesOf(state.run.value).map(({ id, name }) => [id, name] as const);
  return (
    <>
      <div class="game-controls">
        {runs.length > 1 && <Select label="Run" of={chosenRun} choices={runs.map(({ id, name }) => [id, name])} />}
        <Select
          label="Images from"
          of={follow(
            () => state.at.value,
            (at) => (state.at.value = at),
          )}
          choices={sources}
        />
      </div>
      {isOver ? (
        <Results {...{ round, content, playAgain }} answers={answers.value} />
      ) : (
        <div class="game-table">
          <Image pixels={round[number - 1].pixels} shape={content.imageShape} label="the image to judge" />
          <div class="stack">
            <p class="muted game-progress">{`Image ${number} of ${round.length}`}</p>
            <p>Is this image real or generated? Each one is real with probability ½.</p>
            <div class="buttons">
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
      <div class="game-controls">
        <NumberField
          label="Seed of the round"
          of={follow(
            () => state.seed.value,
            (seed) => (state.seed.value = seed),
          )}
          min={0}
          max={MAX_SEED}
          late
        />
        <Button onClick={playAgain}>New round</Button>
        <Toggle label="Tell me after each image" of={tells} />
        <Toggle label="Answer with the keys R and G" of={hasKeys} />
      </div>
    </>
  );
}
