/** What stands below the first view: the other maps, a run of Python to compare with, own data, and the command. */
import { useComputed, useSignal } from "@preact/signals";
import { Button, Select, TextField } from "../../kit/controls";
import { CopyField, quote } from "../../kit/copy";
import { readTyped } from "../../train/sequences";
import { CellCard } from "./cell_card";
import { useSlow } from "./curves";
import type { Model } from "./model";
import { Maps, type Cells } from "./picture";

const MAX_TEXT = 100_000; // Characters of typed sequences

export function Below({ model, cells }: { model: Model; cells: Cells }) {
  const { state, runs } = model;
  const isLstm = state.kind.value === "lstm";
  return (
    <>
      {isLstm && <Others {...{ model, cells }} />}
      {isLstm && <CellCard model={model} />}
      {runs.value.length > 0 && (
        <Select
          label="Compare with a run of Python"
          of={state.python}
          choices={[["", "none"], ...runs.value.map(({ id, name }) => [id, name] as const)]}
        />
      )}
      <Command model={model} />
      <OwnData model={model} />
    </>
  );
}

/** A component of its own, so that only the maps follow the training. */
function Others({ model, cells }: { model: Model; cells: Cells }) {
  const seen = useSlow(model.session.lines, "lstm", 330).at(-1)?.seen;
  if (!seen?.trace) return null;
  return (
    <section>
      <h3>Other gates and states</h3>
      <Maps {...{ model, seen, cells }} part="others" />
    </section>
  );
}

function Command({ model: { session, state, own, images, commandOn } }: { model: Model }) {
  const isGan = state.kind.value === "gan";
  const data = isGan ? images.value?.data : own.value?.name;
  const command = commandOn(data ? quote(data) : null);
  const isChanged = useComputed(() => session.lines.value.length > 1).value;
  return (
    <section class="stack">
      <h3>The same run with Python</h3>
      {command ? (
        <CopyField text={command} copy="Copy command" />
      ) : (
        <p>{`Python has no option for ${isGan ? "swapped labels" : "this forget bias"}, so no command trains the same.`}</p>
      )}
      {command?.includes("--cell mine.cell") && <p>Save the text of the cell as mine.cell.</p>}
      {isGan && session.ownImages.value && <p>The run that you save has the file images.npy.</p>}
      <p class="note">
        {isChanged && "It trains with the last settings from the start. "}
        {isGan
          ? `The page uses torch’s random numbers of this seed for the weights and the latents${data ? "" : ", but learns from fewer images"}. Rounding alone makes two runs diverge after some updates.`
          : "The page uses torch’s random numbers of this seed for the weights, the data, their order and the dropout. So the losses are equal up to rounding."}
      </p>
    </section>
  );
}

function OwnData({ model: { session, state, learn, learnFrom } }: { model: Model }) {
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
            <Button onClick={() => void learnFrom(async () => readTyped(text.value))}>Learn from these</Button>
          </div>
        </div>
      </details>
      {own && (
        <div class="row">
          <p>
            {"rows" in own
              ? `It learns from ${own.rows.length} sequences of up to ${own.steps} numbers, in ${own.classes.length} classes.`
              : `It learns from ${own.bytes.length / own.size ** 2} of your images (a multiple of 8), converted to gray and resized to ${own.size} × ${own.size}.`}
          </p>
          <Button onClick={() => learn(null, kind)}>
            {kind === "lstm" ? "Learn palindromes again" : "Learn from the page's images again"}
          </Button>
        </div>
      )}
    </section>
  );
}
