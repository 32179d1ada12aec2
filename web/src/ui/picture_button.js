/**
 * A button that is a picture.
 */
import { h } from "./dom.js";
import { imageCanvas } from "./image.js";

/**
 * Creates a button with an image. A text below the image is its name; else `label` is.
 * @param {Float32Array | null} pixels [C, H, W] in [-1, 1]; drawn later if null
 * @param {[number, number, number]} shape
 * @param {string} label
 * @param {() => void} onclick
 * @param {...(Node | string | false | null)} below the image
 */
export function pictureButton(pixels, shape, label, onclick, ...below) {
  const canvas = imageCanvas(pixels, shape, label);
  canvas.removeAttribute("role"); // the button has the label
  canvas.removeAttribute("aria-label");
  canvas.setAttribute("aria-hidden", "true");
  const name = below.some(Boolean) ? null : label;
  const element = h(
    "button",
    { type: "button", class: "picture-button", "aria-label": name, onclick },
    canvas,
    ...below,
  );
  return { element, canvas };
}
