/**
 * The text of a cell, as `reviver.recurrent.grammar` reads it: a line is `NAME = EXPRESSION  # what it is`, or `b_f: 1`, where a
 * vector begins. `x` is the input, `h` the output; a name read before its line is state; left of `@` stands a learned matrix;
 * other names with an underscore are learned vectors.
 */
import { FUNCTIONS, Graph } from "./cell_graph";
import { CellError, splitLine, type Line, type Token } from "./cell_tokens";

/** Names such as h_prev and h_t_1, which papers have for a state before the step. */
const PREVIOUS = /^[A-Za-z0-9]+_(prev|previous|last|old|before|t_?(1|m1|minus_?1))$/;

export interface Quantity {
  node: number;
  meaning: string;
  line: number;
}

export interface Cell {
  text: string;
  title: string;
  graph: Graph;
  quantities: Map<string, Quantity>; // The assigned names in the order of the text
  states: string[]; // Names of the states, h first
  /** Matrices in the order of their weights, and whether each acts on x; then vectors, and where each begins. */
  matrices: Map<string, boolean>;
  vectors: Map<string, number>;
}

const [MAX_LINES, MAX_DEPTH] = [64, 32];
const OPERATORS: Record<string, string> = { "+": "add", "-": "sub", "*": "mul", "/": "div" };

export function parseCell(text: string): Cell {
  return new Parser(text).cell();
}

class Parser {
  readonly graph = new Graph();
  readonly matrices = new Map<string, boolean>();
  readonly vectors = new Map<string, number>();
  readonly assigned = new Map<string, number>();
  readonly env = new Map<string, number>();
  readonly reads = new Map<string, Set<string>>();
  #line!: Line;
  #at = 0;
  #target = "";

  constructor(readonly text: string) {}

  cell(): Cell {
    const rows = this.text.split("\n");
    if (rows.length > MAX_LINES) throw new CellError(`A text has at most ${MAX_LINES} lines.`, MAX_LINES + 1, 1);
    const lines = rows.map((row, k) => splitLine(row, k + 1)).filter(({ tokens }) => tokens.length > 1);
    const starts: [Token, number, Line][] = [];
    for (const line of lines) {
      const [name, sign] = line.tokens;
      [this.#line, this.#at] = [line, 2];
      if (name.kind !== "name" || !"=:".includes(sign.text) || sign.kind === "end")
        this.#refuse("A line is NAME = EXPRESSION, or NAME: NUMBER where a vector begins.", name);
      if (sign.text === ":") starts.push([name, this.#start(), line]);
      else this.#declare(name);
    }
    const quantities = new Map<string, Quantity>();
    for (const line of lines.filter(({ tokens }) => tokens[1].text === "=")) {
      [this.#line, this.#at, this.#target] = [line, 2, line.tokens[0].text];
      this.reads.set(this.#target, new Set());
      let node = this.#sum(0);
      this.#expect("end");
      if (this.#target === "h") node = this.graph.add("dropout", [node]);
      this.env.set(this.#target, node);
      quantities.set(this.#target, { node, meaning: line.meaning, line: line.number });
    }
    for (const [name, value, line] of starts) {
      this.#line = line;
      if (!this.vectors.has(name.text)) this.#refuse(`No line reads a vector ${name.text}.`, name);
      this.vectors.set(name.text, value);
    }
    this.#check(quantities);
    const isState = (name: string) => this.graph.nodes.some(({ op, value }) => op === "state" && value === name);
    const states = ["h", ...[...quantities.keys()].filter((name) => name !== "h" && isState(name))];
    const onX = [...this.matrices].filter(([, is]) => is);
    const others = [...this.matrices].filter(([, is]) => !is);
    const title = (/^(?:#.*\n)*/.exec(`${this.text}\n`)![0].match(/[^#\n]+/g) ?? []).join(" ").trim();
    return {
      ...{ text: this.text, title, graph: this.graph, quantities, states },
      ...{ matrices: new Map([...onX, ...others]), vectors: this.vectors },
    };
  }

  #refuse(message: string, token = this.#line.tokens[this.#at]): never {
    throw new CellError(message, this.#line.number, token.column);
  }

  #peek = () => this.#line.tokens[this.#at];
  #take(sign: string): boolean {
    const isHere = this.#peek().kind === "sign" && this.#peek().text === sign;
    if (isHere) this.#at++;
    return isHere;
  }

  #expect(what: string) {
    if (what === "end" ? this.#peek().kind === "end" : this.#take(what)) return;
    const [before, { text, kind }] = this.#line.tokens.slice(this.#at - 1);
    if (before.kind === "name" && kind === "name") this.#refuse(`Write @ between ${before.text} and ${text}.`);
    this.#refuse(what === "end" ? `${text} is not expected here.` : `${what} is missing here.`);
  }

  #start(): number {
    const sign = this.#take("-") ? -1 : 1;
    const token = this.#peek();
    if (token.kind !== "number") this.#refuse("A vector begins at a number, such as b_f: 1.", token);
    this.#at++;
    this.#expect("end");
    return sign * Number(token.text);
  }

  #declare(name: Token) {
    const { text } = name;
    if (text === "x" || text in FUNCTIONS || text.startsWith("_"))
      this.#refuse(`${text} cannot be the name of a quantity; choose another.`, name);
    if (this.assigned.has(text)) this.#refuse(`Line ${this.assigned.get(text)} has ${text} already.`, name);
    this.assigned.set(text, this.#line.number);
  }

  #sum(depth: number): number {
    if (depth > MAX_DEPTH) this.#refuse("The expression is nested too deep; split it by a new name.");
    let left = this.#product(depth);
    for (;;) {
      if (this.#take("+")) left = this.graph.add("add", [left, this.#product(depth)]);
      else if (this.#take("-")) left = this.graph.add("sub", [left, this.#product(depth)]);
      else return left;
    }
  }

  #product(depth: number): number {
    const matrix = this.#peek();
    const next = this.#line.tokens[this.#at + 1];
    let left: number;
    if (matrix.kind === "name" && next?.text === "@") {
      this.#at += 2;
      left = this.#matmul(matrix, depth);
    } else left = this.#factor(depth);
    for (;;) {
      const sign = this.#peek();
      if (sign.text === "@") this.#refuse("Left of @ stands one matrix, such as W @ x.", sign);
      if (!this.#take("*") && !this.#take("/")) return left;
      left = this.graph.add(OPERATORS[sign.text], [left, this.#factor(depth)]);
    }
  }

  #matmul(matrix: Token, depth: number): number {
    const name = matrix.text;
    if (this.assigned.has(name) || name in FUNCTIONS || name === "x")
      this.#refuse(`Left of @ stands a learned matrix, but ${name} is not one; use * for a product by units.`, matrix);
    if (this.vectors.has(name)) this.#refuse(`${name} is a vector elsewhere; rename one.`, matrix);
    const onX = this.#peek().text === "x";
    if ((this.matrices.get(name) ?? onX) !== onX)
      this.#refuse(`The matrix ${name} acts on x in one place and on another vector elsewhere; rename one.`, matrix);
    this.matrices.set(name, onX);
    if (onX) this.#at++;
    return this.graph.add("matmul", onX ? [] : [this.#factor(depth)], name);
  }

  #factor(depth: number): number {
    if (this.#take("-")) return this.graph.add("neg", [this.#factor(depth + 1)]);
    const token = this.#peek();
    if (this.#take("(")) {
      const inner = this.#sum(depth + 1);
      this.#expect(")");
      return inner;
    }
    const isDivisor = this.#line.tokens[this.#at - 1].text === "/";
    this.#at++;
    if (token.kind === "number") {
      const value = Number(token.text);
      if (value >= 1e30) this.#refuse("Write a finite number, such as 0.5.", token);
      if (value === 0 && isDivisor) this.#refuse("This divides by 0.", token);
      return this.graph.add("number", [], value);
    }
    if (token.kind !== "name") this.#refuse("A name, a number or a parenthesis is missing here.", token);
    return this.#take("(") ? this.#call(token, depth) : this.#name(token);
  }

  #call(token: Token, depth: number): number {
    const count = FUNCTIONS[token.text];
    if (!Object.hasOwn(FUNCTIONS, token.text))
      this.#refuse(`${token.text} is not a function; there are ${Object.keys(FUNCTIONS).join(", ")}.`, token);
    const args = [this.#sum(depth + 1)];
    while (this.#take(",")) args.push(this.#sum(depth + 1));
    this.#expect(")");
    if (args.length !== count) this.#refuse(`${token.text} has ${count} argument${count > 1 ? "s" : ""}.`, token);
    return this.graph.add(token.text, args);
  }

  #name(token: Token): number {
    const { text } = token;
    this.reads.get(this.#target)!.add(text);
    const known = this.env.get(text);
    if (known !== undefined) return known;
    if (this.assigned.has(text)) return this.graph.add("state", [], text);
    if (text === "x") this.#refuse("x is not of size H; write a matrix before it, such as W_x @ x.", token);
    if (this.matrices.has(text)) this.#refuse(`${text} is a matrix elsewhere; rename one.`, token);
    if (Object.hasOwn(FUNCTIONS, text)) this.#refuse(`${text} is a function; write ${text}(v).`, token);
    if (text === "b") this.#refuse("A learned bias is called b_…, such as b_h.", token);
    if (!text.replace(/^_+|_+$/g, "").includes("_"))
      this.#refuse(`No line computes ${text}; write one, or b_${text} for a learned vector.`, token);
    const before = text.slice(0, text.indexOf("_"));
    if (PREVIOUS.test(text) && this.assigned.has(before))
      this.#refuse(`${text} would be a learned vector; the state before the step is read as ${before}.`, token);
    if (!this.vectors.has(text)) this.vectors.set(text, 0);
    return this.graph.add("vector", [], text);
  }

  #check(quantities: Map<string, Quantity>) {
    if (!quantities.has("h")) throw new CellError("No line computes h, the output.", 1, 1);
    if (![...this.matrices.values()].some(Boolean))
      throw new CellError("No line reads x, the input; write a matrix before it, such as W_x @ x.", 1, 1);
    const used = new Set<string>();
    const waiting = ["h"];
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      if (used.has(name)) continue;
      used.add(name);
      waiting.push(...(this.reads.get(name) ?? []));
    }
    for (const [name, { line }] of quantities)
      if (!used.has(name)) throw new CellError(`${name} is never used.`, line, 1);
  }
}
