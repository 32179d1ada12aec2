/**
 * Build of the explorer page: bundles `src/` into one HTML file, src/reviver/explorer/template.html.
 *
 *     node build.mjs [OUT]
 *
 * The page has two places that Python fills, see src/reviver/explorer/page.py: the title and the data blocks. The hashes of
 * the script and of the style stand in its content security policy.
 */
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { argv } from "node:process";
import { fileURLToPath } from "node:url";
import { bundle } from "./bundle.mjs";

const root = dirname(fileURLToPath(import.meta.url));
const out = argv[2] ?? join(root, "../src/reviver/explorer/template.html");

/** Notices of the bundled libraries, which their licenses ask for. */
const NOTICE = `/* All MIT but d3-array. Preact and its signals: copyright Jason Miller and Preact Team, preactjs.com. fflate: copyright
Arjun Barrett, github.com/101arrowz/fflate. noble-hashes: copyright Paul Miller, paulmillr.com. d3-array: ISC, copyright
2010-2026 Mike Bostock, d3js.org */`;

/** Hash of an inline script or style, as a content security policy names it. */
const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

const script = `${NOTICE}\n${await bundle(join(root, "src/main.tsx"), { minify: true, format: "iife" })}`;
const style = await bundle(join(root, "src/style.css"), { minify: true });
if (/<\/(script|style)/i.test(script + style)) throw new Error("the bundle contains a closing tag");
// A frame has the character set of the page around it, and the hashes must hold in any.
if (/[^\n -~]/.test(script + style)) throw new Error("the bundle has characters that are not ASCII");
const policy = [
  "default-src 'none'",
  `script-src ${hash(script)} 'wasm-unsafe-eval'`,
  `style-src ${hash(style)}`,
  "img-src data: blob:",
  "worker-src blob:",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");
const parts = { policy, style, script };
const page = await readFile(join(root, "src/index.html"), "utf8");
await writeFile(
  out,
  page.replace(/\{\{(policy|style|script)\}\}/g, (_, name) => parts[name]),
);
