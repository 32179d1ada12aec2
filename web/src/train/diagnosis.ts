/** What goes wrong in a run, by the rules of `reviver.train.diagnosis`, with their numbers and words. */
import { mean, median } from "d3-array";
import rules from "../../../src/reviver/train/rules.json";
import type { GanLine } from "./gan_log";
import type { LstmEpoch } from "./lstm_run";

export interface Finding {
  rule: "jump" | "wins" | "alike" | "dip";
  epoch: number; // Where it first fires
  text: string;
  remedy: string;
}

/** @param spread of the latest samples, see `spreadOf` */
export function diagnoseGan(lines: GanLine[], spread: number | null): Finding[] {
  const isAlike = spread !== null && lines.length >= rules.alike.lines && spread < rules.alike.ratio;
  const alike = isAlike ? finding("alike", lines.at(-1)!.epoch) : null;
  return [findJump(lines), findWin(lines), alike].filter((found) => found !== null);
}

/** Whether an LSTM ends in a dip, after it had learned. */
export function diagnoseLstm(epochs: LstmEpoch[]): Finding[] {
  const same = epochs.filter(({ length }) => length === epochs.at(-1)!.length); // of a curriculum
  const values = same.slice(-rules.dip.window).map(({ validationAccuracy }) => validationAccuracy);
  const [best, value] = [Math.max(...values), values.at(-1)!];
  if (!values.length || best < rules.dip.level || value > best - rules.dip.fall) return [];
  const [ofBest, ofLast] = [best, value].map((one) => (100 * one).toFixed(1));
  return [finding("dip", epochs.at(-1)!.epoch, { best: ofBest, value: ofLast })];
}

/** How far a sample is from the one most like it, as a fraction of the same of real images, [N, pixels] each. */
export const spreadOf = (samples: Float32Array, real: Float32Array, pixels: number) =>
  closest(samples, pixels) / closest(real, pixels);

function closest(images: Float32Array, pixels: number): number {
  const N = images.length / pixels;
  const least = new Float64Array(N).fill(Infinity);
  for (let i = 0; i < N; i++)
    for (let j = 0; j < i; j++) {
      let squares = 0;
      for (let p = 0; p < pixels; p++) squares += (images[i * pixels + p] - images[j * pixels + p]) ** 2;
      for (const one of [i, j]) least[one] = Math.min(least[one], Math.sqrt(squares));
    }
  return mean(least)!;
}

function findJump(lines: GanLine[]): Finding | null {
  const { lines: enough, factor, window } = rules.jump;
  for (let end = enough; end < lines.length; end++)
    for (const [network, key] of [
      ["G", "generatorLoss"],
      ["D", "discriminatorLoss"],
    ] as const) {
      const value = lines[end][key];
      const before = median(lines.slice(Math.max(0, end - window), end), (line) => line[key])!;
      if (value > factor * before) return finding("jump", lines[end].epoch, { network, value: value.toFixed(2) });
    }
  return null;
}

function findWin(lines: GanLine[]): Finding | null {
  const { probability, lines: needed } = rules.wins;
  let count = 0;
  for (const { probabilityReal, probabilityFake, epoch } of lines) {
    count = probabilityReal >= probability && probabilityFake <= 1 - probability ? count + 1 : 0;
    if (count === needed) return finding("wins", epoch);
  }
  return null;
}

function finding(rule: Finding["rule"], epoch: number, values: Record<string, string> = {}): Finding {
  const { text, remedy } = rules[rule];
  return { rule, epoch, text: text.replace(/\{(\w+)\}/g, (_, name) => values[name]), remedy };
}
