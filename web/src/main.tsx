/**
 * Start of the page: reads the manifest, shows the navigation and the panel that the URL fragment names.
 *
 * For experiments in the console of the browser, `reviver` gives what the panels use:
 *
 *     const gan = await reviver.gan();                      // or reviver.gan(1), reviver.gan("gan-1")
 *     const images = gan.generate(gan.latents.grid);        // [25 · P] in [-1, 1]
 *     gan.discriminate(images), gan.classify(images)        // log-odds, class probabilities
 *     const lstm = await reviver.lstm();
 *     const trainer = reviver.trainer();                    // trains in a worker, see train/protocol.ts
 *     const images = await reviver.images();                // for a GAN
 */
import { compileKernel } from "./compute/memory";
import { loadGan } from "./gan/gan";
import { readJson } from "./kit/bytes";
import type { Manifest } from "./kit/manifest";
import { loadLstm } from "./lstm/lstm";
import { copyPage, readLesson } from "./page/lesson";
import { Shell } from "./page/shell";
import { panels } from "./panels";
import { readImages } from "./train/images";
import { Trainer } from "./train/trainer";

/** Defines `reviver` for the console, where a run has an index or an id. */
function defineConsole(manifest: Manifest) {
  const find = <R extends { id: string }>(runs: R[], run: number | string) => {
    const found = runs.find(({ id }, index) => run === index || run === id);
    if (!found) throw new Error(`the file has no run ${run}`);
    return found;
  };
  const reviver = {
    manifest,
    gan: async (run: number | string = 0) => loadGan(find(manifest.gans, run)),
    lstm: async (run: number | string = 0) => loadLstm(find(manifest.lstms, run)),
    trainer: () => new Trainer(),
    images: () => manifest.trainingImages && readImages(manifest.trainingImages),
  };
  Object.assign(globalThis, { reviver: Object.freeze(reviver) });
}

async function start(app: HTMLElement) {
  const source = copyPage(document); // before anything changes
  const [manifest, lesson] = await Promise.all([readJson("manifest") as Promise<Manifest>, readLesson()]);
  if (manifest.schemaVersion !== 1) throw new Error(`the file has data of version ${manifest.schemaVersion}, not 1`);
  await compileKernel();
  defineConsole(manifest);
  app.hidden = false; // panels may measure their width
  const shell: Shell = new Shell(
    manifest,
    lesson,
    panels(source, () => shell),
  );
  await shell.start(app);
}

const app = document.getElementById("app")!;
start(app).catch((error) => {
  const message = document.createElement("p");
  message.setAttribute("role", "alert");
  message.className = "card alert";
  message.textContent = `The explorer could not start: ${error.message}.`;
  document.body.prepend(message);
  app.hidden = true;
  console.error(error);
});
