/** Experiments: a question, two runs of one seed that differ in one setting, and what to watch. */
import { Button } from "../../kit/controls";
import type { LstmSettings } from "../../train/settings";

export interface Experiment {
  question: string;
  watch: string;
  /** Of both runs. */
  base: Partial<LstmSettings>;
  /** Of the second one. */
  change: Partial<LstmSettings>;
  names: [string, string];
}

/** Each ends by itself within a minute. */
const EXPERIMENTS: Experiment[] = [
  {
    question: "Does it matter that the forget gates begin open?",
    watch: "Forget gates that begin at bias 0 keep half of the cell state in each step. Which run learns first?",
    base: { length: 12, dataSize: 10_000, epochs: 15, hiddenDropout: 0 },
    change: { forgetBias: 0 },
    names: ["bias 1", "bias 0"],
  },
  {
    question: "What does dropout of the hidden state cost?",
    watch:
      "Compare training with validation in each run: which gap is larger, and which run answers better in the end?",
    base: { epochs: 60 },
    change: { hiddenDropout: 0 },
    names: ["p = 0.5", "no dropout"],
  },
  {
    question: "Is clipping needed when sequences are long?",
    watch: "Look for jumps of the training loss in the run without clipping. A large gradient can undo many updates.",
    base: { length: 20, dataSize: 10_000, epochs: 8, learningRate: 0.003 },
    change: { maxNorm: 1e9 },
    names: ["clipped", "not clipped"],
  },
  {
    question: "What if the learning rate is ten times as large?",
    watch: "It learns faster at first. Does it stay as good?",
    base: { epochs: 60 },
    change: { learningRate: 0.01 },
    names: ["rate 0.001", "rate 0.01"],
  },
];

export const Experiments = ({ chosen, onBegin }: { chosen: Experiment | null; onBegin: (one: Experiment) => void }) => (
  <section class="card stack" aria-label="Experiments">
    <h3>Experiments</h3>
    <div class="stack train-experiments">
      {EXPERIMENTS.map((one) => (
        <Button key={one.question} aria-pressed={one === chosen} onClick={() => onBegin(one)}>
          {one.question}
        </Button>
      ))}
    </div>
    <p class="note">
      {chosen?.watch ?? "Each trains two runs of one seed that differ in one setting, for less than a minute."}
    </p>
  </section>
);
