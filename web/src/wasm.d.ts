/** The kernel in base64, which build.mjs assembles. */
declare module "wasm:kernel" {
  const base64: string;
  export default base64;
}
