/** Controls that choose a latent, each with its picture: its kind, and what this kind needs. */
import { Button, bound, NumberField, Select, type Cell, type Choices } from "../kit/controls";
import { Image } from "../kit/image";
import { Roving } from "../kit/roving";
import { row } from "../kit/tensors";
import { MAX_SEED, type Choice, type Latents } from "./latents";

interface ChooserProps {
  latents: Latents;
  of: Cell<Choice>;
  hasCode?: boolean; // Whether another panel has passed a latent on
}

/** The choice of a latent below a title, beside its image. */
export const EndCard = ({ title, pixels, ...chooser }: ChooserProps & { title: string; pixels: Float32Array }) => (
  <section class="end">
    <h3>{title}</h3>
    <Image pixels={pixels} shape={chooser.latents.gan.content.imageShape} />
    <Chooser {...chooser} />
  </section>
);

function Chooser({ latents, of, hasCode = false }: ChooserProps) {
  const chosen = of.value;
  const { kind } = chosen;
  const change = (values: Partial<Choice>) => (of.value = { ...of.value, ...values });
  const kinds = [
    latents.classes.length && ["class", "by class"],
    latents.examples.length && ["example", "example"],
    ["random", "at random"],
    ["grid", "sample grid"],
    (hasCode || kind === "code") && ["code", "from a link"],
  ].filter(Boolean) as unknown as Choices<Choice["kind"]>;
  const setKind = (next: Choice["kind"]) =>
    change({ kind: next, index: 0, classIndex: latents.classes[0] ?? 0, condition: null });
  const classes = latents.classes.map((index) => [String(index), latents.className(index)] as const);
  return (
    <div class="row chooser">
      <Select label="Choose" of={bound(kind, setKind)} choices={kinds} />
      <div class="row">
        {kind === "class" && (
          <Select
            label="Class"
            of={bound(String(chosen.classIndex), (value) => change({ classIndex: Number(value), index: 0 }))}
            choices={classes}
          />
        )}
        {(kind === "class" || kind === "example") && (
          <Examples {...chosen} count={latents.count(chosen)} onMove={(index) => change({ index })} />
        )}
        {kind === "random" && (
          <>
            <NumberField label="Seed" of={bound(chosen.seed, (seed) => change({ seed }))} min={0} max={MAX_SEED} />
            <Button onClick={() => change({ seed: Math.floor(Math.random() * 10_000) })}>New seed</Button>
          </>
        )}
        {kind === "grid" && (
          <GridPicker latents={latents} chosen={chosen.index} onPick={(index) => change({ index })} />
        )}
        {kind === "code" && <p class="note">The link that opened this panel gives this latent.</p>}
        <Condition latents={latents} chosen={chosen} onChange={(condition) => change({ condition })} />
      </div>
    </div>
  );
}

/** Buttons that go through examples, around the end. */
function Examples({ index, count, onMove }: { index: number; count: number; onMove: (index: number) => void }) {
  const step = (by: number, name: string, sign: string) => (
    <Button aria-label={name} title={name} onClick={() => onMove((index + by + count) % count)}>
      {sign}
    </Button>
  );
  return (
    <div class="examples" role="group" aria-label="Example">
      {step(-1, "Previous example", "‹")}
      <span>
        {index + 1} of {count}
      </span>
      {step(1, "Next example", "›")}
    </div>
  );
}

/** The images of the sample grid as radio buttons. */
function GridPicker({ latents, chosen, onPick }: { latents: Latents; chosen: number; onPick: (n: number) => void }) {
  const { pixels, content } = latents.gan;
  return (
    <Roving class="grid-picker" role="radiogroup" label="Sample of the grid" stop={chosen} onMove={onPick}>
      {Array.from({ length: latents.gridSize }, (_, n) => (
        <button
          key={n}
          type="button"
          role="radio"
          aria-label={`Sample ${n + 1}`}
          aria-checked={n === chosen}
          onClick={() => onPick(n)}
        >
          <Image pixels={row(latents.gridImages, n, pixels)} shape={content.imageShape} />
        </button>
      ))}
    </Roving>
  );
}

interface ConditionProps {
  latents: Latents;
  chosen: Choice;
  onChange: (condition: number | null) => void;
}

/** The class that a conditional generator is given; examples by class have theirs. */
function Condition({ latents, chosen, onChange }: ConditionProps) {
  const { numClasses, classNames } = latents.gan.content;
  if (!numClasses || chosen.kind === "class") return null;
  const choices = classNames.slice(0, numClasses).map((name, k) => [String(k), name] as const);
  return (
    <Select
      label="Class given to G"
      of={bound(chosen.condition === null ? "" : String(chosen.condition), (value) =>
        onChange(value === "" ? null : Number(value)),
      )}
      choices={[["", "its own"], ...choices]}
    />
  );
}
