/**
 * The manifest of a lesson: without the data blocks that no chosen panel needs.
 */

/** @typedef {import("../types.js").Manifest} Manifest */
/** @typedef {import("../types.js").GanContent} GanContent */
/** @typedef {import("../types.js").TensorBlock} TensorBlock */
/** @typedef {import("../panels/panel.js").Panel} Panel */
/** @typedef {import("../panels/panel.js").Part} Part */

/**
 * Returns the manifest for some panels, and the ids of the data blocks that it still names.
 * @param {Manifest} manifest
 * @param {Panel[]} panels
 * @returns {{manifest: Manifest, blocks: Set<string>}}
 */
export function reduceManifest(manifest, panels) {
  const needed = new Set(panels.flatMap((panel) => panel.needs ?? ALL_PARTS));
  const gans = needed.has("generator") ? manifest.gans.map((gan) => reduceGan(gan, needed)) : [];
  const lstms = manifest.lstms.map((lstm) => (needed.has("lstm") ? lstm : { ...lstm, stages: [] }));
  const reduced = { ...manifest, gans, lstms };
  return { manifest: reduced, blocks: new Set(blocksIn(reduced)) };
}

/** @type {readonly Part[]} */
export const ALL_PARTS = ["generator", "discriminator", "classifier", "snapshots", "training", "test", "lstm"];

/**
 * @param {GanContent} gan
 * @param {Set<Part>} needed
 * @returns {GanContent}
 */
function reduceGan(gan, needed) {
  const { discriminator, classifier, snapshots, training, test } = gan;
  return {
    ...gan,
    discriminator: needed.has("discriminator") ? discriminator : null,
    classifier: needed.has("classifier") ? classifier : null,
    snapshots: needed.has("snapshots") ? snapshots : null,
    training: needed.has("training") ? training : null,
    test: needed.has("test") ? test : null,
  };
}

/**
 * Ids of the data blocks that a part of the manifest names, wherever they stand.
 * @param {unknown} part
 * @returns {string[]}
 */
function blocksIn(part) {
  if (typeof part !== "object" || part === null) return [];
  const own = "block" in part && "tensors" in part ? [String(part.block)] : [];
  return [...own, ...Object.values(part).flatMap(blocksIn)];
}
