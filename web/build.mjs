/**
 * Build of the explorer page: bundles `src/` into one HTML file, src/reviver/explorer/template.html.
 *
 *     node build.mjs [OUT]
 *
 * The page has two places that Python fills, see src/reviver/explorer/page.py: the title and the data blocks. The hashes of the script and of the style stand in its content security policy.
 */
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { argv } from "node:process";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import wabt from "wabt";

const root = dirname(fileURLToPath(import.meta.url));
const out = argv[2] ?? join(root, "../src/reviver/explorer/template.html");

/** Notice of the bundled libraries, which their license asks for. */
const NOTICE =
  "/* d3-scale, d3-shape, d3-axis, d3-selection and their dependencies: ISC, copyright Mike Bostock, d3js.org */";

/**
 * Assembles the SIMD kernel.
 * @returns {Promise<Uint8Array>}
 */
async function assembleKernel() {
  const assembler = await wabt();
  const source = await readFile(join(root, "src/compute/kernel.wat"), "utf8");
  const module = assembler.parseWat("kernel.wat", source, { simd: true });
  return module.toBinary({}).buffer;
}

/**
 * Plugin that resolves `wasm:kernel` to the bytes of the kernel in base64.
 * @type {import("esbuild").Plugin}
 */
const kernelPlugin = {
  name: "kernel",
  setup(builder) {
    builder.onResolve({ filter: /^wasm:kernel$/ }, ({ path }) => ({ path, namespace: "wasm" }));
    builder.onLoad({ filter: /.*/, namespace: "wasm" }, async () => {
      const bytes = await assembleKernel();
      return { contents: `export default ${JSON.stringify(Buffer.from(bytes).toString("base64"))};`, loader: "js" };
    });
  },
};

/**
 * Bundles an entry point into one minified text.
 * @param {string} entry
 * @param {import("esbuild").BuildOptions} options
 * @returns {Promise<string>}
 */
async function bundle(entry, options) {
  const result = await build({
    entryPoints: [join(root, entry)],
    bundle: true,
    minify: true,
    write: false,
    charset: "ascii",
    target: "es2022",
    legalComments: "none",
    ...options,
  });
  return /** @type {import("esbuild").OutputFile[]} */ (result.outputFiles)[0].text.trim();
}

/**
 * Hash of an inline script or style, as a content security policy names it.
 * @param {string} text
 */
const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

const script = `${NOTICE}\n${await bundle("src/main.js", { format: "iife", plugins: [kernelPlugin] })}`;
const style = await bundle("src/style.css", { loader: { ".css": "css" } });
if (/<\/(script|style)/i.test(script + style)) throw new Error("the bundle contains a closing tag");
const policy = [
  "default-src 'none'",
  `script-src ${hash(script)} 'wasm-unsafe-eval'`,
  `style-src ${hash(style)}`,
  "img-src data: blob:",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");
const parts = new Map([
  ["policy", policy],
  ["style", style],
  ["script", script],
]);
const page = (await readFile(join(root, "src/index.html"), "utf8")).replace(
  /\{\{(policy|style|script)\}\}/g,
  (_, name) => /** @type {string} */ (parts.get(name)),
);
await writeFile(out, page);
