import type { Ops } from '../ops';

/** TOP in the status word, SDM Vol. 1 §8.1.3. */
const FSW_TOP = 7 << 11;

/** `ftw` is the abridged tag word of FXSAVE: a bit a physical register, set when it is not empty. */
const FTW_ALL_VALID = 0xff;
const FTW_ALL_EMPTY = 0;

const clearTop = (o: Ops): void => {
  o.set('fsw', o.and(o.get('fsw'), o.k(~FSW_TOP)));
};

/**
 * The transition from x87 to MMX that every MMX instruction but EMMS makes: TOP = 0, all tags valid (SDM Vol. 1
 * §9.5.1, Vol. 3 table 12-2). The exponents of written registers are set by the operand binder.
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
