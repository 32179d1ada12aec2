/**
 * C and JavaScript of a network of the page, as `reviver.recurrent.emit`, whose frames these are: loops over the units in C, and tiles of
 * rows, which `JAVASCRIPT` translates.
 */
import frameC from "../../../src/reviver/recurrent/network.h.txt";
import frameJs from "../../../src/reviver/recurrent/network.mjs.txt";
import type { LstmContent } from "../kit/manifest";
import { withSums } from "../train/cell_plan";
import { cellOf } from "../train/cells";
import { escape, literal, shift, toJavaScript } from "./code_text";
import { IN_MEMORY, stagesOf } from "./stages";

type Tensors = Record<string, Float32Array>;

const INFIX: Record<string, string> = { add: "+", sub: "-", mul: "*", div: "/" };
const NEEDS: Record<string, string[]> = {
  ...{ sigmoid: ["expm1"], tanh: ["expm1"], exp: ["expm1"], softplus: ["expm1", "exp", "log"], normalize: ["sqrt"] },
};
const WIDE = 32;

/** Whether a network can run step by step. */
export const canEmit = ({ bidirectional }: LstmContent) => !bidirectional;

/** Returns the file of a network whose weights have the names of the page. */
export function emit(content: LstmContent, tensors: Tensors, language: "C" | "JavaScript"): string {
  const { inputSize: I, hiddenSize: H, numLayers: L, outputSize: C, pooling, patchSize, standardization } = content;
  const isC = language === "C";
  const cell = cellOf(content.cell);
  const { graph, sums, build } = withSums(cell);
  const found = [...cell.quantities].map(([name, { node }]) => [build(node), name] as const);
  const names = new Map(found);
  const { nodes } = graph;
  const outputs = cell.states.map((name) => [name, build(cell.quantities.get(name)!.node)] as const);
  const zoneout = content.hiddenDropoutKind === "zoneout" ? content.hiddenDropout : 0;
  const words = new Set(["float", pooling, patchSize > 1 ? "patches" : "whole"]);
  if (standardization) words.add("standardized");
  else if (patchSize === 1 && I > 1) words.add("symbol");
  if (H >= WIDE) words.add("wide");
  if (content.classNames.length) words.add("classes");
  const tiles = new Set<string>();
  const data: string[] = [];

  const array = (name: string, values: ArrayLike<number>) => {
    const numbers = Array.from(values, literal);
    const rows = numbers.flatMap((_, k) => (k % 8 ? [] : [numbers.slice(k, k + 8).join(", ")]));
    data.push(`static const float net_${name}[${numbers.length}] NET_ALIGNED = {\n    ${rows.join(",\n    ")}\n};`);
  };
  /** Adds the weights of y = bias + matrix v, rows of n columns, and returns the calls that compute it. */
  const product = (
    name: string,
    rows: Float32Array[],
    bias: ArrayLike<number>,
    y: string,
    v: string,
    flags = "0, 0",
  ) => {
    const n = rows[0].length;
    const tile = H >= WIDE ? 64 : 32;
    const full = rows.length - (rows.length % tile);
    const packed: number[] = [];
    const calls = [
      [0, full, tile],
      [full, rows.length - full, rows.length - full],
    ].flatMap(([first, count, R]) => {
      if (!count) return [];
      const K = R > 32 ? 1 : 4 * R <= 64 && n % 4 === 0 ? 4 : 2;
      tiles.add(`NET_SUMS(${R}, ${K})`);
      for (let top = first; top < first + count; top += R)
        for (let k = 0; k < n; k++) for (let j = 0; j < R; j++) packed.push(rows[top + j][k]);
      const places = `${shift(y, first)}, ${shift(`net_w_${name}`, first * n)}, ${shift(`net_b_${name}`, first)}`;
      return [`net_sums_${R}x${K}(${places}, 0, ${count}, ${v}, ${n}, ${flags});`];
    });
    array(`w_${name}`, packed);
    array(`b_${name}`, bias);
    return calls;
  };
  const rowsOf = (matrix: Float32Array, n: number) =>
    Array.from({ length: matrix.length / n }, (_, k) => matrix.subarray(k * n, (k + 1) * n));

  const { needed, level, due, last, kept } = stagesOf(
    nodes,
    outputs.map(([, node]) => node),
  );

  /** The loop of a stage, as `loop`. */
  const loop = (at: number, places: Map<number, string>) => {
    const values = needed.filter((index) => !IN_MEMORY.includes(nodes[index].op) && due.get(index) === at);
    const local = new Map<number, string>();
    const readsOf = (index: number) => values.flatMap((reader) => nodes[reader].args.filter((arg) => arg === index));
    const code = (index: number): string => {
      const { op, args, value } = nodes[index];
      const [base, offset] = places.get(index)?.split(" + ") ?? [];
      if (local.has(index)) return local.get(index)!;
      if (base && !values.includes(index)) return offset ? `${base}[${offset} + j]` : `${base}[j]`;
      if (op === "number") return literal(Number(value));
      const [a, b] = args.map(code);
      if (op === "dropout") return zoneout ? `(${literal(1 - zoneout)} * ${a} + ${literal(zoneout)} * h_[j])` : a;
      for (const name of [op, ...(NEEDS[op] ?? [])]) words.add(`${name}()`);
      if (op in INFIX) return `(${a} ${INFIX[op]} ${b})`;
      if (op === "neg") return `(-${a})`;
      if (op === "normalize") return `((${a} - m${index}) * r${index})`;
      return `net_${op}(${[a, b].filter((part) => part).join(", ")})`;
    };
    const isOutput = (index: number, name?: string) =>
      outputs.some(([state]) => state === name) && name === names.get(index);
    const lines = values.flatMap((index) => {
      const name = names.get(index);
      if (!name && readsOf(index).length <= 1 && !kept.has(index)) return [];
      const text = code(index);
      local.set(index, isOutput(index, name) ? `${name}_new` : name ? `${name}_` : `n${index}`);
      const store = kept.has(index) ? [`${places.get(index)}[j] = ${local.get(index)};`] : [];
      return [`const float ${local.get(index)} = ${text};`, ...store];
    });
    if (at === last) {
      for (const [name, node] of outputs)
        if (local.get(node) !== `${name}_new`) lines.push(`const float ${name}_new = ${code(node)};`);
      lines.push(...outputs.map(([name]) => `${name}_[j] = ${name}_new;`));
    }
    return lines.length ? [`for (j = 0; j < ${H}; j++) {`, ...lines.map((line) => `    ${line}`), "}"] : [];
  };

  /** The function of a layer, as `layer`. */
  const layer = (at: number, inputs: number) => {
    const weights = (name: string) => tensors[`${content.cell === "lstm" ? "lstm" : "rnn"}.layers.${at}.${name}`];
    const places = new Map([...kept].map((index) => [index, `t${index}`]));
    const sizes = new Map([...kept].map((index) => [`t${index}`, H]));
    const moments: string[] = [];
    const lines: string[] = [];
    nodes.forEach(({ op, value }, index) => {
      if (op === "state") places.set(index, `${value}_`);
      if (op !== "vector") return;
      places.set(index, `net_v_${value}_${at}`);
      array(`v_${value}_${at}`, weights(String(value)));
    });
    for (let depth = 0; depth <= last; depth++) {
      const groups = new Map<string, number[]>();
      for (const index of needed) {
        if (!sums.has(index) || level.get(index) !== depth) continue;
        const key = JSON.stringify(sums.get(index)!.terms.map(({ operand }) => operand));
        groups.set(key, [...(groups.get(key) ?? []), index]);
      }
      [...groups].forEach(([key, members], number) => {
        const operands = JSON.parse(key) as (number | null)[];
        const name = `${depth}_${number}`;
        const widths = operands.map((operand) => (operand === null ? inputs : H));
        const hasX = operands[0] === null;
        let v = hasX ? "x" : places.get(operands[0]!)!;
        if (operands.length > 1) {
          v = `v${name}`;
          let begin = 0;
          operands.forEach((operand, k) => {
            const [from, to] = [operand === null ? "skip" : "0", begin ? `${begin} + j` : "j"];
            lines.push(
              `for (j = ${from}; j < ${widths[k]}; j++) ${v}[${to}] = ${operand === null ? "x" : places.get(operand)}[j];`,
            );
            begin += widths[k];
          });
          sizes.set(v, begin);
        }
        const rows = members.flatMap((member) =>
          Array.from({ length: H }, (_, u) =>
            Float32Array.from(
              sums.get(member)!.terms.flatMap(({ matrix }, k) => [...rowsOf(weights(matrix), widths[k])[u]]),
            ),
          ),
        );
        const bias = members.flatMap((member) => {
          const { bias: of } = sums.get(member)!;
          return of === null ? new Array<number>(H).fill(0) : [...weights(of)];
        });
        sizes.set(`z${name}`, H * members.length);
        lines.push(...product(`${at}_${name}`, rows, bias, `z${name}`, v, hasX ? "skip, symbol" : "0, 0"));
        members.forEach((member, k) => places.set(member, shift(`z${name}`, k * H)));
      });
      for (const index of needed) {
        if (nodes[index].op !== "normalize" || level.get(index) !== depth) continue;
        words.add("normalize()").add("sqrt()");
        const vector = places.get(nodes[index].args[0]);
        moments.push(`float m${index}, r${index};`);
        lines.push(
          `m${index} = net_mean_of(${vector}, ${H});`,
          `r${index} = net_factor_of(${vector}, ${H}, m${index});`,
        );
      }
      lines.push(...loop(depth, places));
    }
    const states = cell.states.map((name) => `*${name}_ = s->${name}_[${at}]`).join(", ");
    const local = [`float ${states};`, ...[...sizes].map(([name, size]) => `float ${name}[${size}];`), "int j;"];
    const body = [...local, ...moments, ...lines].map((line) => `    ${line}`).join("\n");
    const parameters = "net_state *NET_RESTRICT s, const float *NET_RESTRICT x, int skip, int symbol";
    return `static inline void net_layer${at}(${parameters}) {\n${body}\n}`;
  };

  const layers = Array.from({ length: L }, (_, at) => layer(at, at ? H : I * patchSize));
  const others = Array.from({ length: L - 1 }, (_, k) => `net_layer${k + 1}(s, s->h_[${k}], 0, 0);`);
  const calls = ["net_layer0(s, x, skip, symbol);", ...others];
  const head = (name: string, n: number) => rowsOf(tensors[name], n);
  const emitted: Record<string, string> = {
    ...{ functions: layers.join("\n\n"), calls: calls.join("\n    ") },
    read: product("out", head("W_out", H), tensors.b_out, "logits", "p").join("\n    "),
    states: cell.states.map((name) => `float ${name}_[NET_LAYERS][NET_UNITS];`).join("\n    "),
    count: pooling === "mean" ? "(float)s->steps" : "s->total",
  };
  if (pooling === "attention") {
    for (const name of ["tanh()", "exp()", "expm1()"]) words.add(name);
    emitted.attend = product("att", head("W_att", H), tensors.b_att, "z", "h").join("\n    ");
    array("u_att", tensors.u_att);
  }
  if (standardization) {
    array("mean", standardization.mean);
    array(
      "mean_rest",
      standardization.mean.map((value) => value - Math.fround(value)),
    );
    array("deviation", standardization.scale);
  }
  emitted.data = data.join("\n");
  const about = [content.name, "from the explorer of Reviver", "", ...cell.text.split("\n")].map((line) =>
    line
      .replace(/[^\p{L}\p{N} -~]/gu, " ")
      .replace(/\*(?=\/)|\/(?=\*)|\?(?=\?)/g, "$& ")
      .replaceAll("\\", "|"),
  );
  const classes = isC
    ? content.classNames.map((name) => `"${escape(name)}"`).join(", ")
    : JSON.stringify(content.classNames);
  const values: Record<string, string | number> = {
    ...{ inputs: I, outputs: C, units: H, layers: L, patch: patchSize, classes, tiles: [...tiles].join("\n") },
    ...{ raw: standardization ? ", raw numbers" : "", about: about.map((line) => ` * ${line}`.trimEnd()).join("\n") },
    ...Object.fromEntries(Object.entries(emitted).map(([name, text]) => [name, isC ? text : toJavaScript(text)])),
  };
  return (isC ? frameC : frameJs)
    .replace(/^\/\/\? (.+)\n([^]*?)^\/\/\?\n/gm, (_, any: string, text: string) =>
      any.split(" ").some((word) => words.has(word)) ? text : "",
    )
    .replace(/@(\w+)@/g, (_, name: string) => String(values[name]));
}
