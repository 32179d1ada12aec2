/** What the network does as it is now: its answer with the maps of two gates, or the images of 25 latents. */
import { DIGITS } from "../../train/palindromes";
import { useSlow } from "./curves";
import { Answer, Maps, type Cells } from "./gates";
import { Pictures } from "./pictures";
import type { Session } from "./session";
import type { TrainState } from "./settings";

const NAMES = Array.from({ length: DIGITS }, (_, k) => String(k));

interface PictureProps {
  session: Session;
  state: TrainState;
  /** Of what the GAN learns from. */
  classNames: string[];
  cells: Cells;
}

/** A little late, as the curves: 25 pictures take time. */
const Grids = ({ session, classNames }: Pick<PictureProps, "session" | "classNames">) => (
  <Pictures lines={useSlow(session.lines, "gan")} classNames={classNames} />
);

export function Picture({ session, state, classNames, cells }: PictureProps) {
  const lines = state.kind.value === "lstm" ? session.lines.value : [];
  const own = session.sequences.value;
  const { trace, status } = lines.at(-1)?.seen ?? {};
  return (
    <section class="stack train-picture" aria-label="Picture">
      {state.kind.value === "gan" && <Grids {...{ session, classNames }} />}
      {trace && (
        <>
          <Answer
            {...{ trace, names: own?.classes ?? NAMES, target: own ? null : trace.digits[0] }}
            isGuess={!status!.step}
          />
          <Maps {...{ trace, cells, part: "first", isPalindrome: !own }} />
        </>
      )}
    </section>
  );
}
