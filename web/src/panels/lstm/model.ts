/** The traces of the sequences that the panel shows, and what it shows of them. */
import { batch, computed, signal } from "@preact/signals";
import type { LstmContent } from "../../kit/manifest";
import type { Lstm } from "../../lstm/lstm";
import type { Trace } from "../../lstm/trace";
import { makeScene, type Reading, type Traced, type Wanted, wantedOf } from "./scene";
import type { LstmState, Selected } from "./state";
import { targetOf } from "./sequence";

const MAX_KEPT = 4;
const IMMEDIATE = 2e7; // Multiplications that feel immediate
const TYPING_PAUSE = 150; // Milliseconds that a longer computation waits for the next key

/** Multiplications of two traces, roughly. */
function costOf({ hiddenSize, numLayers, bidirectional, inputSize }: LstmContent, { first, second }: Wanted) {
  const steps = first.length + (second?.length ?? 0);
  return 8 * hiddenSize * (hiddenSize + inputSize) * numLayers * steps * (bidirectional ? 2 : 1); // with the way back
}

export function makeModel(lstm: Lstm, state: LstmState) {
  const { content } = lstm;
  const kept = new Map<string, Trace>();
  const read = (name: Reading["name"], values: number[], { stage, seed, target: chosen }: Wanted): Reading => {
    const target = targetOf(content, chosen, values);
    const key = JSON.stringify([stage, seed, target, values]);
    const options = { target, seed: seed === null ? null : BigInt(seed) };
    const trace = kept.get(key) ?? lstm.trace(stage, lstm.encode(values), options);
    kept.delete(key); // to the end, where the latest stand
    kept.set(key, trace);
    if (kept.size > MAX_KEPT) kept.delete([...kept.keys()][0]);
    return { name, values, target, trace };
  };
  const compute = (wanted: Wanted): Traced => ({
    wanted,
    first: read(wanted.second ? "first" : "", wanted.first, wanted),
    second: wanted.second && read("second", wanted.second, wanted),
  });
  const wanted = computed(() => wantedOf(state));
  const traced = signal(compute(wanted.peek()));
  const isBusy = signal(false);
  const scene = computed(() => makeScene(content, traced.value, state));
  const selected = computed<Selected>(() => {
    const { map, step, unit } = state.cell.value;
    return { map, unit, step: Math.min(step, scene.value.steps - 1) };
  });
  const { unit } = selected.peek();
  state.cell.value = { ...selected.peek(), unit: unit < 0 ? scene.peek().order[0] : unit };
  const show = (next: Wanted) =>
    batch(() => {
      const wasLast = selected.peek().step >= traced.peek().first.trace.steps - 1;
      isBusy.value = false;
      traced.value = compute(next);
      if (wasLast) state.cell.value = { ...state.cell.peek(), step: Infinity }; // it stays at the last step
    });
  /** Computes the traces of what has changed, at once or after a pause; for an effect. */
  const follow = () => {
    const next = wanted.value;
    if (next === traced.peek().wanted) return;
    if (costOf(content, next) <= IMMEDIATE) return show(next);
    isBusy.value = true;
    const timer = setTimeout(show, TYPING_PAUSE, next);
    return () => clearTimeout(timer);
  };
  const select = (cell: Partial<Selected>) => (state.cell.value = { ...selected.peek(), ...cell });
  return { lstm, content, state, traced, isBusy, scene, selected, follow, select };
}

export type Model = ReturnType<typeof makeModel>;
