import type { Cond, FpArithmetic, FpFmt, Ops, OpsOf, Seg, Var, Width } from '../ops';
import { FIELD, type FieldName } from '../state';
import type { FpOp, Local, Node } from './nodes';
import type { Recorder } from './recorder';

/** `Ops` that records into `r`. */
export type IrOps = OpsOf<Node, Node> & {
  /** Another instruction begins: what was probed for writing no longer counts. */
  begin(): void;
};

const COMPARE: Readonly<Record<Cond, string>> = {
  eq: 'i64.eq',
  ne: 'i64.ne',
  ltu: 'i64.lt_u',
  leu: 'i64.le_u',
  lts: 'i64.lt_s',
  les: 'i64.le_s',
};
const LANES = { 8: 'i8x16', 16: 'i16x8', 32: 'i32x4', 64: 'i64x2' } as const;
const EXTRACT = {
  8: 'i8x16.extract_lane_u',
  16: 'i16x8.extract_lane_u',
  32: 'i32x4.extract_lane',
  64: 'i64x2.extract_lane',
} as const;

/** What floating-point operations yield nearly always, and whether they do here: computed in line, calls are the rest. */
export interface PlainFp {
  /** The value; goes elsewhere where it is not right. Undefined: a call has to do. */
  scalar(op: FpOp, operands: readonly Node[]): Node | undefined;
  packed(op: FpArithmetic, fmt: FpFmt, a: Node, b: Node): Node;
}

export function irOps(r: Recorder, plainFp?: PlainFp): IrOps {
  const k = (n: number | bigint): Node => r.i64(n);
  const binary =
    (op: string) =>
    (a: Node, b: Node): Node =>
      r.n(op, a, b);
  const zx = (w: Width, a: Node): Node => {
    if (w === 64 || a.bits <= w) return a;
    return w === 32 ? r.bool(r.wrap(a)) : r.n('i64.and', a, k((1n << BigInt(w)) - 1n));
  };
  const mulhu = (a: Node, b: Node): Node => {
    // Schoolbook on 32-bit halves: WebAssembly 2.0 has no wide multiplication.
    const low = (v: Node): Node => zx(32, v);
    const high = (v: Node): Node => r.n('i64.shr_u', v, k(32));
    const mul = binary('i64.mul');
    const add = binary('i64.add');
    const cross = add(mul(high(a), low(b)), high(mul(low(a), low(b))));
    const other = add(mul(low(a), high(b)), low(cross));
    return add(add(mul(high(a), high(b)), high(cross)), high(other));
  };
  const sub = binary('i64.sub');
  const and = binary('i64.and');
  const sar63 = (v: Node): Node => r.n('i64.shr_s', v, k(63));

  /** Addresses probed by loadForWrite in this or an enclosing scope, with the local that holds the host address. */
  const writable: { address: Node; width: number; host: Local }[] = [];
  const scoped = (body: () => void) => (): void => {
    const open = writable.length;
    body();
    writable.length = open;
  };
  const guestLoad = (width: number, address: Node, seg: Seg | undefined, write: boolean): Node => {
    let host: Local | undefined;
    if (write) {
      host = r.local('i32');
      writable.push({ address, width, host });
    }
    const type = width === 128 ? 'v128' : 'i64';
    return r.special(
      { op: 'guestLoad', width, seg, write, host },
      [address],
      type,
      width === 128 ? 128 : width,
    ) as Node;
  };
  const guestStore = (width: number, address: Node, v: Node, seg: Seg | undefined): void => {
    const host = writable.find((w) => w.address === address && w.width === width)?.host;
    r.special({ op: 'guestStore', width, seg, host }, [address, v]);
  };

  let lanesOpen = 0;
  const fpCheck = (): void => {
    if (lanesOpen === 0) r.special({ op: 'fpCheck' }, []);
  };
  const fp = (name: FpOp, bits: number, ...args: Node[]): Node => {
    const whole = (): Node => {
      const v = r.special({ op: 'fp', name, sticky: lanesOpen > 0 }, args, 'i64', bits) as Node;
      fpCheck();
      return v;
    };
    return plainFp?.scalar(name, args) ?? whole();
  };
  const laneIndex = (w: Width, i: Node): Node => and(i, k(128 / w - 1));
  /** Byte `lane * w/8 + n` selector vectors for run-time lane access. */
  const lane = (w: Width, a: Node, i: number): Node => {
    const v = r.pure(EXTRACT[w], [a], i);
    if (w === 64) return v;
    const wide = r.bool(v);
    return w === 32 ? wide : zx(w, wide);
  };
  const withLane = (w: Width, a: Node, i: number, v: Node): Node =>
    r.pure(`${LANES[w]}.replace_lane`, [a, w === 64 ? v : r.wrap(v)], i);

  const o: IrOps = {
    begin: () => void (writable.length = 0),
    k,
    add: binary('i64.add'),
    sub,
    mul: binary('i64.mul'),
    mulhu,
    // Signed from unsigned: subtract the other operand for each negative one.
    mulhs: (a, b) => sub(sub(mulhu(a, b), and(sar63(a), b)), and(sar63(b), a)),
    and,
    or: binary('i64.or'),
    xor: binary('i64.xor'),
    not: (a) => r.n('i64.xor', a, k(-1)),
    neg: (a) => sub(k(0), a),
    shl: binary('i64.shl'),
    shr: binary('i64.shr_u'),
    sar: binary('i64.shr_s'),
    clz: (a) => r.n('i64.clz', a),
    ctz: (a) => r.n('i64.ctz', a),
    popcnt: (a) => r.n('i64.popcnt', a),
    divu: binary('i64.div_u'),
    remu: binary('i64.rem_u'),
    divs: binary('i64.div_s'),
    rems: binary('i64.rem_s'),
    cmp: (c, a, b) => r.bool(r.n(COMPARE[c], a, b)),
    eqz: (a) => r.bool(r.n('i64.eqz', a)),
    select: (c, a, b) => r.n('select', a, b, r.condition(c)),
    zx,
    sx: (w, a) => (w === 64 || a.bits < w ? a : r.n(`i64.extend${w}_s`, a)),

    var(initial): Var<Node> {
      const local = r.local('i64', initial);
      return { get: () => r.read(local), set: (v) => r.assign(local, v) };
    },
    if: (c, then, otherwise) => r.if(r.condition(c), scoped(then), otherwise && scoped(otherwise)),
    choose(c, then, otherwise) {
      const local = r.local('i64');
      r.if(
        r.condition(c),
        scoped(() => r.assign(local, then())),
        scoped(() => r.assign(local, otherwise())),
      );
      return r.read(local);
    },
    while: (c, body) => r.loop(() => r.condition(c()), scoped(body)),

    get: (f: FieldName) => r.get(f, 'i64', FIELD[f].type === 'i32' ? 32 : f === 'zero' ? 0 : 64),
    set: (field, value) => r.push({ kind: 'put', field, value }),
    getx: (f) => r.get(f, 'v128', 128),
    setx: (field, value) => r.push({ kind: 'put', field, value }),

    load: (w, a, seg) => guestLoad(w, a, seg, false),
    store: guestStore,
    loadForWrite: (w, a, seg) => guestLoad(w, a, seg, true),
    probeWrite: (bytes, a, seg) => void r.special({ op: 'guestProbe', width: bytes * 8, seg }, [a]),
    loadx: (a, seg) => guestLoad(128, a, seg, false),
    storex: (a, v, seg) => guestStore(128, a, v, seg),

    bulkMove: (w, ...args) =>
      r.special({ op: 'bulk', name: 'bulk_move', shift: Math.log2(w / 8) }, args, 'i64') as Node,
    bulkFill: (w, ...args) =>
      r.special({ op: 'bulk', name: 'bulk_fill', shift: Math.log2(w / 8) }, args, 'i64') as Node,

    vec: (op, a, b) => r.n(op, a, b),
    vecNot: (a) => r.n('v128.not', a),
    bitmask: (w, a) => r.bool(r.n(`${LANES[w]}.bitmask`, a)),
    vecShift: (op, a, n) => r.n(op, a, r.wrap(n)),
    shuffle: (a, b, lanes) => r.pure('i8x16.shuffle', [a, b], lanes),
    lane,
    withLane,
    laneAt(w, a, i) {
      // Move the lane to the bottom with a byte swizzle: selector bytes are index * bytes + 0, 1, 2 …
      const bytes = w / 8;
      const first = r.n('i64.mul', laneIndex(w, i), k(bytes));
      const selector = r.n('i8x16.add', r.n('i8x16.splat', r.wrap(first)), r.constant('v128', IDENTITY));
      return lane(w, r.n('i8x16.swizzle', a, selector), 0);
    },
    withLaneAt(w, a, i, v) {
      let result = a;
      const at = laneIndex(w, i);
      for (let n = 0; n < 128 / w; n++) {
        const chosen = r.n('i64.eq', at, k(n));
        result = r.n('select', withLane(w, a, n, v), result, chosen);
      }
      return result;
    },
    splat: (w, v) => r.n(`${LANES[w]}.splat`, w === 64 ? v : r.wrap(v)),
    x: (lo, hi) => r.pure('i64x2.replace_lane', [r.n('i64x2.splat', lo), hi], 1),
    kx: (lo, hi) => r.constant('v128', BigInt.asUintN(64, lo) | (BigInt.asUintN(64, hi) << 64n)),

    fp: (op, fmt, a, b) => fp(`${op}${fmt}`, fmt, a, b),
    fpSqrt: (fmt, a) => fp(`sqrt${fmt}`, fmt, a),
    fpCompare: (fmt, predicate, a, b) => fp(`compare${fmt}`, fmt, predicate, a, b),
    fpComi(fmt: FpFmt, quiet: boolean, a: Node, b: Node) {
      // The result has CF, PF and ZF in their RFLAGS places.
      const f = fp(`${quiet ? 'ucomi' : 'comi'}${fmt}`, 7, a, b);
      const clear = (bit: number): Node => r.n('i64.xor', and(r.n('i64.shr_u', f, k(bit)), k(1)), k(1));
      o.set('cf', and(f, k(1)));
      o.set('pf', clear(2));
      o.set('zf', clear(6));
      for (const name of ['af', 'sf', 'of'] as const) o.set(name, k(0));
    },
    fpToInt: (fmt, w, truncate, a) => fp(`toInt${fmt}_${w}${truncate ? '_truncate' : ''}`, w, a),
    intToFp: (w, fmt, a) => fp(`fromInt${w}_${fmt}`, fmt, a),
    fpConvert: (from, to, a) => fp(`convert${from}_${to}`, to, a),
    fpPacked(op, fmt, a, b, lanes) {
      return plainFp === undefined ? lanes() : plainFp.packed(op, fmt, a, b);
    },
    fpLanes(lanes) {
      lanesOpen++;
      const v = lanes();
      lanesOpen--;
      fpCheck();
      return v;
    },

    raise: (vector, code) => void r.special({ op: 'raise', vector }, code === undefined ? [] : [code]),
    exit: (reason, info) => void r.special({ op: 'exit', reason }, info === undefined ? [] : [info]),
    helper: (name, ...args) => r.special({ op: 'helper', name }, args, 'i64') as Node,
  };
  return o;
}

/** Bytes 0 … 15. */
const IDENTITY = 0x0f0e0d0c0b0a09080706050403020100n;

/** The one cast from this back end's values to the opaque ones of `Ops`. */
export const asOps = (o: IrOps): Ops => o as unknown as Ops;
