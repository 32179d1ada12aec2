/**
 * Start of the page: reads the manifest, shows the navigation and the panel that the URL fragment names.
 *
 * For experiments in the console of the browser, `reviver` gives what the panels use:
 *
 *     const gan = await reviver.gan();                      // or reviver.gan(1), reviver.gan("gan-1")
 *     const images = gan.generate(gan.latents.grid);        // [25 · P] in [-1, 1]
 *     gan.discriminate(images), gan.classify(images)        // log-odds, class probabilities
 *     const lstm = await reviver.lstm();
 *     reviver.kernel.simd                                   // whether WebAssembly computes, with SIMD
 *
 * `simd=off` in the URL, as in explorer.html?simd=off or explorer.html#latent?simd=off, computes in plain JavaScript.
 */
import kernelBytes from "wasm:kernel";
import { Kernel } from "./compute/kernel.js";
import { fromBase64, readManifest } from "./data/blocks.js";
import { Explorer } from "./explorer.js";
import { copyPage, readLesson } from "./lessons/page.js";
import { PANELS } from "./panels/index.js";
import { lessonPanel } from "./panels/lesson.js";
import { Shell } from "./ui/shell.js";

/** Returns whether the URL turns SIMD off. */
function isSimdOff() {
  const inFragment = location.hash.split("?")[1];
  return [location.search, inFragment].some((text) => new URLSearchParams(text).get("simd") === "off");
}

/**
 * Defines `reviver` for the console.
 * @param {Explorer} explorer
 */
function defineConsole(explorer) {
  const { gans, lstms } = explorer.manifest;
  /**
   * @param {{id: string}[]} runs
   * @param {number | string} run index or id
   */
  const idOf = (runs, run) => (typeof run === "number" ? (runs[run]?.id ?? String(run)) : run);
  const reviver = {
    explorer,
    kernel: explorer.kernel,
    /** @param {number | string} [run] index or id */
    gan: (run = 0) => explorer.gan(idOf(gans, run)),
    /** @param {number | string} [run] index or id */
    lstm: (run = 0) => explorer.lstm(idOf(lstms, run)),
  };
  Object.assign(globalThis, { reviver: Object.freeze(reviver) });
}

async function start() {
  if (typeof DecompressionStream !== "function")
    throw new Error("this browser lacks DecompressionStream (Chrome 80, Firefox 113 or Safari 16.4 and later have it)");
  const source = copyPage(document); // before anything changes
  const app = /** @type {HTMLElement} */ (document.getElementById("app"));
  const [manifest, lesson] = await Promise.all([readManifest(), readLesson()]);
  const shell = new Shell(app, manifest, lesson);
  const kernel = await Kernel.create({ simd: isSimdOff() ? false : "auto", bytes: fromBase64(kernelBytes) });
  const explorer = new Explorer(manifest, kernel, shell);
  defineConsole(explorer);
  app.hidden = false; // panels may measure their width
  await shell.start(explorer, [...PANELS, lessonPanel(shell, source)]);
}

start().catch((error) => {
  const message = document.createElement("p");
  message.setAttribute("role", "alert");
  message.className = "alert";
  message.textContent = `The explorer could not start: ${error.message}.`;
  document.body.prepend(message);
  /** @type {HTMLElement} */ (document.getElementById("app")).hidden = true;
  console.error(error);
});
