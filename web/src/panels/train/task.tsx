/** What the network has to do, in a sentence, and for the LSTM the sequence that it reads. */
import { useSignal } from "@preact/signals";
import { bound, TextField } from "../../kit/controls";
import { parseNumbers } from "../../train/sequences";
import type { Model } from "./model";
import { isDigits, smallerOn } from "./settings";

const MAX_TEXT = 2000; // Characters of a sequence

export function Task({ model }: { model: Model }) {
  const images = model.images.value;
  if (model.state.kind.value === "lstm") return <Reading model={model} />;
  return (
    <p class="train-task">
      {images
        ? `Two networks compete: G draws images from random numbers, and D tells them from ${images.count.toLocaleString("en")} ${images.name}. Both learn.`
        : "This file has no images to learn from. Open some with More."}{" "}
      {smallerOn(model.state)}
    </p>
  );
}

function Reading({ model: { session, state } }: { model: Model }) {
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
  return (
    <div class="train-task">
      <TextField
        label={
          own
            ? "The network reads these numbers. Which class are they?"
            : "Read these digits. Which one completes the palindrome?"
        }
        of={bound(typed.value ?? of.value, type)}
        hint={own ? undefined : "Read backwards, a palindrome is the same: it ends with its first digit."}
        problem={typed.value === null ? "" : problemOf(typed.value)}
        aria-invalid={typed.value !== null}
        {...{ class: "command", inputMode: own ? "text" : "numeric", autocomplete: "off", maxLength: MAX_TEXT }}
      />
      {smallerOn(state) && <p class="note">{smallerOn(state)}</p>}
    </div>
  );
}
