/** What has just happened to the run: saved, shown elsewhere, or discarded, and what to do then. */
import { Button } from "../../kit/controls";
import { CopyField } from "../../kit/copy";
import { isGan, type Run } from "../../kit/runs";
import type { Kind } from "../../train/protocol";
import type { Model } from "./model";

export function News({ model }: { model: Model }) {
  const { discarded, ended, saved, shown } = model.session;
  return (
    <div class="stack train-news">
      {discarded.value && (
        <p class="row">
          {`${discarded} The previous run is kept.`}
          <Button onClick={model.undo}>Undo</Button>
        </p>
      )}
      {ended.value && <p>{ended}</p>}
      {saved.value && (
        <div class="row">
          <p>{`Saved ${saved}.zip. Extract it, then go on with Python:`}</p>
          <CopyField
            label="Command that resumes it"
            text={`reviver ${saved.value.startsWith("gan") ? "gan" : "lstm"} train --out ${saved} --resume`}
            copy="Copy"
          />
        </div>
      )}
      <Shown run={shown.value} />
    </div>
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
const Shown = ({ run }: { run: Run | null }) =>
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
