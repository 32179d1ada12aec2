/** The kernel in base64, which build.mjs assembles. */
declare module "wasm:kernel" {
  const base64: string;
  export default base64;
}
/** The kernel of training in base64, which build.mjs compiles of kernel/training.ts. */
declare module "wasm:training" {
  const base64: string;
  export default base64;
}
/** The script of src/train/worker.ts. */
declare module "worker:train" {
  const script: string;
  export default script;
}
