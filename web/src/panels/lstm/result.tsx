/** What the network predicts, and what to keep in mind about it, in sentences. */
import type { ComponentChildren } from "preact";
import { rowMeans } from "../../charts/colors";
import { Button } from "../../kit/controls";
import { argmax, formatExact } from "../../kit/format";
import type { LstmContent } from "../../kit/manifest";
import { gateOf, stateOf, titleOf } from "../../lstm/quantities";
import type { Trace } from "../../lstm/trace";
import type { Model } from "./model";
import { classAfter, lastStep, outputText, type Reading, readingsOf } from "./scene";
import { beginsPalindrome } from "./sequence";

export const Result = ({ model: { content, traced } }: { model: Model }) => (
  <div class="lstm-result">
    {readingsOf(traced.value).map((reading) => {
      const { name, values, trace } = reading;
      const isUnusual = content.rule === "palindrome" && !beginsPalindrome(values);
      return (
        <p key={name}>
          {name && `${name === "first" ? "First" : "Second"} sequence: `}
          {...prediction(content, reading)}
          {trace.loss === null ? ". " : `, loss ${formatExact(trace.loss)}. `}
          <span class="note">
            {since(content, trace)}
            {isUnusual && " No palindrome begins with these digits: the network never saw such a sequence."}
          </span>
        </p>
      );
    })}
  </div>
);

function prediction(content: LstmContent, { trace, target }: Reading): ComponentChildren[] {
  const { output, outputs } = trace;
  if (Array.isArray(target)) {
    const right = outputs ? target.filter((k, t) => classAfter(content, outputs, t) === k).length : 0;
    return ["the most probable class is correct at ", <strong>{`${right} of ${target.length} steps`}</strong>];
  }
  const text = ["prediction ", <strong>{outputText(content, trace)}</strong>];
  if (target === null) return text;
  if (content.target === "number") return [...text, `, target ${formatExact(target)}`];
  const verdict = argmax(output) === target ? "right" : "wrong";
  const meaning = content.rule === "palindrome" ? ", the first digit" : "";
  return [...text, `, target ${content.classNames[target]}${meaning}: `, <span class={verdict}>{verdict}</span>];
}

/** Says from which step on the prediction stays. */
function since(content: LstmContent, { outputs, output, steps }: Trace) {
  if (content.target !== "class" || !outputs || steps < 2) return "";
  const last = argmax(output);
  if (last < 0) return ""; // all are not a number
  let step = steps - 1;
  while (step > 0 && classAfter(content, outputs, step - 1) === last) step--;
  const name = content.classNames[last];
  if (step === steps - 1) return `${name} is the most probable class only after the last step.`;
  return `${name} is the most probable class from step ${step + 1} on.`;
}

/** Says which unit tells the two sequences apart most at the end of the cell's reading. */
export function Carrier({ model: { content, scene, select } }: { model: Model }) {
  const { first, second, cell, steps } = scene.value;
  if (!second) return null;
  const H = content.hiddenSize;
  const [a, b] = [first, second].map(({ trace }) => trace.cells[cell]);
  const step = lastStep(a, steps);
  const [state, gate] = [stateOf(content.cell), gateOf(content.cell)];
  const changes = Float64Array.from(
    { length: H },
    (_, u) => b.values[state][step * H + u] - a.values[state][step * H + u],
  );
  const unit = argmax(changes.map(Math.abs));
  if (unit < 0) return null; // all are not a number
  if (changes[unit] === 0) return <p>After the last step that this cell reads, its states do not differ.</p>;
  const mean = gate && formatExact(rowMeans(a.values[gate], first.trace.steps, H)[unit], 2);
  return (
    <p>
      {`Unit ${unit + 1} differs most after the last step that its cell reads: `}
      {`${state} changes by ${formatExact(changes[unit], 2)}.`}
      {gate && ` Its ${titleOf(content.cell, gate)} is ${mean} on average in the first sequence.`}{" "}
      <Button onClick={() => select({ unit, step })}>Select this unit</Button>
    </p>
  );
}

export function Hints({ content }: { content: LstmContent }) {
  const { target, bidirectional, patchSize, hiddenDropout, hiddenDropoutKind } = content;
  const hints = [
    target === "class at every step" && "The network gives a class after each step, and each one counts in the loss.",
    bidirectional &&
      "The backward cells read from right to left: their memory starts at the last step, " +
        "and at step t they continue from the state of step t + 1.",
    patchSize > 1 && `One step of the LSTM reads a patch of ${patchSize} steps of the input.`,
    hiddenDropoutKind === "zoneout" &&
      hiddenDropout > 0 &&
      `Zoneout: in training a unit keeps its previous hidden state with probability ${hiddenDropout}. ` +
        "Without a random mask it keeps that fraction of it.",
  ];
  return (
    <>
      {hints.filter(Boolean).map((hint) => (
        <p key={hint} class="note">
          {hint}
        </p>
      ))}
    </>
  );
}
