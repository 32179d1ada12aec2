/** Dropout masks of the hidden state as a function of a seed: the bits of `reviver.recurrent.dropout` for one sequence. */
import type { LstmContent } from "../kit/manifest";
import type { Matrix, Memory } from "./memory";

/**
 * Returns the masks [T, H] of a cell, null if the hidden state stays as it is: random ones in training, 0 for a unit that is
 * dropped, else 1 / (1 - p), or 1 in zoneout. Without a seed, as after training, only zoneout has a mask: its expected value
 * 1 - p. `room` [H, 8] is for the mask of a step.
 */
export function hiddenMasks(
  memory: Memory,
  room: Matrix,
  seed: bigint | null,
  steps: number,
  p: number,
  kind: LstmContent["hiddenDropoutKind"],
): Float64Array | null {
  if (p === 0 || (seed === null && kind !== "zoneout")) return null;
  const H = room.rows;
  const masks = new Float64Array(steps * H);
  if (seed === null) return masks.fill(1 - p);
  const kept = kind === "zoneout" ? 1 : 1 / (1 - p);
  for (let t = 0; t < steps; t++) {
    memory.mask(room, p, seed, kind === "variational" ? 0 : t, 4); // variational: one mask for all steps
    for (let unit = 0; unit < H; unit++) masks[t * H + unit] = room.values[unit * room.width] && kept;
  }
  return masks;
}
