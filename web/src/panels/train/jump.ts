/** The event that a reader waits for: accuracy jumps. Beside it stands the gate that changed most, perhaps not its cause. */
import { formatExact, percent } from "../../kit/format";
import { isGate, namesOf, titleOf } from "../../lstm/quantities";
import type { LstmEpoch, LstmTrace } from "../../train/protocol";

/** Least rise of the validation accuracy that counts as a jump. */
const LEAST = 0.1;

export interface Jump {
  epoch: number;
  rise: number;
  text: string;
}

/** What is known at the end of an epoch. */
export interface Known {
  epoch: LstmEpoch;
  trace: LstmTrace;
}

/** The jump between two ends of epochs, and the gate that changed most meanwhile; null without one. */
export function jumpOf(cell: string, before: Known, after: Known): Jump | null {
  const [from, to] = [before, after].map(({ epoch }) => epoch.validationAccuracy);
  const isSame =
    String(before.trace.digits) === String(after.trace.digits) && before.epoch.length === after.epoch.length;
  const gates = namesOf(cell).filter((name) => isGate(cell, name));
  if (to - from < LEAST || !isSame || !gates.length) return null;
  const T = after.trace.digits.length;
  let found = { name: "", index: 0, change: -1 };
  for (const name of gates)
    after.trace.values[name].forEach((value, index) => {
      const change = Math.abs(value - before.trace.values[name][index]);
      if (change > found.change) found = { name, index, change };
    });
  const H = after.trace.values.h.length / T;
  const [step, unit] = [Math.floor(found.index / H) + 1, (found.index % H) + 1];
  const [was, is] = [before, after].map(({ trace }) => formatExact(trace.values[found.name][found.index], 2));
  return {
    ...{ epoch: after.epoch.epoch, rise: to - from },
    text: `Epoch ${after.epoch.epoch}: accuracy jumped from ${percent(from)} to ${percent(to)}. Of all gates the ${titleOf(cell, found.name)} of unit ${unit} changed most: at step ${step} from ${was} to ${is}.`,
  };
}
