/** What the network makes of one sequence as it is now: its answer, and maps of its gates and states. */
import { useSignal } from "@preact/signals";
import { ClassColumns } from "../../charts/bars";
import { rowMeans } from "../../charts/colors";
import type { Cell, HeatmapContent } from "../../charts/heatmap";
import { StepMap } from "../../charts/steps";
import { argmax, formatExact, percent } from "../../kit/format";
import { ROLES, TITLES, type Quantity } from "../../lstm/words";
import type { LstmTrace } from "../../train/protocol";

/** Maps in the first view; the others stand below. */
const FIRST = 2;

/** The quantities of a cell: gates first, that of forgetting before all, h last. */
function namesOf({ about }: LstmTrace): string[] {
  const rank = (name: string) => {
    const { meaning, isGate } = about[name];
    return name === "h" ? 3 : meaning.includes("forget") ? 0 : isGate ? 1 : 2;
  };
  return Object.keys(about).sort((a, b) => rank(a) - rank(b));
}

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
  part: "first" | "others";
  cells: Cells;
  isPalindrome: boolean;
}

const largest = (values: Float64Array) => values.reduce((max, value) => Math.max(max, Math.abs(value)), 1);

/** Maps of gates and states, units sorted by the mean of the first of them. */
export function Maps({ trace, part, cells: { hover, selection }, isPalindrome }: MapsProps) {
  const { digits, values, about } = trace;
  const T = digits.length;
  const H = values.h.length / T;
  const names = namesOf(trace);
  const [key] = names;
  const means = rowMeans(values[key], T, H);
  const order = Int32Array.from({ length: H }, (_, unit) => unit).sort((a, b) => means[b] - means[a] || a - b);
  const chosen = selection.value ?? { column: T - 1, row: order[0] };
  return (
    <div class={part === "first" ? "steps-grid" : "columns train-others"}>
      {(part === "first" ? names.slice(0, FIRST) : names.slice(FIRST)).map((name) => {
        const { meaning, isGate } = about[name];
        const title = `${meaning} ${name}`.trim();
        const content: HeatmapContent = {
          ...{ values: values[name], columns: T, rows: H, order, binning: "extreme" },
          scale: isGate ? { name: "sequential", limit: 1 } : { name: "diverging", limit: largest(values[name]) },
          label: `${title}: ${H} units over ${T} steps`,
        };
        return (
          <StepMap
            key={name}
            title={title}
            note={meaning === TITLES[name as Quantity] ? ROLES[name as Quantity] : undefined}
            name={title}
            height="11rem"
            content={content}
            steps={{ count: T, names: isPalindrome ? digits.map(String) : null, others: null }}
            rows={[`high ${key}`, `low ${key}`].map((text, k) => ({ place: k ? 0.97 : 0.03, name: text }))}
            selection={{ column: Math.min(chosen.column, T - 1), row: Math.min(chosen.row, H - 1) }}
            hover={hover}
            describe={({ column, row: unit }) =>
              `step ${column + 1}, unit ${unit + 1}: ${name} = ${formatExact(values[name][column * H + unit])}`
            }
            onSelect={(cell) => (selection.value = cell)}
          />
        );
      })}
    </div>
  );
}
