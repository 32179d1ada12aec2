/** The experiments as cards: a question, and a guess that starts the run beside its control. */
import { openPanel } from "../../kit/codec";
import { Button } from "../../kit/controls";
import type { Kind } from "../../train/protocol";
import { EXPERIMENTS, UNDECIDED, type Experiment } from "../train/experiment";

export function Cards({ kinds }: { kinds: Kind[] }) {
  const all = kinds.flatMap((kind) => EXPERIMENTS[kind].map((one) => ({ kind, one })));
  return (
    <section aria-labelledby="experiments">
      <h3 id="experiments">{`${all.length} experiments: guess, then see both runs learn`}</h3>
      <div class="columns experiment-cards">
        {all.map(({ kind, one }) => (
          <Card key={one.id} {...{ kind, one }} />
        ))}
      </div>
    </section>
  );
}

function Card({ kind, one }: { kind: Kind; one: Experiment }) {
  const begin = (guess: number) => openPanel(`train?net=${kind}&experiment=${one.id}&guess=${guess}`);
  return (
    <section class="card" aria-label={one.question}>
      <h4>{one.question}</h4>
      <p class="note">{one.guess.question}</p>
      <div class="row">
        {[...one.names, UNDECIDED].map((name, k) => (
          <Button key={name} onClick={() => begin(k)}>
            {name}
          </Button>
        ))}
      </div>
    </section>
  );
}
