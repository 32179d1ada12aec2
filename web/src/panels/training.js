/**
 * Panel "Training time": the same latents through training, beside the curves.
 */
import { Snapshots } from "../models/snapshots.js";
import { formatNumber } from "../ui/chart_series.js";
import { button, select, slider } from "../ui/controls.js";
import { fill, h } from "../ui/dom.js";
import { drawImage } from "../ui/image.js";
import { pictureButton } from "../ui/picture_button.js";
import { Player } from "../ui/player.js";
import { countInRow, rove } from "../ui/roving.js";
import { AXES, trainingCurves } from "./training/curves.js";
import { filmstrip } from "./training/filmstrip.js";
import { verdictStrip } from "./training/verdicts.js";

/** @typedef {import("../explorer.js").Explorer} Explorer */
/** @typedef {import("../types.js").GanContent} GanContent */
/** @typedef {import("./training/curves.js").AxisChoice} AxisChoice */

/** Milliseconds that playing all moments takes, and bounds of one moment. */
const [DURATION, SHORTEST, LONGEST] = [12_000, 200, 700];

/**
 * @typedef {object} State
 * @property {GanContent} content
 * @property {number} moment
 * @property {number | null} latent that the filmstrip follows
 * @property {AxisChoice} axis
 * @property {string} first id of curves
 * @property {string} second
 */

/** @param {Explorer} explorer */
const runsOf = (explorer) => explorer.manifest.gans.filter(({ snapshots }) => snapshots?.moments.length);

/**
 * Reads an index from the fragment.
 * @param {string | null} text
 * @param {number} count
 */
function readIndex(text, count) {
  const index = Number(text ?? NaN);
  return Number.isInteger(index) && index >= 0 && index < count ? index : null;
}

/**
 * Names a moment by updates and epochs.
 * @param {import("../types.js").SnapshotSpec} moment
 */
const describe = ({ label, epoch, step }) =>
  label.startsWith("update") ? `${label} (epoch ${formatNumber(epoch)})` : `${label} (update ${formatNumber(step)})`;

/**
 * Whether the pictures come from a moving average of the generator.
 * @param {GanContent} content
 */
const hasAverage = ({ facts }) => Number(facts.config.find(({ label }) => label === "ema")?.value ?? 0) > 0;

/** @type {import("./panel.js").Panel} */
export const trainingPanel = {
  id: "training",
  tutorial: "gan",
  needs: ["generator", "snapshots"],
  title: "Training time",
  question: "What does the generator learn first, and what last?",
  observe: "Choose one image and follow it. When does it look like a digit, and does it still become another one?",
  limit:
    "25 images say little about quality or variety: that is what the scores are for. A falling loss does not mean better images, since each network trains against the other.",
  unavailable: (explorer) => (runsOf(explorer).length ? null : "No GAN run in this file has pictures of its training."),

  async mount(root, explorer, view) {
    const runs = runsOf(explorer);
    /** @type {State} */
    const state = {
      content: runs.find(({ id }) => id === view.get("run")) ?? runs[0],
      moment: 0,
      latent: null,
      axis: AXES.find(([choice]) => choice === view.get("axis"))?.[0] ?? "epoch-log",
      first: view.get("first") ?? "gan-loss",
      second: view.get("second") ?? "fid",
    };
    const body = h("div", {});
    let destroy = () => {};
    const open = async () => {
      const { content } = state;
      const snapshots = await Snapshots.load(content);
      if (state.content !== content) return; // another choice while this run loaded
      destroy();
      destroy = showRun(body, explorer, state, snapshots, view);
      explorer.viewChanged();
    };
    const choice = select(
      "Run",
      runs.map(({ id, name }) => [id, name]),
      state.content.id,
      (id) => {
        state.content = runs.find((run) => run.id === id) ?? runs[0];
        view = new URLSearchParams();
        void open();
      },
    );
    fill(root, runs.length > 1 && h("div", { class: "controls" }, choice.element), body);
    await open();
    return {
      view: () => ({
        ...(runs.length > 1 && { run: state.content.id }),
        moment: String(state.moment),
        ...(state.latent !== null && { image: String(state.latent) }),
        axis: state.axis,
        first: state.first,
        second: state.second,
      }),
      destroy: () => destroy(),
    };
  },
};

/**
 * Shows the pictures and curves of a run; returns how to stop.
 * @param {HTMLElement} body
 * @param {Explorer} explorer
 * @param {State} state
 * @param {Snapshots} snapshots
 * @param {URLSearchParams} view
 */
function showRun(body, explorer, state, snapshots, view) {
  const { content } = state;
  const { moments, shape } = snapshots;
  const last = moments.length - 1;
  const isProbability = content.isLogOdds;
  state.moment = readIndex(view.get("moment"), moments.length) ?? last;
  state.latent = readIndex(view.get("image"), snapshots.count);

  const now = h("p", { class: "note" });
  const verdicts = verdictStrip(isProbability);
  const strip = filmstrip(snapshots, isProbability, (moment) => choose(moment));
  const curves = trainingCurves(content, moments, state, {
    selected: (moment) => choose(moment),
    changed: () => {
      show();
      explorer.viewChanged();
    },
  });
  const pictures = Array.from({ length: snapshots.count }, (_, n) =>
    pictureButton(null, shape, `image ${n + 1}`, () => follow(n)),
  );
  const grid = h(
    "div",
    { class: "training-grid", role: "group", "aria-label": "Images of the same latents" },
    pictures.map(({ element }) => element),
  );
  const time = slider(
    "Moment of the training",
    { min: 0, max: last, step: 1, value: state.moment },
    (moment) => choose(moment),
    (moment) => describe(moments[moment]),
  );
  const player = new Player(
    Math.min(Math.max(DURATION / moments.length, SHORTEST), LONGEST),
    () => {
      if (state.moment === last) return false;
      state.moment += 1;
      show();
      return true;
    },
    (playing) => {
      play.textContent = playing ? "Pause" : "Play";
      if (playing) return;
      explorer.announce(`Stopped at ${moments[state.moment].label}.`);
      explorer.viewChanged();
    },
  );
  const play = button("Play", () => {
    if (player.playing) return player.pause();
    if (state.moment === last) state.moment = 0;
    show();
    player.play();
  });
  const previous = button("Previous", () => choose(state.moment - 1));
  const next = button("Next", () => choose(state.moment + 1));

  /** @param {number} moment */
  const choose = (moment) => {
    player.pause();
    state.moment = Math.min(Math.max(moment, 0), last);
    show();
    explorer.viewChanged();
  };
  /** @param {number} latent */
  const follow = (latent) => {
    stop(latent);
    state.latent = state.latent === latent ? null : latent;
    strip.show(state.latent, state.moment);
    show();
    explorer.announce(
      state.latent === null
        ? "Following no image."
        : `Following image ${latent + 1} through ${moments.length} moments.`,
    );
    explorer.viewChanged();
  };
  const show = () => {
    const { moment } = state;
    pictures.forEach(({ element, canvas }, n) => {
      drawImage(canvas, snapshots.image(moment, n), shape);
      element.setAttribute("aria-pressed", String(n === state.latent));
    });
    time.set(moment);
    previous.disabled = moment === 0;
    next.disabled = moment === last;
    verdicts.update(moments[moment].realLogits, moments[moment].fakeLogits);
    strip.mark(moment);
    curves.show(moment);
    const values = curves.values(moment);
    now.textContent = values && `Nearest records to this moment: ${values}.`;
  };

  fill(
    body,
    h("div", { class: "training-time" }, time.element, h("div", { class: "buttons" }, play, previous, next)),
    h(
      "div",
      { class: "training-columns" },
      h(
        "div",
        {},
        grid,
        h("p", { class: "note" }, "Choose an image to follow it alone."),
        h("h3", {}, "What D says of each image"),
        verdicts.element,
        hasAverage(content) &&
          h(
            "p",
            { class: "note" },
            "The pictures come from the moving average of G's weights. D trains against the latest weights.",
          ),
      ),
      h("div", {}, curves.element, now),
    ),
    strip.element,
  );
  const buttons = pictures.map(({ element }) => element);
  const stop = rove(
    grid,
    () => buttons,
    (n) => stop(n),
    () => countInRow(buttons),
  );
  stop(state.latent ?? 0);
  strip.show(state.latent, state.moment);
  show();
  return () => {
    player.pause();
    curves.destroy();
  };
}
