/** The result of a round: the player's score beside D's and beside guessing, and every image with its answers. */
import { useLayoutEffect, useRef } from "preact/hooks";
import { Bar } from "../../charts/bars";
import { styleOf } from "../../charts/marks";
import { announce } from "../../kit/announce";
import { Button } from "../../kit/controls";
import { Image } from "../../kit/image";
import type { GanContent } from "../../kit/manifest";
import { sigmoid } from "../../kit/math";
import type { Card } from "./round";

const BAND = 0.95; // Part of the rounds in which guessing stays inside its band

/** Returns the smallest band around half of n that a guesser's score is in, in at least 95 % of the rounds. */
function guessingBand(n: number): [number, number] {
  const probabilities: number[] = [];
  for (let k = 0, p = 2 ** -n; k <= n; k++, p = (p * (n - k + 1)) / k) probabilities.push(p);
  let [low, high] = [Math.floor(n / 2), Math.ceil(n / 2)];
  const inside = () => probabilities.slice(low, high + 1).reduce((sum, p) => sum + p, 0);
  while (low > 0 && inside() < BAND) [low, high] = [low - 1, high + 1];
  return [low, high];
}

/** What it means whether the player and D are better than guessing. */
function meaning(player: boolean, D: boolean) {
  if (player && D) return "You and D both tell them apart. D's gradient still shows G what to improve.";
  if (player)
    return "You see errors that D does not see. G learns only from D, so nothing tells G to correct these errors.";
  if (D)
    return "D uses differences that you do not see. G's next updates follow D's gradient and make these differences smaller.";
  return "Neither you nor D is better than guessing. One by one, these images look real. Whether they are as varied as the real ones is another question.";
}

const kind = (real: boolean) => (real ? "real" : "generated");

function output(logit: number, isProbability: boolean) {
  if (!isProbability) return logit.toFixed(2);
  const probability = sigmoid(logit);
  const nearHalf = Math.abs(probability - 0.5) < 0.005; // so that a reader sees on which side it is
  return probability.toFixed(nearHalf ? 4 : 2);
}

const Answer = ({ right, children }: { right: boolean; children: string }) => (
  <span class={right ? "right" : "wrong"}>{`${right ? "✓" : "✗"} ${children}`}</span>
);

interface ResultsProps {
  round: Card[];
  answers: boolean[]; // True: real
  content: GanContent;
  playAgain: () => void;
}

export function Results({ round, answers, content, playAgain }: ResultsProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  const n = round.length;
  const player = round.filter(({ real }, index) => answers[index] === real).length;
  const D = round.filter(({ real, answer }) => answer === real).length;
  const [low, high] = guessingBand(n);
  useLayoutEffect(() => {
    heading.current!.focus();
    announce(`You: ${player} of ${n} right. D: ${D} of ${n}. Guessing: ${n / 2} on average.`);
  }, []);
  const bars = [["you", player] as const, ["D", D] as const];
  const part = (count: number) => `${(100 * count) / n}%`;
  return (
    <section class="game-results">
      <h3 ref={heading} tabIndex={-1}>{`You: ${player} of ${n}. D: ${D} of ${n}.`}</h3>
      <ul class="bars" role="list">
        {bars.map(([name, correct], index) => (
          <li key={name} class={styleOf(index)}>
            <strong>{name}</strong>
            <Bar part={correct / n}>
              <span class="score-chance" style={{ left: part(low), width: part(high - low) }} />
            </Bar>
            <strong>{`${correct} of ${n}`}</strong>
          </li>
        ))}
      </ul>
      <p class="note">
        {`Hatched: pure guessing gets ${low} to ${high} right in 19 of 20 rounds, ${n / 2} on average.`}
      </p>
      <p>{meaning(player > high, D > high)}</p>
      <p class="note">
        {content.isLogOdds
          ? "D's number is its probability that the image is real; above ½ it answers “real”."
          : "The loss of this run gives D a number without a unit. Above the middle of its means for real and generated images, it counts as “real”."}
        {" With so few images, a difference of two or three can be luck."}
      </p>
      <div class="row">
        <Button class="primary" onClick={playAgain}>
          Play another round
        </Button>
      </div>
      <ol class="gallery game-grid">
        {round.map(({ pixels, real, logit, answer }, index) => (
          <li key={index} class={`is-${kind(real)}`}>
            <Image pixels={pixels} shape={content.imageShape} label={`image ${index + 1}`} />
            <strong>{kind(real)}</strong>
            <Answer right={answers[index] === real}>{`you: ${kind(answers[index])}`}</Answer>
            <Answer right={answer === real}>{`D: ${output(logit, content.isLogOdds)}`}</Answer>
          </li>
        ))}
      </ol>
    </section>
  );
}
