/** Bundles of the sources, for the page and for the tests in Node.js. */
import { readFile } from "node:fs/promises";
import { build } from "esbuild";
import wabt from "wabt";

/** Resolves `wasm:kernel` to the bytes of the assembled kernel in base64. */
const kernel = {
  name: "kernel",
  setup(builder) {
    builder.onResolve({ filter: /^wasm:kernel$/ }, ({ path }) => ({ path, namespace: "wasm" }));
    builder.onLoad({ filter: /.*/, namespace: "wasm" }, async () => {
      const source = await readFile(new URL("src/compute/kernel.wat", import.meta.url), "utf8");
      const { buffer } = (await wabt()).parseWat("kernel.wat", source, { simd: true }).toBinary({});
      return { contents: `export default ${JSON.stringify(Buffer.from(buffer).toString("base64"))};`, loader: "js" };
    });
  },
};

/** Bundles an entry point into one text. */
export async function bundle(entry, options) {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    charset: "ascii",
    target: "es2022",
    legalComments: "none",
    jsx: "automatic",
    jsxImportSource: "preact",
    plugins: [kernel],
    ...options,
  });
  return outputFiles[0].text.trim();
}
