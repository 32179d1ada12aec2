/**
 * The random numbers of torch's generator on a CPU, bit for bit, in every browser: MT19937 (Matsumoto & Nishimura 1998), which torch seeds by
 * the low 32 bits; and `makeRng` of `reviver.rng`, an independent generator for each purpose.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";
import { boxMuller } from "./normal";

const [N, M] = [624, 397];

/** Of a generator: its 624 numbers, and how many of them are used. */
export interface RngState {
  state: Int32Array;
  next: number;
}

export class Rng {
  #state = new Int32Array(N);
  #next = N;

  constructor(seed: number) {
    this.#state[0] = seed;
    for (let k = 1; k < N; k++) {
      const x = this.#state[k - 1];
      this.#state[k] = Math.imul(1812433253, x ^ (x >>> 30)) + k;
    }
  }

  /** State, of which `restore` makes a generator that continues. */
  save(): RngState {
    return { state: this.#state.slice(), next: this.#next };
  }

  static restore({ state, next }: RngState): Rng {
    const rng = new Rng(0);
    rng.#state = state.slice();
    rng.#next = next;
    return rng;
  }

  bits(): number {
    if (this.#next === N) this.#twist();
    let y = this.#state[this.#next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  #twist() {
    const p = this.#state;
    for (let k = 0; k < N; k++) {
      const y = (p[k] & 0x80000000) | (p[(k + 1) % N] & 0x7fffffff);
      p[k] = p[(k + M) % N] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.#next = 0;
  }

  /** `torch.randint(range, ())` for a range below 2²⁸. */
  integer = (range: number) => this.bits() % range;

  /** `torch.randint(range, (), dtype=torch.int64)` for a range from 2²⁸. */
  bigInteger(range: bigint): bigint {
    const high = BigInt(this.bits());
    return ((high << 32n) | BigInt(this.bits())) % range;
  }

  /** `torch.randperm(count)`. */
  permutation(count: number): Int32Array {
    const order = Int32Array.from({ length: count }, (_, k) => k);
    for (let k = 0; k < count - 1; k++) {
      const other = k + (this.bits() % (count - k));
      [order[k], order[other]] = [order[other], order[k]];
    }
    return order;
  }

  /** `uniform_(low, high)` of `count` numbers in single precision. */
  uniform(count: number, low = 0, high = 1): Float32Array<ArrayBuffer> {
    const values = new Float32Array(count);
    const from = Math.fround(low);
    const width = Math.fround(Math.fround(high) - from);
    for (let k = 0; k < count; k++) values[k] = ((this.bits() & 0xffffff) / 2 ** 24) * width + from;
    return values;
  }

  /** `normal_()` of at least 16 numbers in single precision. */
  normal(count: number): Float32Array<ArrayBuffer> {
    if (count < 16) throw new Error("torch draws fewer than 16 normal numbers in another way");
    const values = this.uniform(count);
    for (let start = 0; start <= count - 16; start += 16) boxMuller(values, start);
    if (count % 16) {
      values.set(this.uniform(16), count - 16);
      boxMuller(values, count - 16);
    }
    return values;
  }

  /** Any number of normal numbers: of fewer than 16 not those of torch. */
  normals = (count: number) => this.normal(Math.max(16, count)).subarray(0, count);

  /** `nn.init.xavier_uniform_` of weights [O, I]. */
  xavier(outputs: number, inputs: number) {
    const bound = Math.sqrt(3) * Math.sqrt(2 / (inputs + outputs));
    return this.uniform(outputs * inputs, -bound, bound);
  }

  /** Weights [O, I] and bias [O] of a new `nn.Linear`. */
  linear(inputs: number, outputs: number) {
    const bound = Math.sqrt(3) * (Math.sqrt(2 / (1 + Math.sqrt(5) ** 2)) / Math.sqrt(inputs));
    const weight = this.uniform(outputs * inputs, -bound, bound);
    return { weight, bias: this.uniform(outputs, -1 / Math.sqrt(inputs), 1 / Math.sqrt(inputs)) };
  }
}

/** Returns a new generator, seeded by a hash of the seed of a run and a purpose, as `reviver.rng.make_rng` does. */
export function makeRng(seed: number, purpose: string): Rng {
  const view = new DataView(sha256(utf8ToBytes(`${seed}/${purpose}`)).buffer);
  return new Rng((view.getUint32(0, true) >>> 1) | (view.getUint32(4, true) << 31)); // 64 bits, shifted by one
}

export const sha256Hex = (bytes: Uint8Array) => bytesToHex(sha256(bytes));
