/**
 * Entries of L1 tables: what an entry's change means for the frames that the old and the new one name. What would give
 * a frame a type, take it one, or be refused is the hypervisor's. Of several entries in one call each is done after the
 * other, with a journal: where one is out of the ordinary, all are put back.
 */
import { PTE, mmu_update as mmuUpdate } from '../../abi/mmu';
import type { Node } from '../../cpu/ir/nodes';
import type { Recorder } from '../../cpu/ir/recorder';
import type { Routines } from '../../cpu/wasm/routines';
import { FRAME_FLAG, FRAME_TYPE } from '../../hypervisor/frames';
import { DISALLOWED_L1, HARMLESS } from '../../hypervisor/pagetypes';
import type { FrameWords, Places } from './frames';
import { both, has, not, setAnnex, unless, word } from './words';

/** An address (i32, and as many bytes of nothing), and the 64 bits that stood there. */
const NOTE_SIZE = 16;
/** What one entry of a table changes at most: itself, and of two frames counts, type and flags. */
const NOTES = 8;
/** Entries that one mmu_update may have. */
export const MOST_ENTRIES = 128;
export const JOURNAL_SIZE = MOST_ENTRIES * NOTES * NOTE_SIZE;

const [PTR, VAL] = [mmuUpdate.offset.ptr, mmuUpdate.offset.val];

export function entries(
  { frames, journal }: Places,
  w: FrameWords,
): {
  /** Before the first change of a call. */
  readonly noteNothing: (r: Recorder) => void;
  /** `modify`, `update_entry` and `undo`, which calls call. */
  readonly define: (t: Routines) => void;
} {
  const { count, add, byte, setByte, own, hasType, validated, existing, named, addressOf, plainTable } = w;
  /** Before a store at `address + offset`, of 8 bytes at most: what may have to be put back (`undo`). */
  const note = (r: Recorder, address: Node, offset = 0): void => {
    const at = word(r, 'journal');
    r.store('i32.store', at, r.n('i32.add', address, r.i32(offset)));
    r.store('i64.store', at, r.load('i64.load', address, offset), NOTE_SIZE / 2);
    setAnnex(r, 'journal', r.n('i32.add', at, r.i32(NOTE_SIZE)));
  };
  const noteNothing = (r: Recorder): void => {
    setAnnex(r, 'journal', r.i32(journal));
  };
  const noteAdd = (r: Recorder, of: 'refs' | 'typeCount', mfn: Node, by: number): void => {
    note(r, r.n('i32.shl', mfn, r.i32(2)), frames[of].byteOffset);
    add(r, of, mfn, by);
  };

  /** pagetypes.ts modEntry of level 1: leaves where it is not to be. */
  function modify(r: Recorder, place: Node, value: Node, keep: Node): void {
    const old = r.load('i64.load', place);
    const allowed = r.n('i32.eqz', has(r, value, DISALLOWED_L1));
    const present = has(r, value, PTE.PRESENT);
    const alike = r.n('i32.eqz', has(r, r.n('i64.xor', old, value), not(HARMLESS)));
    const same = both(r, both(r, present, alike), allowed);
    const taken = r.local('i32', r.i32(-1));
    const dropped = r.local('i32', r.i32(-1));
    const [writable, wasWritable] = [has(r, value, PTE.RW), has(r, old, PTE.RW)];
    r.if(r.n('i32.eqz', same), () => {
      r.if(present, () => {
        unless(r, allowed);
        const mfn = named(r, value);
        unless(r, own(r, mfn));
        r.if(both(r, writable, r.n('i32.ne', count(r, 'typeCount', mfn), r.i32(0))), () => {
          unless(r, both(r, hasType(r, mfn, FRAME_TYPE.writable), validated(r, mfn)));
        });
        r.assign(taken, mfn);
      });
      r.if(has(r, old, PTE.PRESENT), () => {
        const mfn = named(r, old);
        unless(r, r.n('i32.gt_u', count(r, 'refs', mfn), r.i32(1)));
        r.if(
          wasWritable,
          () => {
            unless(
              r,
              both(
                r,
                hasType(r, mfn, FRAME_TYPE.writable),
                r.n('i32.ne', count(r, 'typeCount', mfn), r.i32(0)),
              ),
            );
          },
          () => {
            unless(r, r.n('i32.eqz', hasType(r, mfn, FRAME_TYPE.segdesc)));
          },
        );
        r.assign(dropped, mfn);
      });
    });
    const [get, put] = [r.read(taken), r.read(dropped)];
    r.if(r.n('i32.ge_s', get, r.i32(0)), () => {
      noteAdd(r, 'refs', get, 1);
      r.if(writable, () => {
        r.if(r.n('i32.eqz', count(r, 'typeCount', get)), () => {
          note(r, get, frames.type.byteOffset);
          note(r, get, frames.flags.byteOffset);
          setByte(r, 'type', get, r.i32(FRAME_TYPE.writable));
          setByte(r, 'flags', get, r.n('i32.or', byte(r, 'flags', get), r.i32(FRAME_FLAG.VALIDATED)));
        });
        noteAdd(r, 'typeCount', get, 1);
      });
    });
    r.if(r.n('i32.ge_s', put, r.i32(0)), () => {
      noteAdd(r, 'refs', put, -1);
      r.if(wasWritable, () => {
        noteAdd(r, 'typeCount', put, -1);
      });
    });
    // adjustLow, adjustHigh
    const user = has(r, value, PTE.USER);
    const kernels = r.n('i64.or', value, r.i64(PTE.USER | PTE.GUEST_KERNEL));
    const users = r.n(
      'select',
      value,
      r.n('i64.or', value, r.i64(PTE.GLOBAL)),
      has(r, value, PTE.GUEST_KERNEL),
    );
    const adjusted = r.n('select', r.n('select', users, kernels, user), value, present);
    note(r, place);
    r.store('i64.store', place, r.n('i64.or', adjusted, r.n('i64.and', old, keep)));
  }

  function define(t: Routines): void {
    /** Entry, value, which of the old bits stay. */
    t.define('modify', ['i32', 'i32', 'i64', 'i64'], ['i32'], (r, _cpu, place, value, keep) => {
      modify(r, place, value, keep);
      return r.i32(1);
    });
    /** hypercalls/mmu.ts updateEntry: a request, and the command that it must have. */
    t.define('update_entry', ['i32', 'i32', 'i32'], ['i32'], (r, cpu, host, command) => {
      const pointer = r.load('i64.load', host, PTR);
      const value = r.load('i64.load', host, VAL);
      unless(r, r.n('i32.eq', r.n('i32.and', r.wrap(pointer), r.i32(7)), command));
      const table = existing(r, r.n('i64.shr_u', pointer, r.i64(12)));
      plainTable(r, table);
      const place = r.n('i32.add', addressOf(r, table), r.n('i32.and', r.wrap(pointer), r.i32(0xff8)));
      const keep = r.n('select', r.i64(PTE.ACCESSED | PTE.DIRTY), r.i64(0), command);
      return r.call('modify', [cpu, place, value, keep], 'i32');
    });
    t.define('undo', ['i32'], [], (r) => {
      const at = r.local('i32', word(r, 'journal'));
      r.loop(
        () => r.n('i32.gt_u', r.read(at), r.i32(journal)),
        () => {
          const last = r.n('i32.sub', r.read(at), r.i32(NOTE_SIZE));
          r.store('i64.store', r.load('i32.load', last), r.load('i64.load', last, NOTE_SIZE / 2));
          r.assign(at, last);
        },
      );
      return undefined;
    });
  }

  return { noteNothing, define };
}
