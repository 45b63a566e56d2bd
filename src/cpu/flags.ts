import { FLAG_SLOTS, RFLAGS, STATUS_FLAGS, halfOf, type FieldName } from './state';

/** The lazy flag slots of state.ts to and from RFLAGS, and their canonical values. */
export interface SlotAccess {
  get(field: FieldName): bigint;
  set(field: FieldName, value: bigint): void;
}

/** Even parity of the low byte (SDM Vol. 1 §3.4.3.1, PF). */
const evenParity = (slot: bigint): boolean => {
  let v = Number(slot & 0xffn);
  v ^= v >> 4;
  return ((0x6996 >> (v & 15)) & 1) === 0;
};

export function composeRflags(s: SlotAccess): bigint {
  let f = (s.get('rflags') & ~STATUS_FLAGS) | RFLAGS.RESERVED1;
  if (s.get('cf') !== 0n) f |= RFLAGS.CF;
  if (evenParity(s.get('pf'))) f |= RFLAGS.PF;
  if ((s.get('af') & 0x10n) !== 0n) f |= RFLAGS.AF;
  if (s.get('zf') === 0n) f |= RFLAGS.ZF;
  if (s.get('sf') >> 63n !== 0n) f |= RFLAGS.SF;
  if (s.get('of') >> 63n !== 0n) f |= RFLAGS.OF;
  return f;
}

const [CF, PF, AF, ZF, SF, OF, REST] = [...FLAG_SLOTS, 'rflags' as const].map(halfOf) as [
  number, number, number, number, number, number, number,
]; // prettier-ignore
const STATUS = Number(STATUS_FLAGS);

/** The low 32 bits of RFLAGS, of a state's 32-bit words: the same as composeRflags, at every exit. */
export function composeFlags(h: Uint32Array): number {
  const at = (i: number): number => h[i] ?? 0;
  let f = (at(REST) & ~STATUS) | 2;
  if ((at(CF) | at(CF + 1)) !== 0) f |= 1;
  let parity = at(PF) & 0xff;
  parity ^= parity >> 4;
  if (((0x6996 >> (parity & 15)) & 1) === 0) f |= 4;
  f |= at(AF) & 0x10;
  if ((at(ZF) | at(ZF + 1)) === 0) f |= 0x40;
  f |= (at(SF + 1) >>> 31) << 7;
  f |= (at(OF + 1) >>> 31) << 11;
  return f >>> 0;
}

/** The same as splitRflags, of a value whose upper half is zero. */
export function splitFlags(h: Uint32Array, v: number): void {
  const put = (i: number, low: number, high: number): void => {
    h[i] = low;
    h[i + 1] = high;
  };
  put(CF, v & 1, 0);
  put(PF, (v & 4) === 0 ? 1 : 0, 0);
  put(AF, v & 0x10, 0);
  put(ZF, (v & 0x40) === 0 ? 1 : 0, 0);
  put(SF, 0, (v & 0x80) === 0 ? 0 : 0x8000_0000);
  put(OF, 0, (v & 0x800) === 0 ? 0 : 0x8000_0000);
  put(REST, (v & ~STATUS) | 2, 0);
}

const TOP = 1n << 63n;

/** Sets all bits as given; slots become canonical. */
export function splitRflags(s: SlotAccess, v: bigint): void {
  s.set('cf', v & 1n);
  s.set('pf', (v & RFLAGS.PF) !== 0n ? 0n : 1n);
  s.set('af', v & RFLAGS.AF);
  s.set('zf', (v & RFLAGS.ZF) !== 0n ? 0n : 1n);
  s.set('sf', (v & RFLAGS.SF) !== 0n ? TOP : 0n);
  s.set('of', (v & RFLAGS.OF) !== 0n ? TOP : 0n);
  s.set('rflags', (v & ~STATUS_FLAGS) | RFLAGS.RESERVED1);
}
