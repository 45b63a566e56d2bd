import type { FpOp } from '../ir/nodes';
import type { Routines } from './routines';

/** Floating-point operations, numbered for the exact path. */
export const FP_OPS: readonly FpOp[] = [
  ...([32, 64] as const).flatMap((f): FpOp[] => [
    `add${f}`, `sub${f}`, `mul${f}`, `div${f}`, `min${f}`, `max${f}`, `sqrt${f}`, `compare${f}`, `comi${f}`, `ucomi${f}`,
    `toInt${f}_32`, `toInt${f}_64`, `toInt${f}_32_truncate`, `toInt${f}_64_truncate`, `fromInt32_${f}`, `fromInt64_${f}`,
  ]),
  'convert32_64',
  'convert64_32',
]; // prettier-ignore

/** Operands of an operation: compare takes the predicate first. */
export const fpArity = (op: FpOp): number =>
  op.startsWith('compare') ? 3 : /^(add|sub|mul|div|min|max|u?comi)/.test(op) ? 2 : 1;

/** `fp_<op>(vcpu, …operands) → result`: a fast path where the result surely is exact by the host's rules, else the import. */
export function defineFloatingPoint(t: Routines): void {
  FP_OPS.forEach((op, number) => {
    const arity = fpArity(op);
    t.define(`fp_${op}`, ['i32', ...Array<'i64'>(arity).fill('i64')], ['i64'], (r, cpu, ...operands) => {
      const padded = [0, 1, 2].map((i) => operands[i] ?? r.i64(0));
      return r.call('fp', [cpu, r.i32(number), ...padded], 'i64');
    });
  });
}
