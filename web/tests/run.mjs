/**
 * Computes what Python asks for, with the modules of the page: `node run.mjs gan|lstm FILE`. FILE has the requests as JSON; the
 * results go to standard output, typed arrays as arrays.
 */
import { readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { argv, pid, stdout } from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { bundle } from "../bundle.mjs";

const [name, file] = argv.slice(2);
const built = join(tmpdir(), `reviver-${name}-${pid}.mjs`);
const entry = fileURLToPath(new URL(`${name}.ts`, import.meta.url));
await writeFile(built, await bundle(entry, { format: "esm", platform: "node" }));
const { run } = await import(pathToFileURL(built).href).finally(() => rm(built));
const results = await run(JSON.parse(await readFile(file, "utf8")));
stdout.write(JSON.stringify(results, (_, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value)));
