import type { Ops, Value, Width } from '../ops';

/**
 * Status flags as the lazy slots of state.ts want them. Results and operands are zero-extended at `w`.
 * SDM Vol. 1 §3.4.3.1.
 */

/** SF, ZF, PF of a result: one sign-extended value serves all three slots. */
export function setSzp(o: Ops, w: Width, r: Value): void {
  const s = o.sx(w, r);
  o.set('sf', s);
  o.set('zf', s);
  o.set('pf', s);
}

/** Bit w−1 of `v` moved to bit 63, where SF and OF are looked for. */
export const toTop = (o: Ops, w: Width, v: Value): Value => (w === 64 ? v : o.shl(v, o.k(64 - w)));

/** All but CF, of r = a + b (+ carry). */
export function setAddFlags(o: Ops, w: Width, a: Value, b: Value, r: Value): void {
  const x = o.xor(a, r);
  o.set('of', toTop(o, w, o.and(x, o.xor(b, r))));
  o.set('af', o.xor(x, b));
  setSzp(o, w, r);
}

/** All but CF, of r = a − b (− borrow). */
export function setSubFlags(o: Ops, w: Width, a: Value, b: Value, r: Value): void {
  const x = o.xor(a, b);
  o.set('of', toTop(o, w, o.and(x, o.xor(a, r))));
  o.set('af', o.xor(x, r));
  setSzp(o, w, r);
}

/** AND, OR, XOR, TEST: CF = OF = 0; AF is undefined, and clear on Intel and AMD alike. */
export function setLogicFlags(o: Ops, w: Width, r: Value): void {
  const zero = o.k(0);
  o.set('cf', zero);
  o.set('of', zero);
  o.set('af', zero);
  setSzp(o, w, r);
}

export const bit = (o: Ops, v: Value, n: number): Value => o.and(n === 0 ? v : o.shr(v, o.k(n)), o.k(1));

const top = (o: Ops, v: Value): Value => o.shr(v, o.k(63));
const parity = (o: Ops): Value => o.xor(o.and(o.popcnt(o.and(o.get('pf'), o.k(0xff))), o.k(1)), o.k(1));

/** The flag as 0 or 1. */
export const flag = {
  cf: (o: Ops): Value => o.get('cf'),
  pf: parity,
  af: (o: Ops): Value => bit(o, o.get('af'), 4),
  zf: (o: Ops): Value => o.eqz(o.get('zf')),
  sf: (o: Ops): Value => top(o, o.get('sf')),
  of: (o: Ops): Value => top(o, o.get('of')),
} as const;

/** Condition codes 0–15 (SDM Vol. 1 App. B): Jcc, SETcc, CMOVcc; as 0 or 1. */
export const CONDITIONS: readonly { readonly name: string; readonly test: (o: Ops) => Value }[] = (
  [
    ['o', 'no', flag.of],
    ['b', 'ae', flag.cf],
    ['e', 'ne', flag.zf],
    ['be', 'a', (o) => o.or(flag.cf(o), flag.zf(o))],
    ['s', 'ns', flag.sf],
    ['p', 'np', flag.pf],
    ['l', 'ge', (o) => top(o, o.xor(o.get('sf'), o.get('of')))],
    ['le', 'g', (o) => o.or(flag.zf(o), top(o, o.xor(o.get('sf'), o.get('of'))))],
  ] as const satisfies readonly (readonly [string, string, (o: Ops) => Value])[]
).flatMap(([yes, no, test]) => [
  { name: yes, test },
  { name: no, test: (o: Ops) => o.eqz(test(o)) },
]);

/** The status flags in their RFLAGS places. */
export function statusFlags(o: Ops): Value {
  const at = (v: Value, n: number): Value => o.shl(v, o.k(n));
  return [
    at(flag.pf(o), 2),
    o.and(o.get('af'), o.k(0x10)),
    at(flag.zf(o), 6),
    at(flag.sf(o), 7),
    at(flag.of(o), 11),
  ].reduce((all, v) => o.or(all, v), o.get('cf'));
}

/** SF ZF AF PF CF from their RFLAGS places (SAHF); OF too unless `withOf` is false. */
export function setStatusFlags(o: Ops, v: Value, withOf = true): void {
  o.set('cf', o.and(v, o.k(1)));
  o.set('pf', o.xor(bit(o, v, 2), o.k(1)));
  o.set('af', o.and(v, o.k(0x10)));
  o.set('zf', o.xor(bit(o, v, 6), o.k(1)));
  o.set('sf', o.shl(v, o.k(56)));
  if (withOf) o.set('of', o.shl(v, o.k(52)));
}
