/** Controls that choose a latent, each with its picture: its kind, and what this kind needs. */
import { useRef } from "preact/hooks";
import { Button, bound, indexed, KeyButton, NumberField, Select, type Cell, type Choices } from "../kit/controls";
import { Image, PictureButton } from "../kit/image";
import { Roving } from "../kit/roving";
import { row } from "../kit/tensors";
import { choice, MAX_SEED, type Choice, type Latents } from "./latents";

interface ChooserProps {
  latents: Latents;
  of: Cell<Choice>;
  hasCode?: boolean; // Whether another panel has passed a latent on
}

export const EndCard = ({ title, pixels, ...chooser }: ChooserProps & { title: string; pixels: Float32Array }) => (
  <section class="end">
    <h3>{title}</h3>
    <Image pixels={pixels} shape={chooser.latents.gan.content.imageShape} />
    <Chooser {...chooser} />
  </section>
);

type PartProps = { latents: Latents; chosen: Choice; change: (values: Partial<Choice>) => void };

function Chooser({ latents, of, hasCode = false }: ChooserProps) {
  const chosen = of.value;
  const { kind } = chosen;
  const change = (values: Partial<Choice>) => (of.value = { ...of.value, ...values });
  const part = { latents, chosen, change };
  const kinds = [
    latents.classes.length && ["class", "by class"],
    latents.count(choice({ kind: "example" })) && ["example", "example"],
    ["random", "at random"],
    ["grid", "sample grid"],
    (hasCode || kind === "code") && ["code", "from a link"],
  ].filter(Boolean) as unknown as Choices<Choice["kind"]>;
  /** The latest choice of each kind, so that a seed stays. */
  const known = useRef<Partial<Record<Choice["kind"], Choice>>>({});
  const setKind = (next: Choice["kind"]) => {
    known.current[kind] = chosen;
    of.value = known.current[next] ?? choice({ kind: next, classIndex: latents.classes[0] ?? 0 });
  };
  const setClass = (value: string) => change({ classIndex: Number(value), index: 0 });
  const classes = latents.classes.map((index) => [String(index), latents.className(index)] as const);
  return (
    <div class="stack">
      <Select label="Choose" of={bound(kind, setKind)} choices={kinds} />
      <div class="row controls">
        {kind === "class" && <Select label="Class" of={bound(String(chosen.classIndex), setClass)} choices={classes} />}
        {(kind === "class" || kind === "example") && <Examples {...part} />}
        {kind === "random" && (
          <>
            <NumberField label="Seed" of={bound(chosen.index, (index) => change({ index }))} min={0} max={MAX_SEED} />
            <Button onClick={() => change({ index: Math.floor(Math.random() * 10_000) })}>New seed</Button>
          </>
        )}
        {kind === "grid" && <GridPicker {...part} />}
        {kind === "code" && <p class="note">The link that opened this panel gives this latent.</p>}
        {kind !== "class" && <Condition {...part} />}
      </div>
    </div>
  );
}

function Examples({ latents, chosen, change }: PartProps) {
  const count = latents.count(chosen);
  const step = (by: number, label: string, sign: string) => (
    <KeyButton label={label} onClick={() => change({ index: (chosen.index + by + count) % count })}>
      {sign}
    </KeyButton>
  );
  return (
    <div class="row" role="group" aria-label="Example">
      {step(-1, "Previous example", "‹")}
      <span>
        {chosen.index + 1} of {count}
      </span>
      {step(1, "Next example", "›")}
    </div>
  );
}

function GridPicker({ latents, chosen, change }: PartProps) {
  const { pixels, content } = latents.gan;
  const pick = (index: number) => change({ index });
  return (
    <Roving class="pictures" role="radiogroup" label="Sample of the grid" stop={chosen.index} onMove={pick}>
      {Array.from({ length: latents.gridSize }, (_, n) => (
        <PictureButton
          key={n}
          pixels={row(latents.gridImages, n, pixels)}
          shape={content.imageShape}
          role="radio"
          aria-label={`Sample ${n + 1}`}
          aria-checked={n === chosen.index}
          onClick={() => pick(n)}
        />
      ))}
    </Roving>
  );
}

/** The class that a conditional generator is given; examples by class have theirs. */
function Condition({ latents, chosen, change }: PartProps) {
  const { numClasses, classNames } = latents.gan.content;
  if (!numClasses) return null;
  const given = bound(chosen.condition === null ? "" : String(chosen.condition), (value) =>
    change({ condition: value === "" ? null : Number(value) }),
  );
  const choices = indexed(classNames.slice(0, numClasses));
  return <Select label="Class given to G" of={given} choices={[["", "its own"], ...choices]} />;
}
