/** The cell: built-in texts, an editor, what it learns, and how to train it, also beside the cell in use. */
import { useSignal } from "@preact/signals";
import { useId } from "preact/hooks";
import type { Cell } from "../../compute/cell_text";
import type { CellError } from "../../compute/cell_tokens";
import { bound, Button, Select } from "../../kit/controls";
import { formatNumber } from "../../kit/format";
import { lit } from "../../kit/lit";
import { ScrollTable } from "../../kit/table";
import { BUILT_IN, cellOf, problemOf, shapesOf, textOf } from "../../train/cells";
import { DIGITS } from "../../train/palindromes";
import type { Settings } from "../../train/protocol";
import { MAX_LINES } from "./lines";
import type { Model } from "./model";
import { formatSetting, NETWORKS, settingsOf, type TrainState } from "./settings";

const MAX_TEXT = 10_000;

export function CellCard({ model: { session, state, change } }: { model: Model }) {
  const used = state.settings.lstm.cell;
  const draft = useSignal<string | null>(null); // of the reader; null as long as it is that of the cell in use
  const text = draft.value ?? textOf(String(used.value));
  const named = Object.keys(BUILT_IN).find((name) => BUILT_IN[name].trim() === text.trim());
  const value = named ?? text;
  const problem = problemOf(value);
  const isUsed = value === used.value;
  const nameOf = (cell: string | number) => formatSetting(NETWORKS.lstm.specs.cell, cell);
  const train = () => {
    [used.value, draft.value] = [value, null];
    change();
  };
  const added = useSignal<string[]>([]); // Cells to train beside that in use
  const all = [String(used.value), ...added.value];
  const isNew = !problem && !all.includes(value);
  const compare = () => {
    const own = all.filter((cell) => nameOf(cell) === "own");
    const names = all.map((cell) =>
      own.length > 1 && own.includes(cell) ? `own ${own.indexOf(cell) + 1}` : nameOf(cell),
    );
    void session.compare(all.map((cell, k) => [names[k], { ...settingsOf(state), cell } as Settings]));
    [used.value, added.value, draft.value] = [all.at(-1)!, [], null];
  };
  const choices = Object.keys(BUILT_IN).map((name) => [name, name] as const);
  return (
    <section class="stack" aria-label="Cell">
      <h3>The cell</h3>
      <div class="columns halves">
        <div>
          <Select
            label="Text of a known cell"
            of={bound<string>(named ?? "", (name) => name && (draft.value = BUILT_IN[name]))}
            choices={named ? choices : [["", "your own"], ...choices]}
          />
          <Editor text={text} problem={problem} change={(next) => (draft.value = next)} />
          <div class="row">
            <Button disabled={Boolean(problem) || isUsed} onClick={train}>
              Train this cell
            </Button>
            <Button
              disabled={!isNew || all.length >= MAX_LINES}
              onClick={() => (added.value = [...added.value, value])}
            >
              Add to compare
            </Button>
          </div>
          {added.value.length > 0 && (
            <div class="row" role="group" aria-label="Cells to compare">
              <span>{`Compare ${nameOf(used.value)} with`}</span>
              {added.value.map((cell) => (
                <Button
                  key={cell}
                  aria-label={`Remove ${nameOf(cell)}`}
                  onClick={() => (added.value = added.value.filter((one) => one !== cell))}
                >{`${nameOf(cell)} ×`}</Button>
              ))}
              <Button class="primary" onClick={compare}>
                Train side by side
              </Button>
            </div>
          )}
          <p class="note">
            {isUsed
              ? "This cell is in use. Change its text, or choose another one."
              : `The cell in use is ${nameOf(used.value)}. Both train with the same seed, data and dropout masks.`}
          </p>
        </div>
        {!problem && <Learned cell={cellOf(value)} state={state} />}
      </div>
    </section>
  );
}

const PARTS = /(#.*)|([A-Za-z_]\w*)|([^A-Za-z_#]+)/g;

interface EditorProps {
  text: string;
  problem: CellError | null;
  change: (text: string) => void;
}

/** A field whose names are colored by what they are, and whose wrong word is underlined. */
function Editor({ text, problem, change }: EditorProps) {
  const id = useId();
  const names = text.split("\n").map((line) => /^\s*(\w+)\s*=/.exec(line)?.[1]);
  const assigned = new Set(names);
  const classOf = (name: string, rest: string) =>
    assigned.has(name) ? "cell-quantity" : /^\s*@/.test(rest) || name.includes("_") ? "cell-weight" : undefined;
  return (
    <div class="field">
      <label for={id}>Text: one line for each quantity, its meaning after #</label>
      <div class="cell-editor">
        <textarea
          id={id}
          value={text}
          rows={text.split("\n").length + 1}
          {...{ spellcheck: false, autocomplete: "off", autocapitalize: "off", maxLength: MAX_TEXT }}
          aria-invalid={problem !== null}
          aria-describedby={`${id}-problem`}
          onInput={({ currentTarget }) => change(currentTarget.value)}
          onSelect={({ currentTarget: { value, selectionStart } }) =>
            (lit.value = names[value.slice(0, selectionStart).split("\n").length - 1] ?? null)
          }
          onBlur={() => (lit.value = null)}
        />
        <pre aria-hidden="true">
          {text.split("\n").map((line, k) => (
            <div key={k} class={lit.value !== null && names[k] === lit.value ? "lit" : undefined}>
              {[...line.matchAll(PARTS)].map(({ 0: part, 1: comment, 2: name, index }) => {
                const at = (problem?.column ?? 0) - 1;
                const isWrong = problem?.line === k + 1 && at >= index && at < index + part.length;
                const kind = comment ? "muted" : name ? classOf(name, line.slice(index + part.length)) : undefined;
                return <span class={`${kind ?? ""}${isWrong ? " cell-wrong" : ""}`}>{part}</span>;
              })}{" "}
            </div>
          ))}
        </pre>
      </div>
      <p id={`${id}-problem`} class="wrong" role="alert">
        {problem && `Line ${problem.line}, column ${problem.column}: ${problem.message}`}
      </p>
    </div>
  );
}

function Learned({ cell, state: { settings } }: { cell: Cell; state: TrainState }) {
  const { hiddenSize, encoding } = settings.lstm;
  const I = encoding.value === "scalar" ? 1 : DIGITS;
  const shapes = Object.entries(shapesOf(cell, I, Number(hiddenSize.value)));
  const count = shapes.reduce((sum, [, shape]) => sum + shape.reduce((a, b) => a * b), 0);
  const rows = shapes.map(([name, shape]) => ({
    head: name,
    cells: [
      cell.matrices.has(name) ? (cell.matrices.get(name) ? "matrix on x" : "matrix") : "vector",
      shape.join(" × "),
      cell.vectors.get(name) ?? "at random",
    ],
  }));
  return (
    <div>
      {cell.title && <p class="note">{cell.title}</p>}
      <p>{`It learns ${formatNumber(count)} numbers, and remembers ${cell.states.join(", ")}.`}</p>
      <ScrollTable name="What the cell learns" columns={["Name", "Kind", "Size", "Starts at"]} rows={rows} />
    </div>
  );
}
