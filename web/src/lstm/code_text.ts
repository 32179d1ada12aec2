/** Numbers, names and texts as C writes them, and C as JavaScript. */

const digits = (value: number) => String(Number(value.toPrecision(9)));
export const literal = (value: number) => (/[.e]/.test(digits(value)) ? `${digits(value)}f` : `${digits(value)}.0f`);
export const shift = (name: string, by: number) => (by ? `${name} + ${by}` : name);
export const escape = (text: string) =>
  Array.from(new TextEncoder().encode(text), (byte) =>
    byte < 32 || byte > 126 || [34, 63, 92].includes(byte)
      ? `\\${byte.toString(8).padStart(3, "0")}`
      : String.fromCharCode(byte),
  ).join("");

const JAVASCRIPT: [RegExp, string][] = [
  [/static const float net_(\w+)\[\d+\] \w+ = \{([^}]*)\};/g, "const net_$1 = new Float32Array([$2]);"],
  [/static inline void net_(\w+)\(.*\) \{/g, "function net_$1(s, x, skip, symbol) {"],
  [/float (\w+)\[NET_LAYERS\].*;/g, "$1: layers(),"],
  [/float (\w+)\[(\d+)\];/g, "const $1 = new Float64Array($2);"],
  [/const float |float \*/g, "const "],
  [/\bint (?=j;)|\bfloat (?=m\d)/g, "let "],
  [/, \*/g, ", "],
  [/net_sums_(\d+)x\d\(/g, "sums($1, "],
  [/(\w+) \+ (\d+)(?=[,)])/g, "$1.subarray($2)"],
  [/(\d)f\b/g, "$1"],
  [/\bnet_(?!\w+(_|_new)\b)/g, ""],
  [/->/g, "."],
  [/\(float\)/g, ""],
];

/** Translates what is emitted, as `JAVASCRIPT` of `reviver.recurrent.emit`. */
export const toJavaScript = (text: string) =>
  JAVASCRIPT.reduce((changed, [pattern, instead]) => changed.replace(pattern, instead), text);
