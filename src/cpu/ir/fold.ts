import { isOp, opInfo } from '../wasm/opcodes';
import type { Node } from './nodes';

/** Constant folding, identities and value ranges of pure integer nodes. */
const M64 = (1n << 64n) - 1n;
const M32 = 0xffffffffn;
const s64 = (v: bigint): bigint => BigInt.asIntN(64, v);
const flag = (b: boolean): bigint => (b ? 1n : 0n);

export const bitLength = (v: bigint): number => (v === 0n ? 0 : v.toString(2).length);

function leadingZeros(v: bigint, width: number): bigint {
  return BigInt(width - bitLength(v));
}
function trailingZeros(v: bigint, width: number): bigint {
  if (v === 0n) return BigInt(width);
  let n = 0n;
  for (let x = v; (x & 1n) === 0n; x >>= 1n) n++;
  return n;
}

type Fold = (a: bigint, b: bigint) => bigint;
/** Values are unsigned 64-bit. Divisions by zero are left to trap at run time: they are not folded. */
const FOLD64: Readonly<Record<string, Fold>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shl: (a, b) => a << (b & 63n),
  shr_u: (a, b) => a >> (b & 63n),
  shr_s: (a, b) => s64(a) >> (b & 63n),
  eq: (a, b) => flag(a === b),
  ne: (a, b) => flag(a !== b),
  lt_u: (a, b) => flag(a < b),
  le_u: (a, b) => flag(a <= b),
  lt_s: (a, b) => flag(s64(a) < s64(b)),
  le_s: (a, b) => flag(s64(a) <= s64(b)),
  eqz: (a) => flag(a === 0n),
  clz: (a) => leadingZeros(a, 64),
  ctz: (a) => trailingZeros(a, 64),
  extend8_s: (a) => BigInt.asIntN(8, a),
  extend16_s: (a) => BigInt.asIntN(16, a),
  extend32_s: (a) => BigInt.asIntN(32, a),
  extend_i32_u: (a) => a,
  extend_i32_s: (a) => BigInt.asIntN(32, a),
};
const FOLD32: Readonly<Record<string, Fold>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  eq: (a, b) => flag(a === b),
  ne: (a, b) => flag(a !== b),
  eqz: (a) => flag(a === 0n),
  wrap_i64: (a) => a,
};

/** The folded constant, or undefined. */
export function foldConstants(op: string, args: readonly Node[]): bigint | undefined {
  if (!isOp(op) || !args.every((a) => a.op === 'const' && typeof a.imm === 'bigint')) return undefined;
  const [prefix, name] = op.split('.') as [string, string];
  const fold = (prefix === 'i64' ? FOLD64 : prefix === 'i32' ? FOLD32 : undefined)?.[name];
  if (fold === undefined) return undefined;
  const [a, b] = args.map((x) => x.imm as bigint);
  return fold(a ?? 0n, b ?? 0n) & (opInfo(op).result === 'i32' ? M32 : M64);
}

const isConst = (n: Node | undefined, v: bigint): boolean => n?.op === 'const' && n.imm === v;
const ALL = (n: Node): bigint => (n.type === 'i32' ? M32 : M64);
const RIGHT_ZERO = new Set(['add', 'sub', 'or', 'xor', 'shl', 'shr_u', 'shr_s']);
const LEFT_ZERO = new Set(['add', 'or', 'xor']);

/** a − b at a width, zero-extended; the operands are below 2^width. */
interface Difference {
  readonly width: number;
  readonly a: Node;
  readonly b: Node;
}
function difference(n: Node | undefined): Difference | undefined {
  const [x, y] = n?.args ?? [];
  if (n === undefined || x === undefined) return undefined;
  if (n.op === 'i64.sub') return y && { width: 64, a: x, b: y };
  let width = 0;
  if (n.op === 'i64.extend_i32_u' && x.op === 'i32.wrap_i64') width = 32;
  if (n.op === 'i64.and') width = isConst(y, 0xffn) ? 8 : isConst(y, 0xffffn) ? 16 : 0;
  const from = width === 32 ? x.args[0] : x;
  const [a, b] = from?.args ?? [];
  if (width === 0 || from?.op !== 'i64.sub' || a === undefined || b === undefined) return undefined;
  return a.bits <= width && b.bits <= width ? { width, a, b } : undefined;
}

const EXTENDED: Readonly<Record<string, number>> = {
  'i64.extend8_s': 8,
  'i64.extend16_s': 16,
  'i64.extend32_s': 32,
};
/** What is sign-extended, and from which width; of 64 bits it is the value itself. */
const unextended = (n: Node): { readonly width: number; readonly of: Node } => {
  const width = EXTENDED[n.op];
  return width !== undefined && n.args[0] ? { width, of: n.args[0] } : { width: 64, of: n };
};

const boolOf = (n: Node | undefined): Node | undefined =>
  n?.op === 'i64.extend_i32_u' ? n.args[0] : undefined;

type Make = (op: string, ...args: Node[]) => Node;

/** The operands as a signed comparison at a width wants them, and its type. */
function signed({ width, a, b }: Difference, make: Make): { type: 'i32' | 'i64'; args: [Node, Node] } {
  if (width === 64) return { type: 'i64', args: [a, b] };
  if (width === 32) return { type: 'i32', args: [make('i32.wrap_i64', a), make('i32.wrap_i64', b)] };
  const extend = `i64.extend${width}_s`;
  return { type: 'i64', args: [make(extend, a), make(extend, b)] };
}

/** SF ≠ OF after a − b (setSubFlags of instructions/flags.ts): less. */
function less(sign: Node, overflow: Node, make: Make): Node | undefined {
  const s = unextended(sign);
  const d = difference(s.of);
  if (d === undefined || d.width !== s.width) return undefined;
  const { width, a, b } = d;
  if (width < 64 && !(overflow.op === 'i64.shl' && isConst(overflow.args[1], BigInt(64 - width))))
    return undefined;
  const both = width < 64 ? overflow.args[0] : overflow;
  const [p, q] = both?.args ?? [];
  if (both?.op !== 'i64.and' || p?.op !== 'i64.xor' || q?.op !== 'i64.xor') return undefined;
  if (p.args[0] !== a || p.args[1] !== b || q.args[0] !== a || q.args[1] !== s.of) return undefined;
  const { type, args } = signed(d, make);
  return make('i64.extend_i32_u', make(`${type}.lt_s`, ...args));
}

/** Conditions as flags of a subtraction make them (instructions/flags.ts), as one comparison. */
function comparison(
  op: string,
  a: Node,
  b: Node,
  make: Make,
  constant: (v: bigint) => Node,
): Node | undefined {
  if (op === 'i64.shr_u')
    return isConst(b, 63n) && a.op === 'i64.xor' && a.args[0] && a.args[1]
      ? less(a.args[0], a.args[1], make)
      : undefined;
  if (op !== 'i64.or') return undefined;
  const equal = boolOf(a);
  if (equal?.op === 'i64.eqz' && b.op === 'i64.shr_u' && isConst(b.args[1], 63n) && b.args[0]) {
    // zf | sf, without overflow: no more than zero.
    const [sign] = b.args;
    const [value] = equal.args;
    const s = unextended(sign);
    if (value === sign || (value === s.of && value.bits <= s.width))
      return make('i64.extend_i32_u', make('i64.le_s', sign, constant(0n)));
    return undefined;
  }
  const lower = boolOf(b)?.op.endsWith('lt_s') === true ? boolOf(b) : equal;
  const [x, y] = equal?.args ?? [];
  if (x === undefined || y === undefined) return undefined;
  // cf | zf: below or equal.
  if (equal?.op === 'i64.lt_u') {
    const zero = boolOf(b);
    if (zero?.op !== 'i64.eq' || zero.args[0] !== x || zero.args[1] !== y) return undefined;
    return make('i64.extend_i32_u', make('i64.le_u', x, y));
  }
  // zf | (sf ≠ of): less or equal.
  if (equal?.op !== 'i64.eq' || lower === equal || lower === undefined) return undefined;
  for (const width of [64, 32, 16, 8]) {
    if (width < 64 && (x.bits > width || y.bits > width)) continue;
    const { type, args } = signed({ width, a: x, b: y }, make);
    if (lower.op === `${type}.lt_s` && lower.args[0] === args[0] && lower.args[1] === args[1])
      return make('i64.extend_i32_u', make(`${type}.le_s`, ...args));
  }
  return undefined;
}

/** An existing node that the operation equals, or undefined. `make` builds a replacement. */
export function simplify(
  op: string,
  args: readonly Node[],
  make: (op: string, ...args: Node[]) => Node,
  constant: (v: bigint) => Node,
): Node | undefined {
  const [a, b, c] = args;
  if (a === undefined) return undefined;
  const name = op.slice(op.indexOf('.') + 1);
  if (b !== undefined && c === undefined) {
    if ((op === 'i64.xor' || op === 'i64.sub') && a === b) return constant(0n);
    if (RIGHT_ZERO.has(name) && isConst(b, 0n)) return a;
    if (op === 'i64.add' && a.op === 'i64.add') {
      const [x, y] = a.args;
      if (x && y?.op === 'const' && b.op === 'const')
        return make(op, x, constant((y.imm as bigint) + (b.imm as bigint)));
    }
    if (LEFT_ZERO.has(name) && isConst(a, 0n)) return b;
    if (name === 'and' && a.type !== 'v128') {
      if (isConst(a, 0n) || isConst(b, ALL(b))) return a;
      if (isConst(b, 0n) || isConst(a, ALL(a))) return b;
      if (b.op === 'const' && typeof b.imm === 'bigint' && b.imm === (1n << BigInt(a.bits)) - 1n) return a;
      if (b.op === 'const' && typeof b.imm === 'bigint' && a.bits < 64 && (b.imm & ((1n << BigInt(a.bits)) - 1n)) === (1n << BigInt(a.bits)) - 1n) return a; // prettier-ignore
    }
    if ((op === 'i64.ne' || op === 'i64.eq') && isConst(b, 0n)) {
      if (op === 'i64.eq') return make('i64.eqz', a);
      if (a.op === 'i64.extend_i32_u' && a.bits === 1) return a.args[0];
    }
  }
  const compared = b === undefined ? undefined : comparison(op, a, b, make, constant);
  if (compared !== undefined) return compared;
  if (op === 'i64.eqz') {
    // The zero flag of a subtraction.
    const { width, of } = unextended(a);
    const d = difference(of);
    if (d?.width === width) return make('i64.eq', d.a, d.b);
    if (width < 64 && of.bits <= width) return make('i64.eqz', of);
  }
  if (op === 'i32.wrap_i64' && (a.op === 'i64.extend_i32_u' || a.op === 'i64.extend_i32_s')) return a.args[0];
  if (op === 'i64.extend_i32_u' && a.op === 'i32.wrap_i64' && (a.args[0]?.bits ?? 64) <= 32) return a.args[0];
  if (op === 'i64.eqz' && a.op === 'i64.extend_i32_u' && a.args[0] !== undefined)
    return make('i32.eqz', a.args[0]);
  if (op === 'i32.eqz' && a.op === 'i64.eqz' && a.args[0]?.bits === 1) return make('i32.wrap_i64', a.args[0]);
  if (op === 'i32.eqz' && a.op === 'i32.eqz' && a.args[0]?.bits === 1) return a.args[0];
  return undefined;
}

const BOOLEAN = new Set('eqz eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u lt gt le ge'.split(' '));
const LOADED: Readonly<Record<string, number>> = { load8_u: 8, load16_u: 16, load32_u: 32 };

const VECTOR = /^([if]\d+x\d+|v128)\./;

/** An upper bound of the value's bits. */
export function rangeOf(op: string, args: readonly Node[]): number {
  const name = op.slice(op.indexOf('.') + 1);
  const full = op.startsWith('i32') ? 32 : 64;
  if (VECTOR.test(op)) return full;
  if (BOOLEAN.has(name)) return 1;
  const loaded = LOADED[name];
  if (loaded !== undefined) return loaded;
  const [a, b] = args;
  if (a === undefined) return full;
  if (name === 'extend_i32_u') return Math.min(32, a.bits);
  if (name === 'wrap_i64') return Math.min(32, a.bits);
  if (name === 'clz' || name === 'ctz' || name === 'popcnt') return 7;
  if (b === undefined) return full;
  if (name === 'and') return Math.min(a.bits, b.bits);
  if (name === 'or' || name === 'xor') return Math.max(a.bits, b.bits);
  if (name === 'add') return Math.min(full, Math.max(a.bits, b.bits) + 1);
  if (name === 'shr_u') return b.op === 'const' ? Math.max(0, a.bits - (Number(b.imm) % full)) : a.bits;
  if (name === 'shl' && b.op === 'const') return Math.min(full, a.bits + (Number(b.imm) % full));
  if (name === 'select') return Math.max(a.bits, b.bits);
  return full;
}
