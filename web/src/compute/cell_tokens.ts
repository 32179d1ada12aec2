/** The words of a line of a cell's text, and what is wrong with them. */

const MAX_WIDTH = 200;
const TOKEN = /\s*(?:((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|([A-Za-z_]\w*)|([-+*/@(),=:]))/y;

/** What is wrong with a text, and where; counted from 1. */
export class CellError extends Error {
  constructor(
    message: string,
    readonly line: number,
    readonly column: number,
  ) {
    super(message);
  }
}

export type Token = { text: string; kind: "number" | "name" | "sign" | "end"; column: number };
export type Line = { number: number; tokens: Token[]; meaning: string };

export function splitLine(row: string, number: number): Line {
  const mark = row.indexOf("#");
  const code = mark < 0 ? row : row.slice(0, mark);
  if (code.length > MAX_WIDTH) throw new CellError(`A line has at most ${MAX_WIDTH} characters.`, number, MAX_WIDTH);
  const tokens: Token[] = [];
  const open: number[] = []; // Columns of parentheses
  TOKEN.lastIndex = 0;
  for (let at = 0; at < code.trimEnd().length; at = TOKEN.lastIndex) {
    const found = TOKEN.exec(code);
    if (!found) {
      const column = at + (/^\s*/.exec(code.slice(at))![0].length ?? 0);
      const [, module, name] = /(\w+)\.(\w+)$/.exec(code.slice(0, column) + /^\.?\w*/.exec(code.slice(column))) ?? [];
      if (name) throw new CellError(`Write ${name}, without ${module}.`, number, column - module.length + 1);
      throw new CellError(`${JSON.stringify(code[column])} is not part of a text.`, number, column + 1);
    }
    const [all, digits, name, sign] = found;
    const content = digits ?? name ?? sign;
    const column = found.index + all.length - content.length + 1;
    tokens.push({ text: content, kind: digits ? "number" : name ? "name" : "sign", column });
    if (sign === "(") open.push(column);
    else if (sign === ")" && open.pop() === undefined) throw new CellError("This ) closes no (.", number, column);
  }
  if (open.length) throw new CellError("This ( is never closed.", number, open[0]);
  tokens.push({ text: "", kind: "end", column: code.trimEnd().length + 1 });
  return { number, tokens, meaning: mark < 0 ? "" : row.slice(mark + 1).trim() };
}
