import type { Node } from '../ir/nodes';
import type { Recorder } from '../ir/recorder';
import { TLB } from './abi';
import { pageOf, tlbEntry, type Routines } from './routines';

/**
 * Elements of a repeated MOVS or STOS at once: as many as lie in one page that the soft TLB serves, on each side. What
 * it serves without a slow path has no side effects, so elements one by one would do the same.
 */
export function defineBulk(t: Routines): void {
  /** Address in linear memory; returns 0 from the routine when the TLB does not serve it. */
  const serve = (r: Recorder, va: Node, tag: number): Node => {
    const entry = tlbEntry(r, va);
    r.if(r.n('i64.ne', r.load('i64.load', entry, tag), pageOf(r, va)), () => r.return(r.i64(0)));
    return r.n('i32.add', r.wrap(va), r.load('i32.load', entry, TLB.addend));
  };
  const least = (r: Recorder, a: Node, b: Node): Node => r.n('select', a, b, r.n('i64.lt_u', a, b));
  /** Whole elements, 1 << shift bytes each, up to the end of the page. */
  const room = (r: Recorder, va: Node, shift: Node): Node =>
    r.n('i64.shr_u', r.n('i64.sub', r.i64(4096), r.n('i64.and', va, r.i64(4095))), r.bool(shift));
  const stopAtNone = (r: Recorder, n: Node): void => r.if(r.n('i64.eqz', n), () => r.return(r.i64(0)));

  /** bulk_move(cpu, to, from, elements, shift): elements moved, going up. */
  t.define(
    'bulk_move',
    ['i32', 'i64', 'i64', 'i64', 'i32'],
    ['i64'],
    (r, _cpu, to, from, elements, shift) => {
      const target = serve(r, to, TLB.tagWrite);
      const source = serve(r, from, TLB.tagRead);
      const inPages = least(r, least(r, room(r, to, shift), room(r, from, shift)), elements);
      // Into what is still to be read: no further than what is read by then.
      const distance = r.n('i64.shr_u', r.bool(r.n('i32.sub', target, source)), r.bool(shift));
      const n = least(r, inPages, distance);
      stopAtNone(r, n);
      r.callVoid('memory.copy', [target, source, r.n('i32.shl', r.wrap(n), shift)]);
      return n;
    },
  );

  /** bulk_fill(cpu, to, value, elements, shift): elements stored, going up. */
  t.define(
    'bulk_fill',
    ['i32', 'i64', 'i64', 'i64', 'i32'],
    ['i64'],
    (r, _cpu, to, value, elements, shift) => {
      const target = serve(r, to, TLB.tagWrite);
      const n = least(r, room(r, to, shift), elements);
      stopAtNone(r, n);
      const byte = r.n('i64.and', value, r.i64(255));
      const unused = r.n('i64.sub', r.i64(64), r.n('i64.shl', r.i64(8), r.bool(shift)));
      const repeated = r.n('i64.mul', byte, r.i64(0x0101_0101_0101_0101n));
      r.if(r.n('i64.ne', r.n('i64.shr_u', repeated, unused), value), () => r.return(r.i64(0)));
      r.callVoid('memory.fill', [target, r.wrap(byte), r.n('i32.shl', r.wrap(n), shift)]);
      return n;
    },
  );
}
