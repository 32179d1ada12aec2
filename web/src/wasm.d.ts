/** A module of kernel/ in base64, which bundle.mjs compiles. */
declare module "wasm:*" {
  const base64: string;
  export default base64;
}
/** The script of src/train/worker.ts. */
declare module "worker:train" {
  const script: string;
  export default script;
}

declare module "*.cell" {
  const text: string;
  export default text;
}

declare module "*.txt" {
  const text: string;
  export default text;
}
