/** What a reader brings along: a run that was saved, or sequences or images to learn from. */
import { useSignal } from "@preact/signals";
import { Button, Field, TextField } from "../../kit/controls";
import { isGan, type Run } from "../../kit/runs";
import type { Kind } from "../../train/protocol";
import { readTyped } from "../../train/sequences";
import { learn, learnFrom } from "./own";
import type { Session } from "./session";
import type { TrainState } from "./settings";

interface FilesProps {
  session: Session;
  state: TrainState;
  onFiles: (files: File[]) => void;
}

export function Files({ session, state, onFiles }: FilesProps) {
  const text = useSignal("");
  const kind = state.kind.value;
  const own = kind === "lstm" ? session.sequences.value : session.ownImages.value;
  return (
    <section class="card stack" aria-label="Files">
      <h3>Open</h3>
      <Field label="A saved run (.zip), sequences (.csv), or images (.png, .jpg)">
        {(id) => (
          <input
            id={id}
            type="file"
            accept=".zip,.csv,image/*"
            multiple
            onChange={({ currentTarget }) => {
              onFiles([...(currentTarget.files ?? [])]);
              currentTarget.value = ""; // so that the same file can be chosen again
            }}
          />
        )}
      </Field>
      <details>
        <summary>Type sequences</summary>
        <div class="stack">
          <TextField
            label="Numbers, a comma and a label on each line"
            of={text}
            rows={6}
            placeholder={"0.1 0.4 0.9, up\n0.8 0.5 0.2, down"}
          />
          <div class="row">
            <Button onClick={() => void learnFrom(session, state, async () => readTyped(text.value))}>
              Learn from these
            </Button>
          </div>
        </div>
      </details>
      <p class="wrong" role="alert">
        {session.fileProblem}
      </p>
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
      <p class="note">Or drop files anywhere on this panel. They stay on this computer.</p>
    </section>
  );
}

const PANELS: Record<Kind, [id: string, title: string][]> = {
  lstm: [["lstm", "The LSTM at work"]],
  gan: [
    ["latent", "Latent interpolation"],
    ["map", "Map"],
    ["draw", "Draw a digit"],
    ["discriminator", "Be the discriminator"],
  ],
};

/** Links to the panels that show a run of the page. */
export const Shown = ({ run }: { run: Run | null }) =>
  run && (
    <p>
      Update {run.facts.run[0].value} is in{" "}
      {PANELS[isGan(run) ? "gan" : "lstm"].map(([id, title], k) => [
        k > 0 && ", ",
        <a href={`#${id}?run=${run.id}`}>{title}</a>,
      ])}
      .
    </p>
  );

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
