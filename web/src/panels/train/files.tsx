/** What a reader brings along: a run that was saved, or sequences or images to learn from. */
import { useSignal } from "@preact/signals";
import type { Ref } from "preact";
import { Button, TextField } from "../../kit/controls";
import { readTyped } from "../../train/sequences";
import { learn, learnFrom } from "./own";
import type { Session } from "./session";
import type { TrainState } from "./settings";

const MAX_TEXT = 100_000; // Characters of typed sequences

interface FilesProps {
  session: Session;
  state: TrainState;
}

/** The field for files, which the menu of the bar opens. */
export const Chooser = ({ element, onFiles }: { element: Ref<HTMLInputElement>; onFiles: (files: File[]) => void }) => (
  <input
    ref={element}
    type="file"
    hidden
    aria-label="A saved run (.zip), sequences (.csv), or images (.png, .jpg)"
    accept=".zip,.csv,.txt,image/*"
    multiple
    onChange={({ currentTarget }) => {
      onFiles([...(currentTarget.files ?? [])]);
      currentTarget.value = ""; // so that the same file can be chosen again
    }}
  />
);

export function OwnData({ session, state }: FilesProps) {
  const text = useSignal("");
  const kind = state.kind.value;
  const own = kind === "lstm" ? session.sequences.value : session.ownImages.value;
  return (
    <section class="stack" aria-label="Your own data">
      <h3>Your own data</h3>
      <p class="note">
        Drop a saved run (.zip), sequences (.csv) or images (.png, .jpg) anywhere on this panel, or choose them with
        More. They stay on this computer.
      </p>
      <details>
        <summary>Type sequences</summary>
        <div class="stack">
          <TextField
            label="Numbers, a comma and a label on each line"
            of={text}
            rows={6}
            maxLength={MAX_TEXT}
            placeholder={"0.1 0.4 0.9, up\n0.8 0.5 0.2, down"}
          />
          <div class="row">
            <Button onClick={() => void learnFrom(session, state, async () => readTyped(text.value))}>
              Learn from these
            </Button>
          </div>
        </div>
      </details>
      {own && (
        <div class="row">
          <p>
            {"rows" in own
              ? `It learns from ${own.rows.length} sequences of up to ${own.steps} numbers, in ${own.classes.length} classes.`
              : `It learns from ${own.bytes.length / own.size ** 2} own images, a multiple of 8, made gray and ${own.size} × ${own.size}.`}
          </p>
          <Button onClick={() => learn(session, state, null, kind)}>
            {kind === "lstm" ? "Learn palindromes again" : "Learn from the page's images again"}
          </Button>
        </div>
      )}
    </section>
  );
}

/** Makes an element take files that are dropped on it. */
export const dropTarget = (onFiles: (files: File[]) => void) => ({
  onDragOver: (event: DragEvent) => event.preventDefault(),
  onDrop: (event: DragEvent) => {
    const files = [...(event.dataTransfer?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    onFiles(files);
  },
});
