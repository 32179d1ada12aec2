/** The settings that the panel shows at once, each a slider over some values. */
import { useId } from "preact/hooks";
import { formatSetting, NETWORKS, type TrainState } from "./settings";

interface StepsProps {
  state: TrainState;
  /** Sets a setting; the run follows once the reader lets go. */
  set: (name: string, value: number) => void;
  change: () => void;
  /** Settings that mean nothing here. */
  hidden: string[];
}

export function Steps({ state, set, change, hidden }: StepsProps) {
  const kind = state.kind.value;
  const shown = Object.entries(NETWORKS[kind].steps).filter(([name]) => !hidden.includes(name));
  return (
    <>
      {shown.map(([name, values]) => (
        <Step key={kind + name} {...{ state, name, values, set, change }} />
      ))}
    </>
  );
}

type StepProps = Omit<StepsProps, "hidden"> & { name: string; values: readonly number[] };

function Step({ state, name, values, set, change }: StepProps) {
  const id = useId();
  const kind = state.kind.value;
  const spec = NETWORKS[kind].specs[name];
  const value = Number(state.settings[kind][name].value);
  const at = values.filter((one) => one <= value).length - 1;
  const text = formatSetting(spec, value);
  return (
    <div class="field">
      <label for={id}>{spec.label}</label>
      <input
        id={id}
        type="range"
        {...{ min: 0, max: values.length - 1, step: 1, value: Math.max(at, 0) }}
        aria-valuetext={text}
        onInput={({ currentTarget }) => set(name, values[currentTarget.valueAsNumber])}
        onChange={change}
      />
      <output for={id}>{text}</output>
    </div>
  );
}
