import type { Node } from '../ir/nodes';
import type { Recorder } from '../ir/recorder';
import { ATTENTION } from '../types';
import { ACCESS } from './abi';
import type { Signature } from './encoder';
import { FP_OPS, fpArity } from './floating-point';
import { global, pageOf, type Routines } from './routines';
import { offsetOf } from '../state';

/**
 * What compiled regions call in the interpreter's module. Their slow paths differ from the handlers': whatever is not
 * plainly possible (a fault, a watched page, a store to decoded code, one that crosses pages) yields 0 with nothing
 * done, and the region leaves that instruction to the interpreter. Looking up twice changes nothing.
 */
export const REGION_CALLS: ReadonlyMap<string, Signature> = new Map<string, Signature>([
  ['chain', { params: ['i32', 'i32'], results: ['i32'] }],
  ['region_read', { params: ['i32', 'i64', 'i32'], results: ['i32'] }],
  ['region_write', { params: ['i32', 'i64', 'i32'], results: ['i32'] }],
  ...FP_OPS.map((op): [string, Signature] => [
    `fp_${op}`,
    { params: ['i32', ...Array<'i64'>(fpArity(op)).fill('i64')], results: ['i64'] },
  ]),
]);

/** 1 for an address, or a last byte's, that is not canonical. */
function outside(r: Recorder, va: Node, bytes: Node): Node {
  const bad = (at: Node): Node =>
    r.n('i64.gt_u', r.n('i64.add', r.n('i64.shr_s', at, r.i64(47)), r.i64(1)), r.i64(1));
  return r.n('i32.or', bad(va), bad(r.n('i64.add', va, r.bool(r.n('i32.sub', bytes, r.i32(1))))));
}

export function defineRegionAccess(t: Routines): void {
  /** Attention byte of the frame at `host`; what lies beyond memory reads as `beyond`. */
  const attentionAt = (r: Recorder, host: Node, beyond: number): Node => {
    const frame = r.n('i32.shr_u', r.n('i32.sub', host, global(r, 'framesBase')), r.i32(12));
    const attention = r.local('i32', r.i32(beyond));
    r.if(r.n('i32.lt_u', frame, global(r, 'frameCount')), () =>
      r.assign(attention, r.load('i32.load8_u', r.n('i32.add', global(r, 'attention'), frame))),
    );
    return r.read(attention);
  };

  /** The address in linear memory of the bytes, or of a copy of them. */
  t.define('region_read', ['i32', 'i64', 'i32'], ['i32'], (r, cpu, va, bytes) => {
    const give0 = (when: Node): void => r.if(when, () => r.return(r.i32(0)));
    give0(outside(r, va, bytes));
    const place = (at: Node): Node => {
      const host = r.call('resolve', [cpu, at, r.i32(0), r.i32(ACCESS.READ)], 'i32');
      give0(r.n('i32.eqz', host));
      give0(r.n('i32.and', attentionAt(r, host, 0), r.i32(ATTENTION.WATCH_READ)));
      return host;
    };
    const host = place(va);
    const part = r.n('i32.sub', r.i32(4096), r.n('i32.and', r.wrap(va), r.i32(4095)));
    r.if(r.n('i32.le_u', bytes, part), () => r.return(host));
    const host2 = place(r.n('i64.add', pageOf(r, va), r.i64(4096)));
    const buffer = r.n('i32.add', cpu, r.i32(offsetOf('scratch1')));
    r.callVoid('memory.copy', [buffer, host, part]);
    r.callVoid('memory.copy', [r.n('i32.add', buffer, part), host2, r.n('i32.sub', bytes, part)]);
    return buffer;
  });

  /** The address in linear memory where the bytes may be stored at once. */
  t.define('region_write', ['i32', 'i64', 'i32'], ['i32'], (r, cpu, va, bytes) => {
    const give0 = (when: Node): void => r.if(when, () => r.return(r.i32(0)));
    give0(outside(r, va, bytes));
    const offset = r.n('i32.and', r.wrap(va), r.i32(4095));
    give0(r.n('i32.gt_u', r.n('i32.add', offset, bytes), r.i32(4096)));
    const host = r.call('resolve', [cpu, va, r.i32(0), r.i32(ACCESS.WRITE)], 'i32');
    give0(r.n('i32.eqz', host));
    const attention = attentionAt(r, host, ATTENTION.WATCH_WRITE);
    give0(r.n('i32.and', attention, r.i32(ATTENTION.WATCH_WRITE | ATTENTION.WATCH_READ)));
    const frame = r.n('i32.shr_u', r.n('i32.sub', host, global(r, 'framesBase')), r.i32(12));
    r.if(r.n('i32.and', attention, r.i32(ATTENTION.CODE)), () => {
      const lines = r.load(
        'i64.load',
        r.n('i32.add', global(r, 'codeLines'), r.n('i32.shl', frame, r.i32(3))),
      );
      const line = (at: Node): Node => r.n('i64.shr_u', lines, r.bool(r.n('i32.shr_u', at, r.i32(6))));
      const last = r.n('i32.sub', r.n('i32.add', offset, bytes), r.i32(1));
      give0(r.condition(r.n('i64.and', r.n('i64.or', line(offset), line(last)), r.i64(1))));
    });
    r.if(r.n('i32.and', attention, r.i32(ATTENTION.COW)), () => r.callVoid('cow', [frame]));
    return host;
  });
}
