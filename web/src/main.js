/**
 * Start of the page: reads the manifest, shows the navigation and the panel that the URL fragment names.
 *
 * Without scripts, or if this fails, a reader sees the static part, which Python has written.
 */
import { Kernel } from "./compute/kernel.js";
import { readManifest } from "./data/blocks.js";
import { Explorer } from "./explorer.js";
import { copyPage, readLesson } from "./lessons/page.js";
import { PANELS } from "./panels/index.js";
import { lessonPanel } from "./panels/lesson.js";
import { Shell } from "./ui/shell.js";

async function start() {
  if (typeof DecompressionStream !== "function")
    throw new Error("this browser lacks DecompressionStream (Chrome 80, Firefox 113 or Safari 16.4 and later have it)");
  const source = copyPage(document); // before anything changes
  const app = /** @type {HTMLElement} */ (document.getElementById("app"));
  const [manifest, lesson] = await Promise.all([readManifest(), readLesson()]);
  const shell = new Shell(app, manifest, lesson);
  const explorer = new Explorer(manifest, new Kernel(), shell);
  app.hidden = false; // panels may measure their width
  /** @type {HTMLElement} */ (document.getElementById("static")).hidden = true;
  await shell.start(explorer, [...PANELS, lessonPanel(shell, source)]);
}

start().catch((error) => {
  const message = document.createElement("p");
  message.setAttribute("role", "alert");
  message.className = "alert";
  message.textContent = `The interactive part could not start: ${error.message}. The results below are complete.`;
  document.body.prepend(message);
  /** @type {HTMLElement} */ (document.getElementById("app")).hidden = true;
  /** @type {HTMLElement} */ (document.getElementById("static")).hidden = false;
  console.error(error);
});
