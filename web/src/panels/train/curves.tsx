/** Curves of what a network learns; of two lines of training, both. */
import { Chart } from "../../charts/chart";
import { chartOf, curvesOf } from "../../charts/curves";
import type { GanContent, LstmContent } from "../../kit/manifest";
import type { Run } from "../../kit/runs";
import type { Line, Seen } from "./branch";
import { columnsOf } from "./content";

/** What was seen of a line, as a run has its records: first those of single updates, then those of epochs. */
function runOf({ points, epochs, status }: Seen, classCount: number): Run {
  const ofUpdates = points.map(({ x, values }) => ({ epoch: x, ...values }));
  const ofEpochs = epochs.map(({ epoch, validationLoss, validationAccuracy }) => ({
    ...{ epoch, validationLoss, validationAccuracy },
  }));
  const ofGan = { imageShape: [], isLogOdds: true, scores: {} };
  const about = status.kind === "gan" ? ofGan : { target: "class", outputSize: classCount };
  return { ...about, metrics: columnsOf([...ofUpdates, ...ofEpochs]) } as unknown as Run;
}

interface CurvesProps {
  lines: Line[];
  classCount: number;
  python: GanContent | LstmContent | null; // A run to draw beside those of the page
}

/** Charts of charts/curves.ts. */
const SHOWN = ["lstm-loss", "lstm-accuracy", "gan-loss"];

export function Curves({ lines, classCount, python }: CurvesProps) {
  if (!lines.some(({ seen }) => seen.points.length)) return null;
  const ofPage = [...lines].reverse().map(({ name, seen }) => ({
    run: runOf(seen, classCount),
    prefix: lines.length > 1 ? `${name}: ` : "",
  }));
  const named = [...ofPage, ...(python ? [{ run: python as Run, prefix: "Python: " }] : [])];
  const all = { ...ofPage[0].run, metrics: Object.assign({}, ...named.map(({ run }) => run.metrics)) };
  const charts = curvesOf(all).filter(({ id }) => SHOWN.includes(id));
  return (
    <section class="columns halves train-curves">
      {charts.map((curves) => {
        const { yDomain, ...chart } = chartOf(all, curves, "epoch");
        const series = named.flatMap(({ run, prefix }) =>
          chartOf(run, curves, "epoch").series.map((one) => ({
            ...{ ...one, name: prefix + one.name, strong: run !== python && one.name === "validation" },
          })),
        );
        return <Chart key={curves.id} {...chart} yDomain={yDomain ?? [0, null]} series={series} reader />;
      })}
    </section>
  );
}
