import type { Width } from '../ops';
import { RECORD, type OperandSource, type RegisterSlot } from '../record';
import { offsetOf } from '../state';
import type { Source } from '../operands';
import type { Node } from './nodes';
import type { Recorder } from './recorder';

/**
 * Operands read at run time from a decoded record: parameter 0 of a handler is the vCPU, parameter 1 the record.
 * The record does not change while a handler runs, so its fields are pure; registers are not.
 */
export function recordSource(r: Recorder): OperandSource<Node, Node> {
  const cpu = r.param('i32', 0);
  const rec = r.param('i32', 1);
  const place = (slot: 'r1' | 'r2' | 'base' | 'index' | 'segment'): Node =>
    r.n('i32.add', cpu, r.pure('i32.load16_u', [rec], RECORD[slot]));
  const i64 = (slot: 'disp' | 'imm' | 'mask'): Node => r.pure('i64.load', [rec], RECORD[slot]);
  const loadName = (w: Width, signed: boolean): string =>
    w === 64 ? 'i64.load' : `i64.load${w}_${signed ? 's' : 'u'}`;
  const storeName = (w: Width): string => (w === 64 ? 'i64.store' : `i64.store${w}`);

  const offset = (): Node => {
    const shift = r.pure('i64.load8_u', [rec], RECORD.shift);
    const scaled = r.n('i64.shl', r.load('i64.load', place('index')), shift);
    const sum = r.n('i64.add', r.n('i64.add', r.load('i64.load', place('base')), scaled), i64('disp'));
    return r.n('i64.and', sum, i64('mask'));
  };
  const segBase = (): Node => r.load('i64.load', place('segment'));

  return {
    gpr: (slot, w) => r.load(loadName(w, false), place(slot)),
    gprSigned: (slot, w) => r.load(loadName(w, true), place(slot)),
    setGpr(slot, w, v) {
      if (w === 32) r.store('i64.store', place(slot), v.bits <= 32 ? v : r.bool(r.wrap(v)));
      else r.store(storeName(w), place(slot), v);
    },
    vecPart: (slot, w) => r.load(loadName(w, false), place(slot)),
    setVecPart: (slot, w, v) => r.store(storeName(w), place(slot), v),
    vec: (slot) => r.load('v128.load', place(slot)),
    setVec: (slot, v) => r.store('v128.store', place(slot), v),
    registerNumber(slot: RegisterSlot, kind: 'gpr' | 'xmm' | 'mm') {
      const first = offsetOf(kind === 'gpr' ? 'rax' : kind === 'xmm' ? 'xmm0' : 'fpr0');
      const distance = r.n('i32.sub', r.pure('i32.load16_u', [rec], RECORD[slot]), r.i32(first));
      return r.bool(r.n('i32.shr_u', distance, r.i32(kind === 'gpr' ? 3 : 4)));
    },
    number: () => r.pure('i64.load8_u', [rec], RECORD.number),
    imm: () => i64('imm'),
    offset,
    address: () => r.n('i64.add', offset(), segBase()),
    segBase,
  };
}

/** The one cast to the opaque values of `Ops`. */
export const asSource = (s: OperandSource<Node, Node>): Source => s as unknown as Source;
