import type { X87Helper } from '../helpers/x87';
import { FSW } from '../helpers/x87-stack';
import type { Instruction } from '../instruction';
import type { Operand, Ops, Value } from '../ops';
import { VECTOR } from '../ops';

/**
 * What x87 instructions have in common: waiting for pending exceptions, calling helpers, and leaving the
 * pointers to an instruction that raised an unmasked exception.
 *
 * FIP and FDP are kept the way FXSAVE on AMD processors shows them: they mean something only while an
 * unmasked exception is pending (ES), and then name the instruction that raised it. FOP is not recorded
 * (it reads as zero then), nor are the selectors (CPUID.7.0:EBX[13] says "deprecated" of them).
 */
export const x87 = (o: Ops, name: X87Helper, ...args: readonly (Value | number)[]): Value =>
  o.helper(name, ...args.map((a) => (typeof a === 'number' ? o.k(a) : a)));

export const pending = (o: Ops): Value => o.and(o.get('fsw'), o.k(FSW.ES));

/** #MF for an exception an earlier instruction left pending (SDM Vol. 1 §8.6). CR0.NE is taken as set. */
export function wait(o: Ops): void {
  o.if(pending(o), () => o.raise(VECTOR.MF));
}

/** Note the instruction that has just left an unmasked exception behind. */
export function point(o: Ops, memory?: Operand): void {
  o.if(pending(o), () => {
    o.set('fip', o.get('rip'));
    if (memory !== undefined) o.set('fdp', memory.offset());
    o.set('fop', o.k(0));
  });
}

interface X87Row {
  readonly mnemonic: string;
  readonly encodings: readonly string[];
  readonly doc?: string;
  readonly run: (o: Ops, operand: Operand | undefined, w: number) => void;
}

/** A waiting, arithmetic-like instruction: everything but the control instructions. */
export const waiting = ({ mnemonic, encodings, doc, run }: X87Row): Instruction => ({
  mnemonic,
  doc: doc ?? `SDM 2A ${mnemonic.toUpperCase()}`,
  encodings,
  unit: 'fpu',
  semantics(o, { w }, ...operands) {
    wait(o);
    const [operand] = operands;
    run(o, operand, w);
    point(o, operand?.kind === 'mem' ? operand : undefined);
  },
});

/** The operand a row's encoding promises. */
export function needed(operand: Operand | undefined): Operand {
  if (operand === undefined) throw new Error('x87 encoding without its operand');
  return operand;
}
