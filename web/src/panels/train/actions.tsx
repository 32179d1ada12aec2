/** Start and pause, single updates and epochs, moments to go back to, and what it costs. */
import { useState } from "preact/hooks";
import { bound, Button, Select } from "../../kit/controls";
import { download } from "../../kit/download";
import { formatNumber, percent } from "../../kit/format";
import type { Pace, Session } from "./session";
import { settingsOf, type TrainState } from "./settings";

const PACES = [
  ["0", "as fast as possible"],
  ["10", "10 updates a second"],
  ["1", "1 update a second"],
] as const;

interface ActionsProps {
  session: Session;
  state: TrainState;
  /** Begins the chosen experiment, if there is one. */
  begin: (() => void) | null;
  reset: () => void;
  /** Puts the networks into the other panels. */
  show: () => void;
}

export function Actions({ session, state, begin, reset, show }: ActionsProps) {
  const { isRunning, isBusy, lines, pace, moments, problem } = session;
  const [at, setAt] = useState("");
  const seen = lines.value.at(-1)?.seen;
  const isOver = seen?.status.isFinished ?? false;
  const kind = state.kind.value;
  const start = () => (begin && !seen ? begin() : void session.start(kind, settingsOf(state)));
  const stopped = { disabled: isRunning.value || isBusy.value || isOver };
  const chosen = moments.value.find(({ name }) => name === at) ?? moments.value.at(-1);
  return (
    <section class="card stack" aria-label="Training">
      <div class="row">
        {isRunning.value ? (
          <Button class="primary play" onClick={() => session.pause()}>
            Pause
          </Button>
        ) : (
          <Button class="primary play" disabled={isOver} onClick={start}>
            {seen ? "Go on" : begin ? "Start the experiment" : "Start"}
          </Button>
        )}
        <Button {...stopped} onClick={() => void session.step(kind, settingsOf(state))}>
          One update
        </Button>
        <Button {...stopped} onClick={() => void session.start(kind, settingsOf(state), 1)}>
          One epoch
        </Button>
        <Button disabled={!seen} onClick={reset}>
          Reset
        </Button>
        <Button disabled={!seen} onClick={() => void save(session)}>
          Save run
        </Button>
        <Button disabled={!seen} onClick={show}>
          Show in other panels
        </Button>
      </div>
      <div class="row controls">
        <Select
          label="Speed"
          of={bound(String(pace.value), (value) => (pace.value = Number(value) as Pace))}
          choices={PACES}
        />
        {chosen && (
          <>
            <Select
              label="Rewind to"
              of={bound(chosen.name, setAt)}
              choices={moments.value.map(({ name }) => [name, name])}
            />
            <Button disabled={isBusy.value && !isRunning.value} onClick={() => void session.rewind(chosen)}>
              Rewind
            </Button>
          </>
        )}
      </div>
      <p class="wrong" role="alert">
        {problem}
      </p>
      {seen && <Place session={session} />}
      <p class="note">Training goes on while this tab is in the background. It pauses when you open another panel.</p>
    </section>
  );
}

/** Where the run stands, and how long it will take. */
function Place({ session: { lines, speed } }: Pick<ActionsProps, "session">) {
  const { status, epochs } = lines.value.at(-1)!.seen;
  const { kind, epoch, step, settings, updatesPerEpoch } = status;
  const left = (settings.epochs * updatesPerEpoch - step) / speed.value;
  const facts = [
    ["Epoch", `${epoch} of ${settings.epochs}`],
    ["Update", formatNumber(step)],
    ...(kind === "lstm"
      ? [["Accuracy, validation", epochs.length ? percent(epochs.at(-1)!.validationAccuracy) : "–"]]
      : []),
    ["Updates a second", speed.value ? formatNumber(speed.value) : "–"],
    ["Time left", status.isFinished ? "none" : speed.value ? duration(left) : "–"],
  ];
  return (
    <dl class="columns train-facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt class="note">{name}</dt>
          <dd class="number">{value}</dd>
        </div>
      ))}
    </dl>
  );
}

const duration = (seconds: number) =>
  seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`;

/** Offers the last line as a run folder. */
async function save(session: Session) {
  const { kind, settings, step } = session.lines.value.at(-1)!.seen.status;
  const name = `${kind}-seed${settings.seed}-step${step}`;
  const packed = await session.withLast((branch) => branch.pack(name, session.python!));
  if (packed) download(`${name}.zip`, packed, "application/zip");
}
