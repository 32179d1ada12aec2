/** WebAssembly of what a stage computes by units: a loop over the rows of matrices, four numbers at a time. */
import type { Graph } from "../compute/cell_graph";
import type { Stage } from "./cell_plan";
import type { Kernel } from "../compute/memory";

const unsigned = (n: number): number[] => (n < 128 ? [n] : [(n & 127) | 128, ...unsigned(n >>> 7)]);
const signed = (n: number): number[] => (n >= -64 && n < 64 ? [n & 127] : [(n & 127) | 128, ...signed(n >> 7)]);
const list = (items: number[][]) => [...unsigned(items.length), ...items.flat()];
const section = (id: number, bytes: number[]) => [id, ...unsigned(bytes.length), ...bytes];
const text = (name: string) => [...unsigned(name.length), ...[...name].map((letter) => letter.charCodeAt(0))];
const simd = (code: number) => [0xfd, ...unsigned(code)];
const get = (local: number) => [0x20, ...unsigned(local)];
const set = (local: number) => [0x21, ...unsigned(local)];
const i32 = (value: number) => [0x41, ...signed(value)];
const ADD_I32 = [0x6a];
const [I32, V128] = [0x7f, 0x7b];
const LOAD = [...simd(0x00), 0, 0];
const LOAD_SPLAT = [...simd(0x09), 0, 0];
const STORE = [...simd(0x0b), 0, 0];
const SPLAT = simd(0x13);
const [GT, EQ, AND, ANDNOT, BITSELECT] = [0x44, 0x41, 0x4e, 0x4f, 0x52].map(simd);
const [ABS, NEG, SQRT, ADD, SUB, MUL, DIV, MIN, MAX] = [0xe0, 0xe1, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9].map(simd);

/** Functions of the kernel, of four numbers. */
const IMPORTED = ["sigmoid", "tanh", "exp", "log", "softplus"];

function number(value: number): number[] {
  const bytes = new Uint8Array(new Float32Array([value]).buffer);
  return [0x43, ...bytes, ...SPLAT];
}

/** A matrix or a vector that a stage reads or writes. */
export interface Slot {
  node: number;
  kind: "load" | "store" | "vector" | "mask";
}

/** The code of an operation whose arguments are in locals. */
function codeOf(op: string, [a, b, c]: number[][], mask: number[] | null): number[] {
  const binary: Record<string, number[]> = { add: ADD, sub: SUB, mul: MUL, div: DIV, max: MAX, min: MIN };
  if (op in binary) return [...a, ...b, ...binary[op]];
  if (IMPORTED.includes(op)) return [...a, 0x10, IMPORTED.indexOf(op)];
  const one = number(1);
  switch (op) {
    case "neg":
      return [...a, ...NEG];
    case "abs":
      return [...a, ...ABS];
    case "sqrt":
      return [...a, ...SQRT];
    case "relu":
      return [...a, ...number(0), ...MAX];
    case "dropout":
      return [...mask!, ...a, ...MUL];
    case "sigmoid_grad":
      return [...a, ...b, ...one, ...b, ...SUB, ...MUL, ...MUL];
    case "tanh_grad":
      return [...a, ...one, ...b, ...b, ...MUL, ...SUB, ...MUL];
    case "relu_grad":
      return [...a, ...b, ...number(0), ...GT, ...AND];
    case "abs_grad": // with the sign of b, 0 at 0
      return [...a, ...a, ...NEG, ...b, ...number(0), ...GT, ...BITSELECT, ...b, ...number(0), ...EQ, ...ANDNOT];
    case "pick": // half where both are equal
      return [
        ...[...a, ...a, ...number(0.5), ...MUL, ...b, ...c, ...EQ, ...number(0), ...EQ, ...BITSELECT],
        ...[...b, ...c, ...GT, ...b, ...c, ...EQ, ...simd(0x50), ...AND],
      ];
  }
  throw new Error(`no code for ${op}`);
}

/** A stage whose code is ready; `run` takes the addresses of the slots, rows, bytes of a row, and bytes to the next. */
export interface Part extends Stage {
  slots: Slot[];
  run: ((...numbers: number[]) => void) | null;
}

/** Compiles a stage; `isStored` says which nodes are in matrices already. */
export function compileStage(kernel: Kernel, graph: Graph, stage: Stage, isStored: (node: number) => boolean): Part {
  if (!stage.store.length) return { ...stage, slots: [], run: null };
  const { slots, module } = emitStage(graph, stage.store, isStored);
  const k = Object.fromEntries(["memory", ...IMPORTED].map((name) => [name, kernel[name]]));
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module), { k });
  return { ...stage, slots, run: exports.run as Part["run"] };
}

/** Returns the slots of a stage and its module; `isStored` says which nodes are in matrices already. */
function emitStage({ nodes }: Graph, store: number[], isStored: (index: number) => boolean) {
  const slots: Slot[] = [];
  const order: number[] = [];
  const visit = (index: number) => {
    if (order.includes(index) || slots.some(({ node, kind }) => node === index && kind !== "store")) return;
    const { op, args } = nodes[index];
    if (op === "vector") return void slots.push({ node: index, kind: "vector" });
    if (op === "state" || op === "carry" || (isStored(index) && !store.includes(index)))
      return void slots.push({ node: index, kind: "load" });
    args.forEach(visit);
    if (op === "dropout" && !slots.some(({ kind }) => kind === "mask")) slots.push({ node: -1, kind: "mask" });
    order.push(index);
  };
  store.forEach(visit);
  for (const node of store) slots.push({ node, kind: "store" });
  const n = slots.length;
  const [rows, bytes, stride, offset] = [n, n + 1, n + 2, n + 3];
  const local = new Map<number, number>();
  const localOf = (index: number) => {
    if (!local.has(index)) local.set(index, n + 4 + local.size);
    return local.get(index)!;
  };
  const address = (k: number) => [...get(k), ...get(offset), ...ADD_I32];
  const read = slots.flatMap(({ node, kind }, k) =>
    kind === "load" || kind === "mask" ? [...address(k), ...LOAD, ...set(localOf(node))] : [],
  );
  const vectors = slots.flatMap(({ node, kind }, k) =>
    kind === "vector" ? [...get(k), ...LOAD_SPLAT, ...set(localOf(node))] : [],
  );
  const work = order.flatMap((index) => {
    const { op, args, value } = nodes[index];
    const code =
      op === "number"
        ? number(value as number)
        : codeOf(
            op,
            args.map((arg) => get(localOf(arg))),
            op === "dropout" ? get(localOf(-1)) : null,
          );
    return [...code, ...set(localOf(index))];
  });
  const write = slots.flatMap(({ node, kind }, k) =>
    kind === "store" ? [...address(k), ...get(localOf(node)), ...STORE] : [],
  );
  const advance = slots.flatMap(({ kind }, k) => [
    ...[...get(k), ...(kind === "vector" ? i32(4) : get(stride)), ...ADD_I32, ...set(k)],
  ]);
  const step = [...get(offset), ...i32(16), ...ADD_I32, 0x22, ...unsigned(offset), ...get(bytes), 0x48, 0x0d, 0];
  const inner = [...i32(0), ...set(offset), 0x03, 0x40, ...read, ...work, ...write, ...step, 0x0b];
  const count = [...get(rows), ...i32(-1), ...ADD_I32, 0x22, ...unsigned(rows), 0x0d, 0];
  const body = [0x03, 0x40, ...vectors, ...inner, ...advance, ...count, 0x0b, 0x0b];
  const locals = list([[1, I32], ...(local.size ? [[...unsigned(local.size), V128]] : [])]);
  const code = [...locals, ...body];
  const types = [
    [0x60, ...list([[V128]]), ...list([[V128]])],
    [0x60, ...list(Array.from({ length: n + 3 }, () => [I32])), 0],
  ];
  const imports = [
    ...IMPORTED.map((name) => [...text("k"), ...text(name), 0x00, 0]),
    [...text("k"), ...text("memory"), 0x02, 0x00, 1],
  ];
  const module = Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, list(types)),
    ...section(2, list(imports)),
    ...section(3, list([[1]])),
    ...section(7, list([[...text("run"), 0x00, ...unsigned(IMPORTED.length)]])),
    ...section(10, list([[...unsigned(code.length), ...code]])),
  ]);
  return { slots, module };
}
