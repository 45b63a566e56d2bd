import type { FieldName } from './state';

/**
 * `Ops`: the vocabulary in which an instruction says what it does, once.
 *
 * In a `semantics` text, JavaScript `if`/`for` happen at *decode time* (on widths, operand kinds,
 * constants of the encoding); `o.if`, `o.while`, `o.select` happen at *run time*. Backends:
 *   evaluate   V = X = bigint; runs at once; the oracle
 *   ir         V = X = IR node; recorded, then emitted as WebAssembly, either with operands read from a
 *              decoded record (interpret) or as constants and locals (compile)
 *
 * Values `V` are 64-bit integers (wrapping, unsigned as bit patterns). Narrow values are kept
 * zero-extended unless said otherwise. Comparison results are 0 or 1. Vectors `X` are 128 bits.
 *
 * Order of effects is the order of the calls. A faulting effect (load, store, fp with unmasked
 * exceptions, raise) abandons the instruction at that point: state set before it stays set, state after
 * it is never set. So an instruction touches memory first and sets registers and flags last, except
 * where the manual says otherwise (REP strings commit each iteration).
 */
export type Width = 8 | 16 | 32 | 64;

/** Which fault a non-canonical address raises: #SS(0) for 'ss'; 'operand': as the memory operand at hand says
 *  (RECORD_FLAG.STACK: #SS for rsp/rbp-based ones); absent: #GP(0). */
export type Seg = 'ss' | 'operand';

export type Cond = 'eq' | 'ne' | 'ltu' | 'leu' | 'lts' | 'les';

/** Lane-wise vector operations: exactly the WebAssembly SIMD operation of that name (i.e. `i8x16.add_sat_s`). */
export type VecBinary =
  | `i8x16.${'add' | 'sub' | 'add_sat_s' | 'add_sat_u' | 'sub_sat_s' | 'sub_sat_u' | 'eq' | 'gt_s' | 'min_u' | 'max_u' | 'avgr_u' | 'narrow_i16x8_s' | 'narrow_i16x8_u' | 'swizzle'}`
  | `i16x8.${'add' | 'sub' | 'mul' | 'add_sat_s' | 'add_sat_u' | 'sub_sat_s' | 'sub_sat_u' | 'eq' | 'gt_s' | 'min_s' | 'max_s' | 'avgr_u' | 'narrow_i32x4_s' | 'extmul_low_i8x16_u' | 'extmul_high_i8x16_u'}`
  | `i32x4.${'add' | 'sub' | 'mul' | 'eq' | 'gt_s' | 'dot_i16x8_s' | 'extmul_low_i16x8_s' | 'extmul_high_i16x8_s' | 'extmul_low_i16x8_u' | 'extmul_high_i16x8_u'}`
  | `i64x2.${'add' | 'sub' | 'extmul_low_i32x4_u' | 'extmul_high_i32x4_u'}`
  | `v128.${'and' | 'or' | 'xor' | 'andnot'}`;
/** Lane shifts by a run-time count that is already known to be below the lane width. */
export type VecShift = `${'i16x8' | 'i32x4' | 'i64x2'}.${'shl' | 'shr_s' | 'shr_u'}`;

/** Floating-point format by width in bits. */
export type FpFmt = 32 | 64;
/** SSE arithmetic under MXCSR: sets sticky flags, honours RC/DAZ/FTZ, raises #XM when unmasked. */
export type FpBinary = 'add' | 'sub' | 'mul' | 'div' | 'min' | 'max';
/** Those whose packed forms processors and WebAssembly have alike. */
export type FpArithmetic = 'add' | 'sub' | 'mul' | 'div';

/** Exception vectors an instruction may raise. `code` is undefined for vectors without an error code. */
export const VECTOR = { DE: 0, DB: 1, NMI: 2, BP: 3, OF: 4, BR: 5, UD: 6, NM: 7, DF: 8, TS: 10, NP: 11, SS: 12, GP: 13, PF: 14, MF: 16, AC: 17, MC: 18, XM: 19 } as const; // prettier-ignore

/** Raised like an exception, but leaves with EXIT.UNIMPLEMENTED (exits.ts): something declared and not done. */
export const UNIMPLEMENTED = 256;

export interface Var<V> {
  get(): V;
  set(v: V): void;
}

export interface OpsOf<V, X> {
  /** A constant; negative numbers wrap to 64 bits. */
  k(n: number | bigint): V;

  add(a: V, b: V): V;
  sub(a: V, b: V): V;
  mul(a: V, b: V): V;
  /** High 64 bits of the 128-bit product, unsigned and signed. */
  mulhu(a: V, b: V): V;
  mulhs(a: V, b: V): V;
  and(a: V, b: V): V;
  or(a: V, b: V): V;
  xor(a: V, b: V): V;
  not(a: V): V;
  neg(a: V): V;
  /** Shifts take the count modulo 64. */
  shl(a: V, n: V): V;
  shr(a: V, n: V): V;
  sar(a: V, n: V): V;
  clz(a: V): V;
  ctz(a: V): V;
  popcnt(a: V): V;
  /** 64-bit divisions; the caller has excluded a zero divisor and signed overflow. */
  divu(a: V, b: V): V;
  remu(a: V, b: V): V;
  divs(a: V, b: V): V;
  rems(a: V, b: V): V;

  cmp(c: Cond, a: V, b: V): V;
  eqz(a: V): V;
  select(c: V, a: V, b: V): V;
  /** Low `w` bits, zero- or sign-extended to 64. */
  zx(w: Width, a: V): V;
  sx(w: Width, a: V): V;

  /** A mutable local, alive to the end of the instruction. */
  var(initial: V): Var<V>;
  if(c: V, then: () => void, otherwise?: () => void): void;
  /** Both sides are run-time branches that yield a value. */
  choose(c: V, then: () => V, otherwise: () => V): V;
  while(c: () => V, body: () => void): void;

  /** Named vCPU state; i32 fields are zero-extended. */
  get(f: FieldName): V;
  set(f: FieldName, v: V): void;
  getx(f: FieldName): X;
  setx(f: FieldName, v: X): void;

  /** Guest memory at a linear address, under the current privilege (#PF, or #GP for a non-canonical address;
   *  an address formed with rSP/rBP base or SS raises #SS(0) instead: operands see to that). */
  load(w: Width, address: V, seg?: Seg): V;
  store(w: Width, address: V, v: V, seg?: Seg): void;
  /** Load with write intent (a read-modify-write faults as a write does); `store` to it then cannot fault. */
  loadForWrite(w: Width, address: V, seg?: Seg): V;
  /** Check that [address, address + bytes) can be written, faulting as the write would; changes nothing. */
  probeWrite(bytes: number, address: V, seg?: Seg): void;
  loadx(address: V, seg?: Seg): X;
  storex(address: V, v: X, seg?: Seg): void;

  /**
   * For a repeated MOVS or STOS going up: as many of `n` elements of `w` bits, from `from` or all `value`, as can be
   * stored from `to` on at once, the same as one by one; perhaps none. Answers how many.
   */
  bulkMove(w: Width, to: V, from: V, n: V): V;
  bulkFill(w: Width, to: V, value: V, n: V): V;
  /**
   * There in back ends that leave to another whatever is not plain, before the instruction: here, unless `holds`. Their
   * bulkMove and bulkFill store all `n` elements, or leave.
   */
  readonly only?: ((holds: V) => void) | undefined;

  vec(op: VecBinary, a: X, b: X): X;
  /** `bitmask` results come as V. */
  vecNot(a: X): X;
  bitmask(lane: 8 | 16 | 32 | 64, a: X): V;
  vecShift(op: VecShift, a: X, n: V): X;
  /** Bytes of the 32-byte concatenation a:b (a is bytes 0–15) chosen by 16 decode-time constants. */
  shuffle(a: X, b: X, lanes: readonly number[]): X;
  /** Lane access; `i` is a decode-time constant. Extraction zero-extends. */
  lane(w: Width, a: X, i: number): V;
  withLane(w: Width, a: X, i: number, v: V): X;
  /** Lane access at a run-time index, taken modulo the number of lanes. */
  laneAt(w: Width, a: X, i: V): V;
  withLaneAt(w: Width, a: X, i: V, v: V): X;
  splat(w: Width, v: V): X;
  /** Vector from two 64-bit halves. */
  x(lo: V, hi: V): X;
  /** A decode-time constant vector. */
  kx(lo: bigint, hi: bigint): X;

  fp(op: FpBinary, fmt: FpFmt, a: V, b: V): V;
  fpSqrt(fmt: FpFmt, a: V): V;
  /** All-ones or zero in `fmt` bits; `predicate` is the imm8 of CMPPS/CMPSD (low 3 bits), SDM CMPPD table. */
  fpCompare(fmt: FpFmt, predicate: V, a: V, b: V): V;
  /** COMIS/UCOMIS: sets cf/pf/zf (af, of, sf cleared); `quiet` = only SNaN is invalid. */
  fpComi(fmt: FpFmt, quiet: boolean, a: V, b: V): void;
  /** Conversions under MXCSR; `truncate` ignores RC. Integers are signed, w = 32 or 64. */
  fpToInt(fmt: FpFmt, w: 32 | 64, truncate: boolean, a: V): V;
  intToFp(w: 32 | 64, fmt: FpFmt, a: V): V;
  fpConvert(from: FpFmt, to: FpFmt, a: V): V;
  /**
   * Packed SIMD floating-point: exceptions of all lanes are gathered first, and if any is unmasked #XM is
   * raised before anything is written (SDM Vol. 1 §11.5.2). Run the lanes inside this bracket; scalar
   * instructions need it not.
   */
  fpLanes<T>(lanes: () => T): T;
  /** What `lanes` yields, which does `op` lane by lane inside that bracket: said whole, so that it can be done whole. */
  fpPacked(op: FpArithmetic, fmt: FpFmt, a: X, b: X, lanes: () => X): X;

  /** Raise an exception: the instruction is abandoned and not retired. */
  raise(vector: number, code?: V): void;
  /** Leave the run loop after this instruction has retired (trap-like). See exits.ts for reasons. */
  exit(reason: number, info?: V): void;
  /** Call a TypeScript helper by name (helpers.ts): rare, complex instructions, the same in all tiers.
   *  Arguments are values; the helper reads and writes vCPU state and guest memory itself and may raise. */
  helper(name: string, ...args: readonly V[]): V;
}

declare const value: unique symbol;
declare const vector: unique symbol;
/** Opaque value and vector: a semantics text is not generic, backends cast at one place. */
export interface Value { readonly [value]: never } // prettier-ignore
export interface Vector { readonly [vector]: never } // prettier-ignore
export type Ops = OpsOf<Value, Vector>;

/**
 * An operand of the instruction at hand. Register and immediate operands never fault. For a memory
 * operand the effective address is computed once, at first use.
 */
export interface Operand {
  readonly kind: 'gpr' | 'mem' | 'imm' | 'xmm' | 'mm' | 'sreg' | 'creg' | 'dreg' | 'sti' | 'rel';
  /** Width in bits of get/set (128 for a full xmm). */
  readonly width: number;
  /** Zero-extended value at the operand's width (imm: sign-extended as encoded, then cut to the width; xmm: low bits). */
  get(): Value;
  /** As get, sign-extended to 64. */
  gets(): Value;
  /** get with write intent: use it when the instruction will `set` the same operand. */
  rmw(): Value;
  /** Writes the low `width` bits. 32-bit GPR writes zero the upper half; 8/16-bit ones leave it. On an xmm only that low part changes. */
  set(v: Value): void;
  /** Whole vector (xmm, 128-bit memory); mm: in the low half, upper half zero. */
  getx(): Vector;
  setx(v: Vector): void;
  /** Effective address with segment base (mem only); `offset` without it, as LEA wants. */
  address(): Value;
  offset(): Value;
  /** 'operand' for memory. Pass on to o.load/o.store. */
  readonly seg: Seg | undefined;
  /** The register's number (gpr 0–15, xmm, mm, sti, sreg, creg, dreg) as a value, for helpers. */
  index(): Value;
}
