/**
 * Panel "Be the discriminator": a game against D. One image after the other, as D judges them.
 *
 * The fragment keeps `run`, where there are several, `at` (where the images come from) and `seed`. Another run keeps both.
 */
import { codec, field, integer, oneOf, type State } from "../../kit/codec";
import type { Manifest } from "../../kit/manifest";
import type { Panel } from "../../page/panel";
import { Game } from "./game";
import { deal, sourceOf, sourcesOf } from "./round";

export const MAX_SEED = 2 ** 31 - 1;

const runsOf = ({ gans }: Manifest) => gans.filter((content) => sourcesOf(content).length);

/** What the fragment keeps. */
const fieldsOf = (ids: string[]) => ({
  run: { ...oneOf(ids), write: (id: string) => (ids.length > 1 ? id : null) },
  at: field("", String, String),
  seed: integer(0, MAX_SEED),
});

export type GameState = State<ReturnType<typeof fieldsOf>>;

export const discriminatorPanel: Panel = {
  id: "discriminator",
  tutorial: "gan",
  needs: ["snapshots", "generator", "discriminator", "test", "training"],
  title: "Be the discriminator",
  question: "Can you tell real images from generated ones better than D can?",
  observe: "Play an early moment and a late one. Whose score falls more, yours or D's?",
  limit:
    "The real images of a moment are training images, which D has learned from. There are only 25 of them, and as many generated ones: after some rounds you know them too.",
  unavailable: (manifest) =>
    runsOf(manifest).length ? null : "No GAN run in this file has real images that D has judged.",
  async open(manifest, view) {
    const runs = runsOf(manifest);
    const fields = codec(fieldsOf(runs.map(({ id }) => id)));
    const state = fields.read(view);
    const { run, at, seed } = state;
    const content = runs.find(({ id }) => id === run.value)!;
    at.value = sourceOf(content, at.value).id;
    const first = await deal(content, at.value, seed.value);
    return { view: () => fields.write(state), body: <Game {...{ runs, state, first }} /> };
  },
};
