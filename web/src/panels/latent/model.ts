/** The ends, the path, and the images on it. */
import { batch, computed, signal, type Signal } from "@preact/signals";
import { interpolate, interpolateAt, PATHS } from "../../compute/paths";
import { frameText, makeFrames } from "../../gan/frames";
import type { Gan } from "../../gan/gan";
import { choice, choiceField, Latents } from "../../gan/latents";
import { decodeView, encodeView, MAX_STEPS, rounded } from "../../gan/view_code";
import { announceSoon } from "../../kit/announce";
import { codec, integer, number, oneOf } from "../../kit/codec";
import { cell } from "../../kit/controls";
import { clamp, shortNumber } from "../../kit/format";
import { makeMap } from "./map_model";

const DEFAULT_STEPS = 7; // Images between the ends, as in the report's Figure 5

export function makeModel(gan: Gan, view: URLSearchParams) {
  const latents = new Latents(gan);
  const link = decodeView(view.get("code") ?? "", gan.content.latentSize);
  const defaults = link ? [choice({ kind: "code" }), choice({ kind: "code" })] : latents.defaults([3, 8]);
  const fields = codec({
    start: choiceField(latents, defaults[0], link !== null),
    end: choiceField(latents, defaults[1], link !== null),
    t: number(0, 1, 0.5, shortNumber),
    path: oneOf(PATHS, link?.path),
    steps: integer(0, MAX_STEPS, link?.steps ?? DEFAULT_STEPS),
  });
  const state = fields.read(view);
  const { t, path, steps } = state;
  const choices = [state.start, state.end];
  const passed = signal(link && [link.start, link.end]);
  /** Both in half precision, so that Python makes the same images of a view code. */
  const ends = computed(() =>
    choices.map((chosen, n) => rounded(latents.latent(chosen.value, passed.value && passed.value[n]))),
  );
  const code = computed(() =>
    encodeView({ path: path.value, steps: steps.value, start: ends.value[0], end: ends.value[1] }),
  );
  /** Between opposite directions there is no spherical path. */
  const settle = () => {
    if (!interpolateAt(ends.value[0], ends.value[1], [], path.value)) path.value = "linear";
  };
  const frame = computed(() => makeFrames(gan, interpolateAt(ends.value[0], ends.value[1], [t.value], path.value)!)[0]);
  const text = computed(() => frameText(gan.content, frame.value));
  const change = (news: string, set: () => void) => {
    batch(() => {
      set();
      settle();
    });
    announceSoon(() => `${news}. ${text.value}`);
  };
  const setting = <T>(of: Signal<T>, say: (value: T) => string) =>
    cell(
      () => of.value,
      (value) => change(say(value), () => (of.value = value)),
    );
  const map = makeMap(gan, latents, ends, view);
  let direction = 1;
  settle();
  return {
    ...{ gan, latents, code, frame, text, t, map, hasCode: link !== null },
    thumbnails: computed(() => ends.value.map(gan.generate)),
    ends: choices.map((chosen, n) => setting(chosen, (next) => `${n ? "End" : "Start"}: ${latents.name(next)}`)),
    path: setting(path, (value) => `${value} path`),
    steps: setting(steps, (value) => `${value} images between the ends`),
    frames: computed(() => makeFrames(gan, interpolate(ends.value[0], ends.value[1], steps.value, path.value)!)),
    /** Index of the frame next to t. */
    selected: computed(() => Math.round(t.value * (steps.value + 1))),
    swap: () =>
      change("Start and end are swapped", () => {
        [state.start.value, state.end.value] = [state.end.value, state.start.value];
        passed.value = passed.value && [...passed.value].reverse();
        t.value = 1 - t.value;
      }),
    endAt: (latent: Float32Array) =>
      change("End: an image of the map", () => {
        passed.value = [ends.value[0], rounded(latent)];
        state.end.value = choice({ kind: "code" });
      }),
    /** Moves on between the ends, forth and back. */
    advance(distance: number) {
      t.value = clamp(t.value + direction * distance, 0, 1);
      if (t.value === 1) direction = -1;
      else if (t.value === 0) direction = 1;
      return true;
    },
    write: () => ({
      ...fields.write(state),
      ...map.write(),
      ...(choices.some(({ value }) => value.kind === "code") && { code: code.value }),
    }),
  };
}

export type Model = ReturnType<typeof makeModel>;
