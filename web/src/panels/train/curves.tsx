/** Curves of what a network learns; of two lines of training, both. */
import { Chart, type ChartProps } from "../../charts/chart";
import type { Series } from "../../charts/marks";
import { percent } from "../../kit/format";
import type { Kind, LstmEpoch } from "../../train/protocol";
import type { GanContent, LstmContent } from "../../kit/manifest";
import type { Point } from "./branch";
import type { Line } from "./branch";

type Look = Pick<ChartProps, "title" | "yLabel" | "references" | "yDomain" | "formatY">;

/** A chart and its curves: of single updates, and of epochs. */
interface Curve {
  look: Look;
  updates: Record<string, (point: Point) => number>;
  epochs: Record<string, (epoch: LstmEpoch) => number>;
  /** Columns of a run of Python. */
  metrics: Record<string, string>;
}

const CURVES: Record<Kind, Curve[]> = {
  lstm: [
    {
      look: {
        ...{ title: "Loss", yLabel: "cross-entropy, nats", yDomain: [0, null] },
        references: [{ name: "guessing", value: Math.LN10 }],
      },
      updates: { training: ({ values }) => values.loss },
      epochs: { validation: ({ validationLoss }) => validationLoss },
      metrics: { training: "train_loss", validation: "validation_loss" },
    },
    {
      look: {
        ...{ title: "Accuracy", yLabel: "fraction of correct answers", yDomain: [0, 1] },
        references: [{ name: "guessing", value: 0.1 }],
        formatY: (value) => percent(value, "short"),
      },
      updates: { training: ({ values }) => values.accuracy },
      epochs: { validation: ({ validationAccuracy }) => validationAccuracy },
      metrics: { training: "train_accuracy", validation: "validation_accuracy" },
    },
  ],
  gan: [
    {
      look: {
        ...{ title: "Loss of both networks", yLabel: "loss", yDomain: [0, null] },
        references: [{ name: "D cannot tell", value: Math.LN2 }],
      },
      updates: {
        "generator G": ({ values }) => values.generator,
        "discriminator D": ({ values }) => values.discriminator,
      },
      epochs: {},
      metrics: { "generator G": "generator_loss", "discriminator D": "discriminator_loss" },
    },
  ],
};

interface CurvesProps {
  lines: Line[];
  hasChance: boolean; // Whether the references are right, which are of ten digits or of a GAN
  python: GanContent | LstmContent | null; // A run to draw beside those of the page
}

export function Curves({ lines, hasChance, python }: CurvesProps) {
  if (!lines.some(({ seen }) => seen.points.length)) return null;
  const seriesOf = ({ updates, epochs, metrics }: Curve): Series[] => [
    ...[...lines].reverse().flatMap(({ name, seen }) => {
      const prefix = lines.length > 1 ? `${name}: ` : "";
      return [
        ...Object.entries(updates).map(([what, of]) => ({
          ...{ name: prefix + what, x: seen.points.map(({ x }) => x), y: seen.points.map(of) },
        })),
        ...Object.entries(epochs).map(([what, of]) => ({
          ...{ name: prefix + what, x: seen.epochs.map(({ epoch }) => epoch), y: seen.epochs.map(of), strong: true },
        })),
      ];
    }),
    ...Object.entries(python ? metrics : {}).map(([what, column]) => ({
      ...{ name: `Python: ${what}`, x: python!.metrics.epoch ?? [], y: python!.metrics[column] ?? [] },
    })),
  ];
  return (
    <section class="columns halves train-curves">
      {CURVES[lines[0].seen.status.kind].map((curve) => (
        <Chart
          key={curve.look.title}
          {...curve.look}
          {...(!hasChance && { references: [] })}
          xLabel="epoch"
          series={seriesOf(curve)}
          reader
        />
      ))}
    </section>
  );
}
