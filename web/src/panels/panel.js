/**
 * What a panel is. Each file of this folder exports one.
 */

/** @typedef {import("../explorer.js").Explorer} Explorer */

/**
 * A part of the runs that a lesson can leave out. Latents go with the generator.
 * @typedef {"generator" | "discriminator" | "classifier" | "snapshots" | "training" | "test" | "lstm"} Part
 */

/**
 * @typedef {object} PanelHandle
 * @property {() => Record<string, string>} view what the URL fragment keeps of the panel's state
 * @property {() => void} [destroy] stops animations when another panel is shown
 */

/**
 * @typedef {object} Panel
 * @property {string} id in the URL fragment and in lessons
 * @property {Part[]} [needs] parts of the runs that a lesson with this panel contains; all if missing
 * @property {string} title
 * @property {string} question the one question that it answers
 * @property {string} observe one thing to observe
 * @property {string} limit one limit of what it shows
 * @property {"gan" | "lstm"} [tutorial] whose paragraph `panel-ID` explains what the panel shows
 * @property {(explorer: Explorer) => string | null} unavailable why these runs do not have it; null if they do
 * @property {(root: HTMLElement, explorer: Explorer, view: URLSearchParams) => Promise<PanelHandle>} mount fills `root`
 *   and restores the state from `view`, which is untrusted
 */

export {};
