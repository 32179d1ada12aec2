/** What the network has to do, in a sentence, and for the LSTM the sequence that it reads. */
import { useSignal } from "@preact/signals";
import { bound, Select, TextField } from "../../kit/controls";
import { parseNumbers } from "../../train/sequences";
import type { Session } from "./session";
import { isDigits, NETWORKS, setPreset, settingsOf, type ImagesAbout, type TrainState } from "./settings";

interface TaskProps {
  session: Session;
  state: TrainState;
  images: ImagesAbout | null;
}

const MAX_TEXT = 2000; // Characters of a sequence

export function Task({ session, state, images }: TaskProps) {
  if (state.kind.value === "lstm")
    return (
      <div class="train-task">
        <Reading {...{ session, state }} />
      </div>
    );
  return (
    <p class="train-task">
      {images
        ? `Two networks compete: G draws images of random numbers, D tells them from ${images.count.toLocaleString("en")} ${images.name}. Both learn.`
        : "This file has no images to learn from. Open some with More."}
    </p>
  );
}

function Reading({ session, state }: Omit<TaskProps, "images">) {
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
  );
}

/** The settings to begin with, where there are several. */
export function Presets({ state, change }: { state: TrainState; change: () => void }) {
  const kind = state.kind.value;
  const { presets } = NETWORKS[kind];
  const names = Object.keys(presets) as (keyof typeof presets)[];
  if (names.length < 2) return null;
  const values = settingsOf(state);
  const isChanged = Object.entries(presets[state.preset.value]!).some(
    ([name, value]) => name !== "seed" && values[name as "seed"] !== value,
  );
  const choices: [string, string][] = names.map((name) => [name, PRESETS[name]]);
  return (
    <Select
      label="Begin with"
      of={bound<string>(isChanged ? "" : state.preset.value, (name) => {
        if (!name) return;
        setPreset(state, name as keyof typeof presets);
        change();
      })}
      choices={isChanged ? [["", "these settings"], ...choices] : choices}
    />
  );
}

const PRESETS = { quick: "quick", original: "original" };
