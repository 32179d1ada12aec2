/** Panel "Be the discriminator": a game against D. One image after the other, as D judges them. */
import { batch, signal, useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { announce } from "../../kit/announce";
import { codec, integer, type State } from "../../kit/codec";
import { Button, NumberField, Toggle } from "../../kit/controls";
import { Image } from "../../kit/image";
import type { GanContent } from "../../kit/manifest";
import { allRuns } from "../../kit/runs";
import { runPanel } from "../../page/panel";
import { Results } from "./results";
import { canJudge, type Card, deal } from "./round";

export const MAX_SEED = 2 ** 31 - 1;

const FIELDS = { seed: integer(0, MAX_SEED) };

export type GameState = State<typeof FIELDS>;

const hasKeys = signal(true); // What a player prefers, also for the next run

type GameProps = { content: GanContent; state: GameState; first: Card[] };

export function Game({ content, state, first }: GameProps) {
  const { seed } = state;
  const key = seed.value;
  /** The round on the table, until the next one is dealt. */
  const table = useSignal({ key, round: first });
  const answers = useSignal<boolean[]>([]);
  const real = useRef<HTMLButtonElement>(null);
  const deals = useRef({ count: 0, focus: false });
  const { round } = table.value;
  const number = answers.value.length + 1;
  const isOver = number > round.length;

  useEffect(() => {
    const turn = ++deals.current.count;
    if (key === table.value.key) return;
    void deal(content, seed.value).then((dealt) => {
      if (turn !== deals.current.count) return; // another round was chosen meanwhile
      batch(() => {
        table.value = { key, round: dealt };
        answers.value = [];
      });
    });
  }, [key]);
  const playAgain = () => {
    seed.value = (seed.value + 1) % (MAX_SEED + 1);
    deals.current.focus = true;
  };
  const answer = (guess: boolean) => {
    const { length } = answers.value; // a key may come before the page shows the next image
    if (length === round.length) return;
    answers.value = [...answers.value, guess];
    if (length + 1 < round.length) announce(`Image ${length + 2} of ${round.length}.`);
  };
  const takeBack = () => {
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
              <Button onClick={takeBack} disabled={number === 1}>
                Undo
              </Button>
            </div>
          </div>
        </div>
      )}
      <div class="row controls">
        <NumberField label="Seed of the round" of={seed} min={0} max={MAX_SEED} />
        <Button onClick={playAgain}>New round</Button>
        <Toggle label="Answer with the keys R and G" of={hasKeys} />
      </div>
    </>
  );
}

export const discriminatorPanel = runPanel({
  id: "discriminator",
  tutorial: "gan",
  needs: ["generator", "discriminator", "test", "training"],
  title: "Be the discriminator",
  group: "gan",
  guide: {
    about: "The discriminator learned to tell real images from generated ones. Do the same, and compare.",
    question: "Can you tell real images from generated ones better than D can?",
    observe: "What gives a generated image away? Compare D's number with your own doubt.",
    caveat: "There are only 20 real images: after some rounds you know them.",
  },
  none: "No GAN run in this file has real images that D has judged.",
  runs: (manifest) => allRuns(manifest) && manifest.gans.filter(canJudge),
  load: async () => codec(FIELDS),
  kept: ["seed"],
  async open(fields, content, view) {
    const state = fields.read(view);
    const first = await deal(content, state.seed.value);
    return {
      view: () => fields.write(state),
      body: <Game {...{ content, state, first }} />,
    };
  },
});
