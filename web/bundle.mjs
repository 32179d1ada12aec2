/** Bundles of the sources, for the page and for the tests in Node.js. */
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import asc from "assemblyscript/asc";
import { build } from "esbuild";

const read = (path) => readFile(new URL(path, import.meta.url), "utf8");

/** Compiles a module of kernel/, which takes seconds; the result is kept in node_modules/.cache. */
async function compileKernel(module) {
  const names = (await readdir(new URL("kernel/", import.meta.url))).sort();
  const texts = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await read(`kernel/${name}`)])));
  const key = createHash("sha256")
    .update(JSON.stringify([module, texts, asc.version]))
    .digest("hex");
  const folder = new URL("node_modules/.cache/", import.meta.url);
  const kept = new URL(`${module}-${key}.wasm`, folder);
  const found = await readFile(kept).catch(() => null);
  if (found) return found;
  const flags = ["-O3", "--noAssert", "--runtime", "stub", "--enable", "simd", "--initialMemory", "1"];
  let binary;
  const { error, stderr } = await asc.main([`${module}.ts`, "--outFile", "kernel.wasm", ...flags], {
    readFile: (name) => texts[name] ?? null,
    writeFile: (_, contents) => (binary = contents),
    listFiles: () => [],
  });
  if (error) throw new Error(stderr.toString());
  await mkdir(folder, { recursive: true });
  await writeFile(kept, binary);
  return binary;
}

/** Resolves `wasm:MODULE` to the bytes of a kernel in base64, `worker:train` to the script of the worker. */
const parts = {
  name: "parts",
  setup(builder) {
    builder.onResolve({ filter: /^(wasm|worker):/ }, ({ path }) => ({ path, namespace: "part" }));
    builder.onLoad({ filter: /.*/, namespace: "part" }, async ({ path }) => {
      const [kind, module] = path.split(":");
      const text =
        kind === "wasm"
          ? Buffer.from(await compileKernel(module)).toString("base64")
          : await bundle("src/train/worker.ts", { minify: true, format: "iife", platform: "browser" });
      return { contents: `export default ${JSON.stringify(text)};`, loader: "js" };
    });
  },
};

/** Bundles an entry point into one text. */
export async function bundle(entry, options) {
  const { outputFiles } = await build({
    absWorkingDir: new URL(".", import.meta.url).pathname,
    entryPoints: [entry],
    bundle: true,
    write: false,
    charset: "ascii",
    target: "es2022",
    legalComments: "none",
    jsx: "automatic",
    jsxImportSource: "preact",
    loader: { ".cell": "text", ".txt": "text" },
    plugins: [parts],
    ...options,
  });
  return outputFiles[0].text.trim();
}
