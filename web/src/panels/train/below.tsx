/** What stands below the first view: the other maps, a run of Python to compare with, own data, and the command. */
import { useComputed } from "@preact/signals";
import { Select } from "../../kit/controls";
import { CopyField, quote } from "../../kit/copy";
import type { LstmSettings } from "../../train/protocol";
import { CellCard } from "./cell_card";
import { useSlow } from "./curves";
import { OwnData } from "./files";
import { Maps, type Cells } from "./gates";
import { withoutPalindromes } from "./own";
import type { Session } from "./session";
import { commandOf, settingsOf, type ImagesAbout, type TrainState } from "./settings";
import type { Run } from "../../kit/runs";

interface BelowProps {
  session: Session;
  state: TrainState;
  images: ImagesAbout | null;
  cells: Cells;
  change: () => void;
  /** Of Python, which have curves of this network. */
  runs: Run[];
}

export function Below({ session, state, images, cells, runs, change }: BelowProps) {
  const kind = state.kind.value;
  return (
    <>
      {kind === "lstm" && <Others {...{ session, cells }} />}
      {kind === "lstm" && <CellCard {...{ session, state, change }} />}
      {runs.length > 0 && (
        <Select
          label="Compare with a run of Python"
          of={state.python}
          choices={[["", "none"], ...runs.map(({ id, name }) => [id, name] as const)]}
        />
      )}
      <Command {...{ session, state, images }} />
      <OwnData {...{ session, state }} />
    </>
  );
}

/** A component of its own, so that only the maps follow the training. */
function Others({ session, cells }: Pick<BelowProps, "session" | "cells">) {
  const trace = useSlow(session.lines, "lstm").at(-1)?.seen.trace;
  if (!trace) return null;
  return (
    <section>
      <h3>Other gates and states</h3>
      <Maps {...{ trace, cells, part: "others", isPalindrome: !session.sequences.value }} />
    </section>
  );
}

/** The line that trains the same with Python. */
function Command({ session, state, images }: Pick<BelowProps, "session" | "state" | "images">) {
  const kind = state.kind.value;
  const data = kind === "gan" && images ? images.data : null;
  const own = kind === "lstm" ? session.sequences.value : null;
  const settings = own ? withoutPalindromes(settingsOf(state) as LstmSettings) : settingsOf(state);
  const command = commandOf(kind, settings, own ? quote(own.name) : data && quote(data));
  const isChanged = useComputed(() => session.lines.value.length > 1).value;
  return (
    <section class="stack">
      <h3>The same run with Python</h3>
      {command ? (
        <CopyField text={command} copy="Copy command" />
      ) : (
        <p>{`Python has no option for ${kind === "lstm" ? "this forget bias" : "swapped labels"}, so no command trains the same.`}</p>
      )}
      {command?.includes("--cell mine.cell") && <p>Save the text of the cell as mine.cell.</p>}
      {kind === "gan" && session.ownImages.value && <p>The run that you save has the file images.npy.</p>}
      <p class="note">
        {isChanged && "It trains with the last settings from the start. "}
        {kind === "lstm"
          ? "The page uses torch’s random numbers of this seed for the weights, the data, their order and the dropout. So the losses are equal up to rounding."
          : `The page uses torch’s random numbers of this seed for the weights and the latents${data ? "" : ", but learns from fewer images"}. Rounding alone makes two runs diverge after some updates.`}
      </p>
    </section>
  );
}
