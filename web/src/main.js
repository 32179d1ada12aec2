/**
 * Start of the page: reads the manifest, shows the navigation and the panel that the URL fragment names.
 *
 * Without scripts, or if this fails, a reader sees the static part, which Python has written.
 */
import { Kernel } from "./compute/kernel.js";
import { readManifest } from "./data/blocks.js";
import { Explorer } from "./explorer.js";
import { PANELS } from "./panels/index.js";
import { Shell } from "./ui/shell.js";

async function start() {
  const app = /** @type {HTMLElement} */ (document.getElementById("app"));
  const manifest = await readManifest();
  const shell = new Shell(app, manifest, PANELS);
  const explorer = new Explorer(manifest, new Kernel(), shell);
  await shell.start(explorer);
  app.hidden = false;
  /** @type {HTMLElement} */ (document.getElementById("static")).hidden = true;
}

start().catch((error) => {
  const message = document.createElement("p");
  message.setAttribute("role", "alert");
  message.textContent = `The interactive part could not start: ${error.message}. The results below are complete.`;
  document.body.prepend(message);
  console.error(error);
});
