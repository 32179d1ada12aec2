/**
 * Computes what Python asks for, with the modules of the page: `node run.mjs train|gan|lstm|cells BUNDLE FILE`. BUNDLE is built
 * where it is missing, FILE has the requests as JSON; the results go to standard output, typed arrays as arrays.
 */
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { argv, stdout } from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";

const [name, built, file] = argv.slice(2);
if (!existsSync(built)) {
  const { bundle } = await import("../bundle.mjs");
  const entry = fileURLToPath(new URL(`${name}.ts`, import.meta.url));
  await writeFile(built, await bundle(entry, { format: "esm", platform: "node" }));
}
const { run } = await import(pathToFileURL(built).href);
const results = await run(JSON.parse(await readFile(file, "utf8")));
stdout.write(JSON.stringify(results, (_, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value)));
