/** One sequence that a reader types, and what the LSTM makes of it. */
import { useSignal } from "@preact/signals";
import { bound, TextField } from "../../kit/controls";
import { parseNumbers } from "../../train/sequences";
import { Gates } from "./gates";
import type { Session } from "./session";
import { isDigits, type TrainState } from "./settings";

const DIGITS = Array.from({ length: 10 }, (_, k) => String(k));

export function Reading({ session, state }: { session: Session; state: TrainState }) {
  const typed = useSignal<string | null>(null);
  const own = session.sequences.value;
  const of = own ? state.numbers : state.digits;
  const problemOf = (text: string) => {
    if (own) return parseNumbers(text)[1];
    return isDigits(text) ? "" : "Type 1 to 60 digits, and nothing else.";
  };
  const type = (text: string) => {
    typed.value = problemOf(text) ? text : null;
    if (!problemOf(text)) of.value = text;
  };
  const trace = session.lines.value.at(-1)?.seen.trace;
  return (
    <section class="card stack">
      <h3>{own ? "One sequence" : "One palindrome"}, read by the network as it is now</h3>
      <TextField
        label={
          own ? "Numbers that the network reads" : "Digits that the network reads: all but the last of a palindrome"
        }
        of={bound(typed.value ?? of.value, type)}
        problem={typed.value === null ? "" : problemOf(typed.value)}
        aria-invalid={typed.value !== null}
        {...{ class: "command", inputMode: own ? "text" : "numeric", autocomplete: "off" }}
      />
      {trace ? (
        <Gates trace={trace} names={own?.classes ?? DIGITS} target={own ? null : trace.digits[0]} />
      ) : (
        <p class="muted">It reads them once the training has started.</p>
      )}
    </section>
  );
}
