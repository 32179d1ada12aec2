/** What a step of a lesson shows of the run: one update in numbers, and the jump. */
import type { VNode } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { formatExact, percent } from "../../kit/format";
import type { LstmSaved } from "../../train/protocol";
import type { Model } from "./model";

const [ALPHA, BETA1] = [0.99, 0.9]; // Of RMSprop and of Adam, see train/weights.ts

interface OneWeight {
  step: number;
  unit: number;
  answer: number;
  gradient: number;
  before: number;
  after: number;
}

/** The weight from a unit to an answer whose gradient was largest, by what the optimizer keeps before and after an update. */
function weightOf(before: LstmSaved, after: LstmSaved): OneWeight {
  const isAdam = after.settings.optimizer === "adam";
  const [was, is] = [before, after].map(({ weights: { w, v, m } }) => ({ w: w.W_out, v: v.W_out, m: m.W_out }));
  const gradientOf = (k: number) => {
    if (isAdam) return (is.m[k] - BETA1 * was.m[k]) / (1 - BETA1);
    return Math.sign(was.w[k] - is.w[k]) * Math.sqrt(Math.max(0, is.v[k] - ALPHA * was.v[k]) / (1 - ALPHA));
  };
  const gradients = Array.from(is.w, (_, k) => gradientOf(k));
  const largest = gradients.reduce((best, value, k) => (Math.abs(value) > Math.abs(gradients[best]) ? k : best), 0);
  const H = after.settings.hiddenSize;
  return {
    ...{ step: after.step, unit: (largest % H) + 1, answer: Math.floor(largest / H), gradient: gradients[largest] },
    ...{ before: was.w[largest], after: is.w[largest] },
  };
}

function Update({ model: { session } }: { model: Model }) {
  const { step, kind } = session.lines.value.at(-1)?.seen.status ?? {};
  const last = useRef<LstmSaved | null>(null);
  const [found, setFound] = useState<OneWeight | null>(null);
  useEffect(() => {
    if (kind !== "lstm" || session.isRunning.value) return;
    void session
      .withLast((branch) => branch.save())
      .then((saved) => {
        if (saved?.kind !== "lstm") return;
        const before = last.current;
        last.current = saved;
        if (before && saved.step === before.step + 1) setFound(weightOf(before, saved));
      });
  }, [step, kind, session.isRunning.value]);
  const point = session.lines.value.at(-1)?.seen.points.at(-1);
  if (!found || found.step !== step || point?.count !== 1)
    return <p class="note">The numbers of one weight appear here.</p>;
  const { unit, answer, gradient, before, after } = found;
  const loss = point.values.trainLoss;
  const rows = [
    ["Forward", `the right answers get a probability of ${percent(Math.exp(-loss))} (geometric mean)`],
    ["Loss", `−ln ${Math.exp(-loss).toFixed(3)} = ${loss.toFixed(3)} nats`],
    ["Gradient", `∂loss/∂w = ${formatExact(gradient)} for the weight w from unit ${unit} to the answer ${answer}`],
    [
      "Change",
      `w = ${formatExact(before, 4)} → ${formatExact(after, 4)}, ${after > before ? "up" : "down"}, against the gradient`,
    ],
  ];
  return (
    <div class="note">
      {rows.map(([name, text]) => (
        <div key={name}>
          <strong>{name}</strong>: {text}
        </div>
      ))}
    </div>
  );
}

function Jump({ model: { session } }: { model: Model }) {
  const jump = session.lines.value.at(-1)?.seen.jump;
  return <p class="note">{jump ? jump.text : "The largest jump appears here, and with a mark at the curve."}</p>;
}

/** By the names in page/lessons.json. */
export const lessonParts = (model: Model): Record<string, VNode> => ({
  update: <Update model={model} />,
  jump: <Jump model={model} />,
});
