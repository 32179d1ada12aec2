/** Experiments: a question, two runs of one seed that differ in one setting, and what to watch. */
import { Button } from "../../kit/controls";
import type { Kind } from "../../train/protocol";
import type { Values } from "./networks";

export interface Experiment {
  question: string;
  watch: string;
  /** Of both runs. */
  base: Values;
  /** Of the GAN, about, in place of epochs. */
  updates?: number;
  /** Of the second one. */
  change: Values;
  names: [string, string];
}

/** Each ends by itself within a minute. */
const EXPERIMENTS: Record<Kind, Experiment[]> = {
  lstm: [
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
  ],
  gan: [
    {
      question: "What if D trains three times for each update of G?",
      watch: "Follow the two curves of D's outputs. The farther they part, the less G learns from D.",
      base: {},
      updates: 400,
      change: { discriminatorSteps: 3 },
      names: ["k = 1", "k = 3"],
    },
    {
      question: "What does a large ε of BatchNorm do?",
      watch: "Compare how soon strokes appear in the two grids.",
      base: {},
      updates: 400,
      change: { batchNormEps: 0.8 },
      names: ["ε = 0.00001", "ε = 0.8"],
    },
    {
      question: "Does a penalty on D's gradient keep both networks in balance?",
      watch: "With R1, D becomes less sure: its two curves stay nearer to each other.",
      base: {},
      updates: 400,
      change: { r1: 1, penaltyInterval: 1 },
      names: ["no penalty", "R1 with γ = 1"],
    },
  ],
};

interface ExperimentsProps {
  kind: Kind;
  /** Counted from 1. */
  chosen: number | null;
  onBegin: (one: Experiment, number: number) => void;
}

export const Experiments = ({ kind, chosen, onBegin }: ExperimentsProps) => (
  <section class="card stack" aria-label="Experiments">
    <h3>Experiments</h3>
    <div class="stack train-experiments">
      {EXPERIMENTS[kind].map((one, k) => (
        <Button key={one.question} aria-pressed={chosen === k + 1} onClick={() => onBegin(one, k + 1)}>
          {one.question}
        </Button>
      ))}
    </div>
    <p class="note">
      {EXPERIMENTS[kind][(chosen ?? 0) - 1]?.watch ??
        "Each trains two runs of one seed that differ in one setting, beside each other."}
    </p>
  </section>
);
