/** Where the run stands: epoch, update, accuracy, speed and the time left. */
import { formatNumber, percent } from "../../kit/format";
import { explain } from "../../kit/terms";
import type { Session } from "./session";

export function Place({ session: { lines, speed, isRunning } }: { session: Session }) {
  const seen = lines.value.at(-1)?.seen;
  const { epoch = 0, step = 0, updatesPerEpoch = 1, isFinished = false } = seen?.status ?? {};
  const epochs = seen?.status.settings.epochs;
  const left = epochs ? (epochs * updatesPerEpoch - step) / speed.value : Infinity;
  const facts = [
    ["Epoch", epochs ? `${epoch} of ${epochs}` : "–"],
    ["Update", formatNumber(step)],
    ...(seen?.status.kind === "gan"
      ? []
      : [["Accuracy", seen?.epochs.length ? percent(seen.epochs.at(-1)!.validationAccuracy) : "–"]]),
    ["Updates/s", speed.value ? formatNumber(speed.value) : "–"],
    ["Time left", isFinished || !isRunning.value || !Number.isFinite(left) ? "–" : duration(left)],
  ];
  return (
    <dl class="train-facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt class="note">{explain(name)}</dt>
          <dd class="number">{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** In steps that grow, so that it does not jump. */
function duration(seconds: number) {
  if (seconds < 60) return `${Math.max(5, 5 * Math.round(seconds / 5))} s`;
  const minutes = seconds / 60;
  return `${minutes < 10 ? Math.ceil(minutes) : 5 * Math.round(minutes / 5)} min`;
}
