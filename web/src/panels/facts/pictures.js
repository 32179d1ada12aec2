/**
 * Two generators on the same latents: two moments of a run, or the networks of two runs.
 */
import { Snapshots } from "../../models/snapshots.js";
import { select } from "../../ui/controls.js";
import { fill, h } from "../../ui/dom.js";
import { imageCanvas } from "../../ui/image.js";

/** @typedef {import("../../explorer.js").Explorer} Explorer */
/** @typedef {import("../../types.js").GanContent} GanContent */

/**
 * A generator at some time.
 * @typedef {object} Source
 * @property {string} id in the URL fragment: the id of a run, and a moment's index after a dot
 * @property {string} name
 * @property {GanContent} content whose pictures these are
 * @property {number | null} moment null: the network at the end
 */

/**
 * Returns the generators that can show the latents of a run's grid.
 * @param {GanContent} content
 * @param {GanContent[]} gans all in the file
 * @returns {Source[]}
 */
export function sourcesOf(content, gans) {
  /** @type {Source[]} */
  const moments = (content.snapshots?.moments ?? []).map(({ label }, moment) => ({
    id: `${content.id}.${moment}`,
    name: `${content.name}, ${label}`,
    content,
    moment,
  }));
  const networks = gans
    .filter(({ noiseSize, numClasses }) => noiseSize === content.noiseSize && numClasses === content.numClasses)
    .map((gan) => ({ id: gan.id, name: `${gan.name}, trained`, content: gan, moment: null }));
  return [...moments, ...networks];
}

/**
 * Returns the images of a source for the latents of `latentsOf`.
 * @param {Source} source
 * @param {GanContent} latentsOf
 * @param {Explorer} explorer
 * @returns {Promise<Float32Array[]>}
 */
async function imagesOf({ content, moment }, latentsOf, explorer) {
  if (moment !== null) {
    const snapshots = await Snapshots.load(content);
    return Array.from({ length: snapshots.count }, (_, n) => snapshots.image(moment, n));
  }
  const [gan, { latents }] = await Promise.all([explorer.gan(content.id), explorer.gan(latentsOf.id)]);
  const images = gan.generate(latents.grid);
  return Array.from({ length: images.length / gan.pixels }, (_, n) =>
    images.subarray(n * gan.pixels, (n + 1) * gan.pixels),
  );
}

/**
 * Creates both grids of pictures.
 * @param {Explorer} explorer
 * @param {GanContent} content the run whose latents are shown
 * @param {{left: string, right: string}} state ids of the sources; follows the choices
 * @param {() => void} changed
 * @returns {HTMLElement | null} null if there is nothing to compare
 */
export function pairOfGrids(explorer, content, state, changed) {
  const sources = sourcesOf(content, explorer.manifest.gans);
  if (sources.length < 2) return null;
  const early = sources[Math.floor((content.snapshots?.moments.length ?? 0) / 3)];
  const own = /** @type {Source} */ (sources.find(({ id }) => id === content.id));
  const other = sources.find((source) => source.content !== content);

  /** @param {"left" | "right"} side @param {string} label @param {Source} fallback */
  const makeSide = (side, label, fallback) => {
    let source = sources.find(({ id }) => id === state[side]) ?? fallback;
    state[side] = source.id;
    const grid = h("div", { class: "pair-grid" });
    const show = async () => {
      const shown = source;
      const images = await imagesOf(shown, content, explorer);
      if (shown !== source) return; // another was chosen meanwhile
      fill(
        grid,
        images.map((pixels, n) => imageCanvas(pixels, shown.content.imageShape, `${shown.name}: image ${n + 1}`)),
      );
    };
    const choice = select(
      label,
      sources.map(({ id, name }) => [id, name]),
      source.id,
      (id) => {
        source = sources.find((candidate) => candidate.id === id) ?? fallback;
        state[side] = source.id;
        void show();
        changed();
      },
    );
    void show();
    return h("div", {}, choice.element, grid);
  };
  return h(
    "div",
    { class: "pair" },
    makeSide("left", "Left", other ? own : early),
    makeSide("right", "Right", other ?? own),
  );
}
