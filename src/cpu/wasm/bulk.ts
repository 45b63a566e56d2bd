import type { Node } from '../ir/nodes';
import type { Recorder } from '../ir/recorder';
import { TLB } from './abi';
import { pageOf, tlbEntry, type Routines } from './routines';

const least = (r: Recorder, a: Node, b: Node): Node => r.n('select', a, b, r.n('i64.lt_u', a, b));
/** Whole elements, 1 << shift bytes each, up to the end of the page. */
const room = (r: Recorder, va: Node, shift: Node): Node =>
  r.n('i64.shr_u', r.n('i64.sub', r.i64(4096), r.n('i64.and', va, r.i64(4095))), r.bool(shift));
/** An element's lowest byte, and the element that has it in all of its bytes. */
function repeated(r: Recorder, value: Node, shift: Node): readonly [byte: Node, same: Node] {
  const byte = r.n('i64.and', value, r.i64(255));
  const unused = r.n('i64.sub', r.i64(64), r.n('i64.shl', r.i64(8), r.bool(shift)));
  return [byte, r.n('i64.shr_u', r.n('i64.mul', byte, r.i64(0x0101_0101_0101_0101n)), unused)];
}

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
      const [byte, same] = repeated(r, value, shift);
      r.if(r.n('i64.ne', same, value), () => r.return(r.i64(0)));
      r.callVoid('memory.fill', [target, r.wrap(byte), r.n('i32.shl', r.wrap(n), shift)]);
      return n;
    },
  );

  defineWhole(t);
}

/** Elements one by one, of 1 << shift bytes: where the bytes of one reach into those of the next. */
function oneByOne(r: Recorder, shift: Node, n: Node, element: (width: number, offset: Node) => void): void {
  for (const [log, width] of [8, 16, 32, 64].entries()) {
    r.if(r.n('i32.eq', shift, r.i32(log)), () => {
      const at = r.local('i32', r.i32(0));
      r.loop(
        () => r.n('i32.lt_u', r.read(at), n),
        () => {
          const here = r.read(at);
          element(width, r.n('i32.shl', here, r.i32(log)));
          r.assign(at, r.n('i32.add', here, r.i32(1)));
        },
      );
    });
  }
}

/**
 * move_all(cpu, to, from, elements, shift) and fill_all(cpu, to, value, elements, shift), for regions: all elements, which
 * are a page's worth at most, or none; 1 or 0. What is served without a slow path has no side effects, and what is not is
 * found before anything is stored.
 */
function defineWhole(t: Routines): void {
  const last = (r: Recorder, va: Node, elements: Node, shift: Node): Node =>
    r.n('i64.sub', r.n('i64.add', va, r.n('i64.shl', elements, r.bool(shift))), r.i64(1));
  /** Returns 0 unless the soft TLB serves both ends, and no element lies across the border between them. */
  const demand = (r: Recorder, va: Node, elements: Node, shift: Node, tag: number): void => {
    const end = last(r, va, elements, shift);
    for (const at of [va, end])
      r.if(r.n('i64.ne', r.load('i64.load', tlbEntry(r, at), tag), pageOf(r, at)), () => r.return(r.i64(0)));
    const across = r.n('i64.ne', pageOf(r, va), pageOf(r, end));
    const low = r.n('i64.sub', r.n('i64.shl', r.i64(1), r.bool(shift)), r.i64(1));
    const odd = r.n('i64.ne', r.n('i64.and', va, low), r.i64(0));
    r.if(r.n('i32.and', across, odd), () => r.return(r.i64(0)));
  };
  const hostOf = (r: Recorder, va: Node): Node =>
    r.n('i32.add', r.wrap(va), r.load('i32.load', tlbEntry(r, va), TLB.addend));

  t.define('move_all', ['i32', 'i64', 'i64', 'i64', 'i32'], ['i64'], (r, _cpu, to, from, elements, shift) => {
    r.if(r.n('i64.eqz', elements), () => r.return(r.i64(1)));
    demand(r, to, elements, shift, TLB.tagWrite);
    demand(r, from, elements, shift, TLB.tagRead);
    const done = r.local('i64', r.i64(0));
    r.loop(
      () => r.n('i64.lt_u', r.read(done), elements),
      () => {
        const so = r.read(done);
        const bytes = r.n('i64.shl', so, r.bool(shift));
        const [target, source] = [r.n('i64.add', to, bytes), r.n('i64.add', from, bytes)];
        const rooms = least(r, room(r, target, shift), room(r, source, shift));
        const n = r.wrap(least(r, rooms, r.n('i64.sub', elements, so)));
        const [a, b] = [hostOf(r, target), hostOf(r, source)];
        const size = r.n('i32.shl', n, shift);
        r.if(
          r.n('i32.ge_u', r.n('i32.sub', a, b), size),
          () => r.callVoid('memory.copy', [a, b, size]),
          () =>
            oneByOne(r, shift, n, (width, offset) => {
              const kind = width === 64 ? '' : `${width}`;
              const v = r.load(width === 64 ? 'i64.load' : `i64.load${kind}_u`, r.n('i32.add', b, offset));
              r.store(`i64.store${kind}`, r.n('i32.add', a, offset), v);
            }),
        );
        r.assign(done, r.n('i64.add', so, r.n('i64.extend_i32_u', n)));
      },
    );
    return r.i64(1);
  });

  t.define(
    'fill_all',
    ['i32', 'i64', 'i64', 'i64', 'i32'],
    ['i64'],
    (r, _cpu, to, value, elements, shift) => {
      r.if(r.n('i64.eqz', elements), () => r.return(r.i64(1)));
      demand(r, to, elements, shift, TLB.tagWrite);
      const [byte, same] = repeated(r, value, shift);
      const plain = r.n('i64.eq', same, value);
      const done = r.local('i64', r.i64(0));
      r.loop(
        () => r.n('i64.lt_u', r.read(done), elements),
        () => {
          const so = r.read(done);
          const target = r.n('i64.add', to, r.n('i64.shl', so, r.bool(shift)));
          const n = r.wrap(least(r, room(r, target, shift), r.n('i64.sub', elements, so)));
          const at = hostOf(r, target);
          r.if(
            plain,
            () => r.callVoid('memory.fill', [at, r.wrap(byte), r.n('i32.shl', n, shift)]),
            () =>
              oneByOne(r, shift, n, (width, offset) =>
                r.store(`i64.store${width === 64 ? '' : width}`, r.n('i32.add', at, offset), value),
              ),
          );
          r.assign(done, r.n('i64.add', so, r.n('i64.extend_i32_u', n)));
        },
      );
      return r.i64(1);
    },
  );
}
