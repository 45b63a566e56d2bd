import type { Decoded } from '../decode';
import { HIGH_BYTE, NO_REGISTER, RIP_BASE } from '../decode';
import type { Form } from '../encoding';
import { FIELD, GPR, type FieldName } from '../state';
import type { OpsOf, Width } from '../ops';
import type { OperandSource, RegisterSlot } from '../record';

/**
 * Operands of a decoded instruction, known at decode time: for the oracle, and for whoever compiles. Written over
 * any `Ops`; `next` is the address of the following instruction.
 */
export function decodedSource<V, X>(
  o: OpsOf<V, X>,
  form: Form,
  d: Readonly<Decoded>,
  next: bigint,
): OperandSource<V, X> {
  const kindOf = (slot: RegisterSlot): string | undefined => form.operands.find((s) => s.from === slot)?.kind;
  const gprName = (n: number): FieldName => GPR[n & 15] ?? 'rax';
  const xmmName = (n: number): FieldName => XMM[n & 15] ?? 'xmm0';
  const mmName = (n: number): FieldName => FPR[n & 7] ?? 'fpr0';
  const vecName = (slot: RegisterSlot): FieldName =>
    kindOf(slot) === 'mm' ? mmName(d[slot]) : xmmName(d[slot]);

  const read = (slot: RegisterSlot): { v: V; high: boolean } => {
    const n = d[slot];
    const high = (n & HIGH_BYTE) !== 0;
    return { v: o.get(gprName(high ? n & 3 : n)), high };
  };
  const gpr = (slot: RegisterSlot, w: Width): V => {
    const { v, high } = read(slot);
    return o.zx(w, high ? o.shr(v, o.k(8)) : v);
  };

  const low = BigInt.asUintN(32, BigInt(d.immLo));
  const imm = BigInt.asUintN(64, (BigInt(d.immHi) << 32n) | low);
  const moffs = form.immediate.moffs;
  const offset = (): V => {
    let at = o.k(moffs ? imm : BigInt(d.disp) + (d.base === RIP_BASE ? next : 0n));
    if (d.base < NO_REGISTER) at = o.add(at, o.get(gprName(d.base)));
    if (d.index < NO_REGISTER) at = o.add(at, o.shl(o.get(gprName(d.index)), o.k(d.shift)));
    return d.address32 ? o.zx(32, at) : at;
  };
  const segBase = (): V => (d.segment === 1 ? o.get('fs_base') : d.segment === 2 ? o.get('gs_base') : o.k(0));

  return {
    gpr,
    gprSigned: (slot, w) => o.sx(w, gpr(slot, w)),
    setGpr(slot, w, v) {
      const n = d[slot];
      if (n & HIGH_BYTE) {
        const name = gprName(n & 3);
        o.set(name, o.or(o.and(o.get(name), o.k(~0xff00n)), o.shl(o.zx(8, v), o.k(8))));
        return;
      }
      const name = gprName(n);
      if (w >= 32) o.set(name, o.zx(w, v));
      else {
        const keep = w === 8 ? ~0xffn : ~0xffffn;
        o.set(name, o.or(o.and(o.get(name), o.k(keep)), o.zx(w, v)));
      }
    },
    vecPart: (slot, w) => o.lane(w, o.getx(vecName(slot)), 0),
    setVecPart(slot, w, v) {
      const name = vecName(slot);
      o.setx(name, o.withLane(w, o.getx(name), 0, v));
    },
    vec: (slot) => o.getx(vecName(slot)),
    setVec: (slot, v) => o.setx(vecName(slot), v),
    registerNumber: (slot, kind) => o.k(kind === 'mm' ? d[slot] & 7 : d[slot] & 15),
    number: () => o.k(d.number),
    imm: () => o.k(form.immediate.relative ? imm + next : imm),
    offset,
    address: () => o.add(offset(), segBase()),
    segBase,
  };
}

const named = (prefix: string, n: number): FieldName[] =>
  Array.from({ length: n }, (_, i) => `${prefix}${i}`).filter((name): name is FieldName => name in FIELD);
const XMM = named('xmm', 16);
const FPR = named('fpr', 8);
