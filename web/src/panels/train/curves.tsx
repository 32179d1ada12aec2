/** Curves of what a network learns; of several lines of training, all. Drawn at most four times a second. */
import { effect, type ReadonlySignal } from "@preact/signals";
import { useEffect, useMemo, useState } from "preact/hooks";
import { Chart } from "../../charts/chart";
import { chartOf, wordsOf, type Curves as CurvesOfRun } from "../../charts/curves";
import { Distribution } from "../../charts/distribution";
import { formatNumber } from "../../kit/format";
import { Lit } from "../../kit/lit";
import type { Run } from "../../kit/runs";
import { explain } from "../../kit/terms";
import { DIGITS } from "../../train/palindromes";
import { diagnoseGan, diagnoseLstm, type Finding } from "../../train/diagnosis";
import type { Kind } from "../../train/protocol";
import type { Line, Seen } from "./branch";
import { columnsOf } from "./content";
import type { Model } from "./model";
import type { Session } from "./session";
import { whyOf } from "./why";

/**
 * Lines of training of a network, a little late. What draws them has delays that differ, so that not all draw in one frame, of at
 * least 250 milliseconds.
 */
export function useSlow(of: ReadonlySignal<Line[]>, kind: Kind, delay = 250): Line[] {
  const [lines, setLines] = useState(of.peek());
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = effect(() => {
      void of.value;
      timer ??= setTimeout(() => {
        timer = undefined;
        setLines(of.peek());
      }, delay);
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [of]);
  return lines.filter(({ seen }) => seen.status.kind === kind);
}

/** What was seen of a line, as a run has its records: first those of single updates, then those of epochs. */
function runOf(kind: Kind, { points, epochs }: Pick<Seen, "points" | "epochs">, classCount: number): Run {
  const ofUpdates = points.map(({ x, values }) => ({ epoch: x, ...values }));
  const ofEpochs = epochs.map(({ epoch, validationLoss, validationAccuracy }) => ({
    ...{ epoch, validationLoss, validationAccuracy },
  }));
  const ofGan = { imageShape: [], isLogOdds: true, scores: {} };
  const about = kind === "gan" ? ofGan : { target: "class", outputSize: classCount };
  return { ...about, metrics: columnsOf([...ofUpdates, ...ofEpochs]) } as unknown as Run;
}

/** Of four lines only the validation. */
const withoutTraining = (curves: CurvesOfRun): CurvesOfRun => ({
  ...curves,
  columns: Object.fromEntries(Object.entries(curves.columns).filter(([key]) => !key.startsWith("train"))),
});

/** Charts of charts/curves.ts. */
const SHOWN = ["lstm-loss", "lstm-accuracy", "gan-loss"];

export function Curves({ model: { session, state, own, runs } }: { model: Model }) {
  const kind = state.kind.value;
  const lines = useSlow(session.lines, kind, 290);
  const classCount = own.value?.classes.length ?? DIGITS;
  const python = runs.value.find(({ id }) => id === state.python.value); // to draw beside those of the page
  const ofPage = [...lines].reverse().map(({ name, seen }) => ({
    run: runOf(kind, seen, classCount),
    prefix: lines.length > 1 ? `${name}: ` : "",
  }));
  const named = [...ofPage, ...(python ? [{ run: python, prefix: "Python: " }] : [])];
  const about = runOf(kind, { points: [], epochs: [] }, classCount);
  const end = Math.max(1, ...lines.map(({ seen }) => seen.points.at(-1)?.x ?? 0));
  const problem = useProblem(lines.at(-1)?.seen);
  return (
    <>
      {problem && <Problem {...{ problem, session }} />}
      {wordsOf([about])
        .filter(({ id }) => SHOWN.includes(id) && id.startsWith(kind))
        .map((curves) => {
          const found = curves.id === "lstm-loss" ? undefined : problem;
          const { yDomain, ...chart } = chartOf(about, curves, "epoch");
          const series = named.flatMap(({ run, prefix }) =>
            chartOf(run, lines.length > 3 ? withoutTraining(curves) : curves, "epoch").series.map((one) => ({
              ...{ ...one, name: prefix + one.name, strong: run !== python && one.name === "validation" },
            })),
          );
          const last = lines.at(-1)?.seen;
          const alone = lines.length === 1 && last;
          const why = alone && whyOf(curves.id, last, classCount);
          const jump = alone && curves.id === "lstm-accuracy" && last.jump;
          return (
            <div key={curves.id} class="stack train-curve">
              <Chart
                {...chart}
                yDomain={yDomain ?? [0, null]}
                xDomain={python ? undefined : [0, end]}
                series={series}
                cursor={found?.epoch ?? (jump ? jump.epoch : undefined)}
              />
              {jump && <p class="note">{jump.text}</p>}
              {why && <p class="note">{why}</p>}
            </div>
          );
        })}
    </>
  );
}

/** The first thing that goes wrong in a line. */
function useProblem(seen: Seen | undefined): Finding | undefined {
  return useMemo(() => {
    if (!seen) return undefined;
    const { lines, spread, epochs, status } = seen;
    if (status.kind === "gan") return diagnoseGan(lines, spread)[0];
    return status.isFinished ? diagnoseLstm(epochs)[0] : undefined; // before, a dip passes
  }, [seen]);
}

function Problem({ problem: { epoch, text, remedy }, session }: { problem: Finding; session: Session }) {
  const before = session.moments.value.filter(({ saved }) => (saved?.epoch ?? 0) < epoch - 1).at(-1);
  const back = session.lines.value[0]?.seen.status.kind === "gan" && before ? `rewind to ${before.name}, or ` : "";
  return <p class="note wrong">{`Epoch ${formatNumber(epoch)}: ${text}. What helps: ${back}${remedy}.`}</p>;
}

export function Densities({ lines: of }: { lines: ReadonlySignal<Line[]> }) {
  const lines = useSlow(of, "gan", 330).filter(({ seen: { logits } }) => logits.real.length > 0);
  return (
    <>
      {[...lines].reverse().map(({ name, seen: { logits } }) => (
        <Lit key={name} part="D">
          <h3 class="note chart-title">
            {lines.length > 1 && `${name}: `}What D said of the latest images, as {explain("logits")}
          </h3>
          <Distribution context={{ ...logits, realSource: "training images" }} logit={null} isProbability />
        </Lit>
      ))}
    </>
  );
}
