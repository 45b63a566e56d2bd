import type { Ops, Value } from '../ops';
import { VECTOR } from '../ops';

/** FSW bits, SDM Vol. 1 §8.1.3. */
const FSW = { ES: 1 << 7, TOP: 7 << 11 } as const;

/** `ftw` is the abridged tag word of FXSAVE: a bit a physical register, set when it is not empty. */
export const FTW_ALL_VALID = 0xff;
export const FTW_ALL_EMPTY = 0;

const clearTop = (o: Ops): void => {
  o.set('fsw', o.and(o.get('fsw'), o.k(~FSW.TOP)));
};

/**
 * The transition from x87 to MMX that every MMX instruction but EMMS makes: TOP = 0, all tags valid (SDM Vol. 1
 * §9.5.1, Vol. 3 table 12-2). To be called when nothing of the instruction can fault any more. The exponents of
 * written registers are set by the operand binder.
 */
export function enterMmx(o: Ops): void {
  clearTop(o);
  o.set('ftw', o.k(FTW_ALL_VALID));
}

/** EMMS: all tags empty, TOP = 0 (SDM Vol. 3 table 12-2). */
export function leaveMmx(o: Ops): void {
  clearTop(o);
  o.set('ftw', o.k(FTW_ALL_EMPTY));
}

/**
 * Instructions with unit 'sse' that touch an MMX register besides: a pending x87 exception comes first, as
 * the frame sees to for unit 'mmx' (SDM Vol. 2 CVTPI2PS).
 */
export function checkPending(o: Ops): void {
  o.if(pending(o), () => o.raise(VECTOR.MF));
}
const pending = (o: Ops): Value => o.and(o.get('fsw'), o.k(FSW.ES));
