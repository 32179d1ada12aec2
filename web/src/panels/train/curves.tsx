/** Loss and accuracy while the network learns; of two lines of training, both. */
import { Chart } from "../../charts/chart";
import type { Series } from "../../charts/marks";
import { percent } from "../../kit/format";
import type { Seen } from "./branch";

interface Line {
  name: string;
  seen: Seen;
}

export function Curves({ lines }: { lines: Line[] }) {
  if (!lines.some(({ seen }) => seen.points.length)) return null;
  const series = (of: "loss" | "accuracy"): Series[] =>
    [...lines].reverse().flatMap(({ name, seen: { points, epochs } }) => {
      const prefix = lines.length > 1 ? `${name}: ` : "";
      const validation = epochs.map((epoch) => (of === "loss" ? epoch.validationLoss : epoch.validationAccuracy));
      return [
        { name: `${prefix}training`, x: points.map(({ x }) => x), y: points.map((point) => point[of]) },
        { name: `${prefix}validation`, x: epochs.map(({ epoch }) => epoch), y: validation, strong: true },
      ];
    });
  const shared = { xLabel: "epoch", reader: true };
  return (
    <section class="columns train-curves">
      <Chart
        {...shared}
        title="Loss"
        yLabel="cross-entropy, nats"
        series={series("loss")}
        references={[{ name: "guessing", value: Math.LN10 }]}
        yDomain={[0, null]}
      />
      <Chart
        {...shared}
        title="Accuracy"
        yLabel="fraction of correct answers"
        series={series("accuracy")}
        references={[{ name: "guessing", value: 0.1 }]}
        yDomain={[0, 1]}
        formatY={(value) => percent(value, "short")}
      />
    </section>
  );
}
