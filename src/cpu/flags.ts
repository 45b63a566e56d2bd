import { RFLAGS, STATUS_FLAGS, type FieldName } from './state';

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
