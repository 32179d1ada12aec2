/** What the network does as it is now: its answer with maps of its gates and states, or the images of 25 latents. */
import { useSignal } from "@preact/signals";
import { ClassColumns } from "../../charts/bars";
import { Diagram, type DiagramPart } from "../../charts/diagram";
import { rowMeans } from "../../charts/colors";
import type { Cell } from "../../charts/heatmap";
import { StepMap } from "../../charts/steps";
import { argmax, formatExact, percent, topClass } from "../../kit/format";
import { Image, type ImageShape } from "../../kit/image";
import { Lit } from "../../kit/lit";
import { row } from "../../kit/tensors";
import { CellDiagram } from "../../lstm/cell_diagram";
import {
  gateOf,
  isGate,
  namesOf,
  roleOf,
  scaleOf,
  sortedLabels,
  sortUnits,
  stateOf,
  titleOf,
} from "../../lstm/quantities";
import { DIGIT_NAMES } from "../../train/palindromes";
import type { LstmSettings } from "../../train/protocol";
import type { Seen } from "./branch";
import { useSlow } from "./curves";
import type { Model } from "./model";

const FIRST = 2; // Maps in the first view; the others stand below
const COUNT = 25; // Latents of the GAN
const LEAST = { "--least": "12.5rem" }; // Width of a picture
/** Classes of noise are all the same: they say something once the most frequent one has at most this part. */
const [MIN_IMAGES, MAX_PART] = [20, 0.5];

/** What maps beside each other share: the cell at hand, and the selected one. */
export const useCells = () => ({ hover: useSignal<Cell | null>(null), selection: useSignal<Cell | null>(null) });
export type Cells = ReturnType<typeof useCells>;

export const Picture = ({ model, cells }: { model: Model; cells: Cells }) => (
  <section class="stack train-picture" aria-label="Picture">
    {model.state.kind.value === "gan" ? <Grids model={model} /> : <Reading {...{ model, cells }} />}
  </section>
);

function Reading({ model, cells }: { model: Model; cells: Cells }) {
  const lines = useSlow(model.session.lines, "lstm");
  const seen = lines.at(-1)?.seen;
  if (!seen?.trace) return null;
  if (lines.length > 1)
    return (
      <div class="columns train-compared" style={{ "--least": "11rem" }}>
        {lines.map(({ name, seen }) => (
          <div key={name}>
            <h3>{name}</h3>
            {seen.trace && <Answer {...{ model, seen }} />}
            {seen.trace && <Maps {...{ model, seen, cells }} part="compared" />}
          </div>
        ))}
      </div>
    );
  return (
    <>
      <Answer {...{ model, seen }} />
      <Maps {...{ model, seen, cells }} part="first" />
      <Keeps {...{ seen, cells }} />
      <CellDiagram cell={(seen.status.settings as LstmSettings).cell} />
    </>
  );
}

function Answer({ model: { session }, seen: { trace, status } }: { model: Model; seen: Seen }) {
  const { digits, probabilities } = trace!;
  const own = session.sequences.value;
  const names = own?.classes ?? DIGIT_NAMES;
  const last = Float32Array.from(probabilities.subarray((digits.length - 1) * names.length));
  const [name, part] = topClass(names, last);
  const verdict = argmax(last) === digits[0] ? "right" : "wrong";
  return (
    <div class="stack train-answer">
      <p>
        {status.step ? "The answer is " : "Before training it guesses "}
        <strong>{`${name} (${part})`}</strong>
        {!own && [`, the first digit is ${digits[0]}: `, <span class={verdict}>{verdict}</span>]}.
      </p>
      <ClassColumns names={names} probabilities={last} />
    </div>
  );
}

/** Gates first, that of forgetting before all, h last. */
function rankOf(cell: string, name: string) {
  if (name === "h") return 3;
  return name === gateOf(cell) ? 0 : isGate(cell, name) ? 1 : 2;
}

type MapsProps = { model: Model; seen: Seen; cells: Cells; part: "first" | "others" | "compared" };

/** Maps of gates and states, units sorted by the mean of the first of them. */
export function Maps({ model: { session }, seen, cells: { hover, selection }, part }: MapsProps) {
  const { digits, values } = seen.trace!;
  const { cell } = seen.status.settings as LstmSettings;
  const T = digits.length;
  const H = values.h.length / T;
  const names = namesOf(cell).sort((a, b) => rankOf(cell, a) - rankOf(cell, b));
  const [key] = names;
  const chosenOf = (part: MapsProps["part"]) =>
    part === "compared" ? [stateOf(cell)] : part === "first" ? names.slice(0, FIRST) : names.slice(FIRST);
  const order = sortUnits(rowMeans(values[key], T, H));
  const chosen = selection.value ?? { column: T - 1, row: order[0] };
  return (
    <div class={part === "first" ? "steps-grid" : "columns"} style={LEAST}>
      {chosenOf(part).map((name) => {
        const title = titleOf(cell, name);
        return (
          <Lit key={name} part={name}>
            <StepMap
              {...{ title, name: title, note: roleOf(cell, name), height: "11rem", hover }}
              content={{
                ...{ values: values[name], columns: T, rows: H, order },
                ...{ scale: scaleOf(cell, name, values[name]), label: `${title}: ${H} units over ${T} steps` },
              }}
              steps={{ count: T, names: session.sequences.value ? null : digits.map(String), others: null }}
              rows={sortedLabels(key)}
              selection={{ column: Math.min(chosen.column, T - 1), row: Math.min(chosen.row, H - 1) }}
              describe={({ column, row: unit }) =>
                `step ${column + 1}, unit ${unit + 1}: ${name} = ${formatExact(values[name][column * H + unit])}`
              }
              onSelect={(at) => (selection.value = at)}
            />
          </Lit>
        );
      })}
    </div>
  );
}

/** What the forget gates of the selected unit, the one that keeps most if none is selected, leave of its cell state. */
function Keeps({ seen, cells: { selection } }: { seen: Seen; cells: Cells }) {
  const { digits, values } = seen.trace!;
  const { cell } = seen.status.settings as LstmSettings;
  const T = digits.length;
  if (!("f" in values) || gateOf(cell) !== "f" || T < 2) return null;
  const H = values.f.length / T;
  const unit = Math.min(selection.value?.row ?? sortUnits(rowMeans(values.f, T, H))[0], H - 1);
  const gates = Array.from({ length: T - 1 }, (_, k) => values.f[(k + 1) * H + unit]);
  const product = gates.reduce((left, f) => left * f, 1);
  const factors =
    T > 6 ? `${gates[0].toFixed(2)} · … · ${gates.at(-1)!.toFixed(2)}` : gates.map((f) => f.toFixed(2)).join(" · ");
  return (
    <p class="note">
      {`A forget gate of 1 keeps all of c, one of 0 erases it. Of what unit ${unit + 1} stored at step 1 it keeps ${factors} = ${percent(product)} to the end.`}
    </p>
  );
}

/** What a GAN makes of 25 latents, always the same, and on which classes its images fall. */
function Grids({ model: { session, images } }: { model: Model }) {
  const lines = useSlow(session.lines, "gan");
  return (
    <>
      <div class="columns train-grids" style={LEAST}>
        {lines.map(({ name, seen: { grid, status, classes } }) => {
          if (!grid) return null;
          const pixels = grid.length / COUNT;
          const side = Math.sqrt(pixels);
          const shape: ImageShape = [1, side, side];
          const text = lines.length > 1 ? `${name}: ` : "";
          return (
            <div key={name}>
              <p>
                {status.step
                  ? `${text}What G makes of 25 random inputs, after update ${status.step}`
                  : `${text}Before training, G turns its 25 random inputs into noise.`}
              </p>
              <Lit part="G">
                <div class="pictures" role="img" aria-label={`Images of 25 latents at update ${status.step}`}>
                  {Array.from({ length: COUNT }, (_, n) => (
                    <Image key={n} pixels={row(grid, n, pixels)} shape={shape} />
                  ))}
                </div>
              </Lit>
              <Classes classes={classes} names={images.value?.classNames ?? []} />
            </div>
          );
        })}
      </div>
      {lines.length === 1 && <GanDiagram />}
    </>
  );
}

const GAN_PARTS: DiagramPart[] = [
  { name: "z", column: 0, about: "random numbers, the latent" },
  { name: "real", column: 0, about: "images that it learns from" },
  {
    name: "G",
    column: 1,
    about: "the generator turns z into an image – its loss −ln D(G(z)) is small if D takes that for real",
  },
  {
    ...{ name: "D", column: 2 },
    about: "the discriminator gives the probability that an image is real – its loss is −ln D(real) − ln(1 − D(G(z)))",
  },
  { name: "real?", column: 3, about: "a probability: near 1 for images that D takes for real" },
];

const GanDiagram = () => (
  <Diagram
    name="Diagram of the GAN"
    parts={GAN_PARTS}
    links={[
      ["z", "G"],
      ["G", "D"],
      ["real", "D"],
      ["D", "real?"],
    ]}
    note="D learns to tell both apart, G learns to mislead D. Touch a part to see what it does."
  />
);

/** How images fall on the classes, once they can be told apart. */
function Classes({ classes, names }: { classes: number[]; names: string[] }) {
  const fractions = names.map((_, k) => classes.filter((found) => found === k).length / classes.length);
  if (classes.length < MIN_IMAGES || Math.max(...fractions) > MAX_PART) return null;
  const what = `Classes of the latest ${classes.length} generated images`;
  return (
    <>
      <p class="note">{`${what}, by a classifier`}</p>
      <ClassColumns names={names} probabilities={fractions} what={what} />
    </>
  );
}
