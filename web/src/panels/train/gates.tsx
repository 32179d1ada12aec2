/** What the network makes of one sequence as it is now: its answer, and maps of its gates and states. */
import { useSignal } from "@preact/signals";
import { ClassColumns } from "../../charts/bars";
import { rowMeans } from "../../charts/colors";
import type { Cell, HeatmapContent } from "../../charts/heatmap";
import { StepMap } from "../../charts/steps";
import { argmax, formatExact, percent } from "../../kit/format";
import { ROLES, TITLES, type Quantity } from "../../lstm/words";
import type { LstmTrace } from "../../train/protocol";

/** In the first view, and below. */
const PARTS = { first: ["f", "i"], others: ["g", "c", "o", "h"] } satisfies Record<string, Quantity[]>;

interface AnswerProps {
  trace: LstmTrace;
  /** Of the classes. */
  names: string[];
  /** The right class, of a palindrome; null if nobody knows. */
  target: number | null;
  /** Whether it has not yet learned anything. */
  isGuess: boolean;
}

export function Answer({ trace: { digits, probabilities }, names, target, isGuess }: AnswerProps) {
  const last = Float32Array.from(probabilities.subarray((digits.length - 1) * names.length));
  const answer = argmax(last);
  const verdict = answer === target ? "right" : "wrong";
  return (
    <div class="stack train-answer">
      <p>
        {isGuess ? "Before training it guesses " : "The answer is "}
        <strong>{`${names[answer]} (${percent(last[answer])})`}</strong>
        {target !== null && [`, the first digit is ${target}: `, <span class={verdict}>{verdict}</span>]}.
      </p>
      <ClassColumns names={names} probabilities={last} />
    </div>
  );
}

/** What maps beside each other share: the cell at hand, and the selected one. */
export const useCells = () => ({ hover: useSignal<Cell | null>(null), selection: useSignal<Cell | null>(null) });
export type Cells = ReturnType<typeof useCells>;

interface MapsProps {
  trace: LstmTrace;
  part: keyof typeof PARTS;
  cells: Cells;
  isPalindrome: boolean;
}

/** Maps of gates and states, units sorted by their mean forget gate. */
export function Maps({ trace: { digits, values }, part, cells: { hover, selection }, isPalindrome }: MapsProps) {
  const T = digits.length;
  const H = values.h.length / T;
  const keeps = rowMeans(values.f, T, H);
  const order = Int32Array.from({ length: H }, (_, unit) => unit).sort((a, b) => keeps[b] - keeps[a] || a - b);
  const limit = values.c.reduce((max, value) => Math.max(max, Math.abs(value)), 1);
  const contentOf = (name: Quantity): HeatmapContent => ({
    ...{ values: values[name], columns: T, rows: H, order, binning: "extreme" },
    scale: "ifo".includes(name)
      ? { name: "sequential", limit: 1 }
      : { name: "diverging", limit: name === "c" ? limit : 1 },
    label: `${TITLES[name]} ${name}: ${H} units over ${T} steps`,
  });
  const chosen = selection.value ?? { column: T - 1, row: order[0] };
  return (
    <div class={part === "first" ? "steps-grid" : "columns train-others"}>
      {PARTS[part].map((name) => (
        <StepMap
          key={name}
          title={`${TITLES[name]} ${name}`}
          note={ROLES[name]}
          name={`${TITLES[name]} ${name}`}
          height="11rem"
          content={contentOf(name)}
          steps={{ count: T, names: isPalindrome ? digits.map(String) : null, others: null }}
          rows={["high f", "low f"].map((text, k) => ({ place: k ? 0.97 : 0.03, name: text }))}
          selection={{ column: Math.min(chosen.column, T - 1), row: Math.min(chosen.row, H - 1) }}
          hover={hover}
          describe={({ column, row: unit }) =>
            `step ${column + 1}, unit ${unit + 1}: ${name} = ${formatExact(values[name][column * H + unit])}`
          }
          onSelect={(cell) => (selection.value = cell)}
        />
      ))}
    </div>
  );
}
