/**
 * One latent through all moments of the training.
 */
import { sigmoid } from "../../compute/activations.js";
import { fill, h } from "../../ui/dom.js";
import { pictureButton } from "../../ui/picture_button.js";
import { countInRow, rove } from "../../ui/roving.js";

/** @typedef {import("../../models/snapshots.js").Snapshots} Snapshots */

/**
 * Creates a filmstrip.
 * @param {Snapshots} snapshots
 * @param {boolean} isProbability whether D's output gives a probability
 * @param {(moment: number) => void} onselect
 */
export function filmstrip(snapshots, isProbability, onselect) {
  const frames = h("div", { class: "filmstrip", role: "group", "aria-label": "Moments of this image" });
  const title = h("h3", {});
  const element = h("section", { hidden: true }, title, frames);
  const buttons = () => [...frames.querySelectorAll("button")];
  const stop = rove(
    frames,
    buttons,
    (moment) => stop(moment),
    () => countInRow(buttons()),
  );

  /**
   * Shows a latent; hides the strip for null.
   * @param {number | null} latent
   * @param {number} current moment
   */
  const show = (latent, current) => {
    element.hidden = latent === null;
    if (latent === null) return;
    title.textContent = `Image ${latent + 1} through training`;
    const buttons = snapshots.moments.map(({ label, fakeLogits }, moment) => {
      const logit = fakeLogits[latent];
      const verdict = `D ${(isProbability ? sigmoid(logit) : logit).toFixed(2)}`;
      return pictureButton(
        snapshots.image(moment, latent),
        snapshots.shape,
        label,
        () => {
          stop(moment);
          onselect(moment);
        },
        h("span", { class: "frame-label" }, label),
        h("span", { class: "frame-verdict" }, ` ${verdict}`),
      ).element;
    });
    fill(frames, buttons);
    mark(current);
    stop(current);
  };

  /** @param {number} current moment */
  const mark = (current) => {
    [...frames.children].forEach((frame, moment) => frame.setAttribute("aria-pressed", String(moment === current)));
  };
  return { element, show, mark };
}
