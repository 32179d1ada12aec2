/** The bar that stays: network, start and pause, one update, speed, where the run stands, and a menu of the rest; its news. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { bound, Button, named, Select } from "../../kit/controls";
import { CopyField } from "../../kit/copy";
import { removeKept } from "./kept";
import type { Model } from "./model";
import { Place } from "./place";
import type { Pace, Session } from "./session";
import { settingsOf } from "./settings";

const KINDS = named({ lstm: "LSTM", gan: "GAN" });
const PACES = [
  ["0", "full speed"],
  ["10", "10 updates/s"],
  ["1", "1 update/s"],
] as const;

export function Bar({ model }: { model: Model }) {
  const { session, state } = model;
  const { isRunning, isBusy, lines, pace, problem, fileProblem, kept } = session;
  const status = lines.value.at(-1)?.seen.status;
  const isStarted = Boolean(status?.step);
  const isOver = status?.isFinished ?? false;
  const experiment = model.chosen.value;
  const present = usePresent();
  const chooser = useRef<HTMLInputElement>(null);
  /** A number that is none must not train with another one. */
  const go = (what: () => unknown) => () => {
    const [wrong] = Object.values(state.wrong.value);
    if (wrong) problem.value = `Not started. ${wrong}`;
    else what();
  };
  const start = go(() =>
    experiment && !isStarted ? model.begin(experiment, model.guess.value) : void session.start(settingsOf(state)),
  );
  const stopped = { disabled: isRunning.value || isBusy.value || isOver };
  return (
    <section class="train-bar" aria-label="Training">
      <div class="row controls">
        <Select label="Network" of={bound(state.kind.value, model.choose)} choices={KINDS} />
        {isRunning.value ? (
          <Button class="primary play" onClick={() => session.pause()}>
            Pause
          </Button>
        ) : (
          <Button class="primary play" disabled={isOver} onClick={start}>
            {isOver ? "Finished" : isStarted ? "Go on" : experiment ? "Start the experiment" : "Start"}
          </Button>
        )}
        {isOver ? (
          <Button class="primary" onClick={() => void model.lookInside()}>
            Look inside
          </Button>
        ) : (
          <Button {...stopped} onClick={go(() => void session.step(settingsOf(state)))}>
            One update
          </Button>
        )}
        {kept.value && !isStarted ? (
          <Button title={kept.value.name} onClick={() => void model.goOnWithKept()}>
            Your last run
          </Button>
        ) : (
          <Button disabled={!isStarted} onClick={model.reset}>
            Reset
          </Button>
        )}
        <Select
          label="Speed"
          of={bound(String(pace.value), (value) => (pace.value = Number(value) as Pace))}
          choices={PACES}
        />
        <Place session={session} />
        <Menu>
          <Button {...stopped} onClick={go(() => void session.start(settingsOf(state), 1))}>
            One epoch
          </Button>
          <Rewind session={session} />
          <Button disabled={!isStarted} onClick={() => void model.save()}>
            Save run
          </Button>
          {kept.value && (
            <Button
              onClick={() => {
                kept.value = null;
                void removeKept();
              }}
            >
              Forget my last run
            </Button>
          )}
          <Button onClick={() => chooser.current!.click()}>Open files</Button>
          {!isOver && (
            <Button disabled={!isStarted} onClick={() => void model.lookInside()}>
              Look inside
            </Button>
          )}
          <p class="note">Training goes on in a background tab. It pauses when you open another panel.</p>
          <Button onClick={present.toggle}>{present.isOn ? "End presentation" : "Present"}</Button>
        </Menu>
      </div>
      <input
        ref={chooser}
        type="file"
        hidden
        aria-label="A saved run (.zip), sequences (.csv), or images (.png, .jpg)"
        accept=".zip,.csv,.txt,image/*"
        multiple
        onChange={({ currentTarget }) => {
          void model.take([...(currentTarget.files ?? [])]);
          currentTarget.value = ""; // so that the same file can be chosen again
        }}
      />
      {[problem, fileProblem].map((what, k) => (
        <p key={k} class="wrong" role="alert">
          {what}
        </p>
      ))}
    </section>
  );
}

/** A menu that closes after a choice, with Escape, and when the focus leaves it. */
function Menu({ children }: { children: ComponentChildren }) {
  const element = useRef<HTMLDetailsElement>(null);
  const close = () => (element.current!.open = false);
  return (
    <details
      class="menu"
      ref={element}
      onClick={({ target }) => target instanceof Element && target.closest("button") && close()}
      onKeyDown={({ key }) => key === "Escape" && close()}
      onFocusOut={({ relatedTarget }) => {
        if (relatedTarget instanceof Node && !element.current!.contains(relatedTarget)) close();
      }}
    >
      <summary class="button">More</summary>
      <div class="card stack">{children}</div>
    </details>
  );
}

function Rewind({ session }: { session: Session }) {
  const [at, setAt] = useState("");
  const moments = session.moments.value;
  const chosen = moments.find(({ name }) => name === at) ?? moments.at(-1);
  if (!chosen) return null;
  return (
    <div class="row controls">
      <Select label="Rewind to" of={bound(chosen.name, setAt)} choices={moments.map(({ name }) => [name, name])} />
      <Button disabled={session.isBusy.value && !session.isRunning.value} onClick={() => void session.rewind(chosen)}>
        Rewind
      </Button>
    </div>
  );
}

/** A mode for a projector: larger type, only the bar, the picture and the curves; Escape ends it. */
function usePresent() {
  const [isOn, setOn] = useState(false);
  useEffect(() => {
    const page = document.documentElement;
    page.classList.toggle("presenting", isOn);
    const onKey = ({ key }: KeyboardEvent) => key === "Escape" && setOn(false);
    addEventListener("keydown", onKey);
    return () => {
      removeEventListener("keydown", onKey);
      page.classList.remove("presenting");
    };
  }, [isOn]);
  return { isOn, toggle: () => setOn(!isOn) };
}

export function News({ model }: { model: Model }) {
  const { discarded, ended, saved } = model.session;
  if (!(discarded.value || ended.value || saved.value)) return null;
  return (
    <div class="stack train-news">
      {discarded.value && (
        <p class="row">
          {`${discarded} Undo returns to your run.`}
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
    </div>
  );
}
