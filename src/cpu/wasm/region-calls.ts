import type { Signature } from './encoder';
import { FP_OPS, fpArity } from './floating-point';

/**
 * What compiled regions call in the interpreter's module. There is no slow path of an access among it: whatever the
 * soft TLB does not serve at once is the interpreter's instruction. A call amid a loop costs the host's compiler all
 * that it keeps in registers, even when it is never made. Those for repeated strings are made each time.
 */
export const REGION_CALLS: ReadonlyMap<string, Signature> = new Map<string, Signature>([
  ['chain', { params: ['i32', 'i32'], results: ['i32'] }],
  ['chain_return', { params: ['i32', 'i32'], results: ['i32'] }],
  ['move_all', { params: ['i32', 'i64', 'i64', 'i64', 'i32'], results: ['i64'] }],
  ['fill_all', { params: ['i32', 'i64', 'i64', 'i64', 'i32'], results: ['i64'] }],
  ...FP_OPS.map((op): [string, Signature] => [
    `fp_${op}`,
    { params: ['i32', ...Array<'i64'>(fpArity(op)).fill('i64')], results: ['i64'] },
  ]),
]);
