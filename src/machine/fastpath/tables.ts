/**
 * Page tables: mmu_update of one entry of an L1 table, and the base tables of a switch from one process to another
 * (mmuext_op). Frames are counted in the very table that the hypervisor has (frames.ts), which lies in the machine's
 * memory for that; what would give a frame a type, take it one, or be refused is the hypervisor's.
 */
import { DOMID } from '../../abi/domains';
import {
  HYPERVISOR_VIRT_END, MMU, MMUEXT, PTE, PTE_FRAME, UVMF, UVMF_FLUSHTYPE_MASK, mmu_update as mmuUpdate, mmuext_op as mmuextOp,
} from '../../abi/mmu'; // prettier-ignore
import type { Node } from '../../cpu/ir/nodes';
import type { Recorder } from '../../cpu/ir/recorder';
import { FRAME_FLAG, FRAME_TYPE, type FrameTable } from '../../hypervisor/frames';
import { CAPTURE_LIMIT } from '../../hypervisor/hypercall';
import { mmu_update, mmuext_op, update_va_mapping } from '../../hypervisor/hypercalls/mmu';
import { DISALLOWED_L1, HARMLESS } from '../../hypervisor/pagetypes';
import { M2P_SLOT } from '../../hypervisor/xenslots';
import { ALLOWED } from './annex';
import { RFLAGS, offsetOf } from '../../cpu/state';
import { EXEC_ENTRY_SHIFT, TLB_ENTRY_SHIFT } from '../../cpu/wasm/abi';
import type { Routines } from '../../cpu/wasm/routines';
import {
  CPU, INFO, codeAt, done, execEntryOf, increment, infoByte, low, no, noUpcall, reach, reg, retires, setAnnex, setReg, tableCall, tlbEntryOf, wide,
  word,
} from './words'; // prettier-ignore

/** Where things lie in the machine's memory. */
export interface Places {
  readonly frames: Pick<FrameTable, 'count' | 'owner' | 'type' | 'typeCount' | 'refs' | 'flags'>;
  readonly framesBase: number;
  /** A byte a frame: who wants to hear of stores to it. */
  readonly attention: number;
  /** JOURNAL_SIZE bytes. */
  readonly journal: number;
}

/** An address (i32, and as many bytes of nothing), and the 64 bits that stood there. */
const NOTE_SIZE = 16;
/** What one entry of a table changes at most: itself, and of two frames counts, type and flags. */
const NOTES = 8;
/** Entries that one mmu_update may have. */
const MOST_ENTRIES = 128;
export const JOURNAL_SIZE = MOST_ENTRIES * NOTES * NOTE_SIZE;

/** HEAD.names of the calls that are seen to here. */
const NAMES = { entry: 1, kernelBase: 2, bothBases: 3, entryKept: 4, flushPage: 5, flush: 6 } as const;
const [PTR, VAL] = [mmuUpdate.offset.ptr, mmuUpdate.offset.val];
const { cmd: CMD, arg1: ARG1 } = mmuextOp.offset;
const not = (bits: bigint): bigint => BigInt.asUintN(64, ~bits);

export function tableCalls({ frames, framesBase, attention, journal }: Places): {
  readonly update: (r: Recorder) => void;
  readonly updateVa: (r: Recorder) => void;
  readonly extended: (r: Recorder) => void;
  /** Functions that these call. */
  readonly define: (t: Routines) => void;
  readonly write: (r: Recorder) => void;
} {
  const count = (r: Recorder, of: 'refs' | 'typeCount', mfn: Node): Node =>
    r.load('i32.load', r.n('i32.shl', mfn, r.i32(2)), frames[of].byteOffset);
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
  const add = (r: Recorder, of: 'refs' | 'typeCount', mfn: Node, by: number): void => {
    const sum = r.n('i32.add', count(r, of, mfn), r.i32(by));
    r.store('i32.store', r.n('i32.shl', mfn, r.i32(2)), sum, frames[of].byteOffset);
  };
  const byte = (r: Recorder, of: 'type' | 'flags', mfn: Node): Node =>
    r.load('i32.load8_u', mfn, frames[of].byteOffset);
  const setByte = (r: Recorder, of: 'type' | 'flags', mfn: Node, v: Node): void => {
    r.store('i32.store8', mfn, v, frames[of].byteOffset);
  };
  const unless = (r: Recorder, good: Node): void => {
    r.if(r.n('i32.eqz', good), () => {
      no(r);
    });
  };
  const both = (r: Recorder, a: Node, b: Node): Node => r.n('i32.and', a, b);
  /** getPage: a frame of the domain at hand. */
  const own = (r: Recorder, mfn: Node): Node => {
    const owner = r.load('i32.load16_u', r.n('i32.shl', mfn, r.i32(1)), frames.owner.byteOffset);
    const id = r.n('i32.and', word(r, 'who'), r.i32(0xffff));
    return both(r, r.n('i32.eq', owner, id), r.n('i32.ne', count(r, 'refs', mfn), r.i32(0)));
  };
  const hasType = (r: Recorder, mfn: Node, type: number): Node =>
    r.n('i32.eq', byte(r, 'type', mfn), r.i32(type));
  const validated = (r: Recorder, mfn: Node): Node =>
    r.n('i32.ne', r.n('i32.and', byte(r, 'flags', mfn), r.i32(FRAME_FLAG.VALIDATED)), r.i32(0));
  /** A frame that 64 bits name, as a number of 32; leaves where there is none. */
  const existing = (r: Recorder, mfn: Node): Node => {
    unless(r, r.n('i64.lt_u', mfn, r.i64(frames.count)));
    return r.wrap(mfn);
  };
  const named = (r: Recorder, entry: Node): Node =>
    existing(r, r.n('i64.shr_u', r.n('i64.and', entry, r.i64(PTE_FRAME)), r.i64(12)));
  const addressOf = (r: Recorder, mfn: Node): Node =>
    r.n('i32.add', r.n('i32.shl', mfn, r.i32(12)), r.i32(framesBase));
  const has = (r: Recorder, entry: Node, bits: bigint): Node =>
    r.n('i64.ne', r.n('i64.and', entry, r.i64(bits)), r.i64(0));

  const baseOf = (r: Recorder, name: 'kernelBase' | 'userBase'): Node =>
    r.wrap(r.n('i64.shr_u', wide(r, name), r.i64(12)));

  /** What mmu_update and mmuext_op have in common: an array in the kernel's memory, no count wanted, one's own frames. */
  function elements(r: Recorder, bytes: number | Node): Node {
    const at = reg(r, 'rdi');
    const plain = both(
      r,
      both(r, r.n('i64.ge_u', at, r.i64(HYPERVISOR_VIRT_END)), r.n('i64.eqz', reg(r, 'rdx'))),
      r.n('i32.eq', low(r, 'r10'), r.i32(DOMID.SELF)),
    );
    unless(r, plain);
    return reach(r, word(r, 'kernelTlb'), at, bytes, false);
  }

  /** A table of level 1 of the domain's own, to which a store need not be announced. */
  function plainTable(r: Recorder, table: Node): void {
    unless(r, both(r, own(r, table), hasType(r, table, FRAME_TYPE.l1)));
    unless(r, count(r, 'typeCount', table));
    r.if(r.load('i32.load8_u', table, attention), () => {
      no(r);
    });
  }

  /** hypercalls/mmu.ts mmu_update: of one command, up to what is out of the ordinary, and then all is put back. */
  function update(r: Recorder): void {
    const count = low(r, 'rsi');
    unless(r, r.n('i32.lt_u', r.n('i32.sub', count, r.i32(1)), r.i32(MOST_ENTRIES)));
    const bytes = r.n('i32.mul', count, r.i32(mmuUpdate.size));
    const host = elements(r, bytes);
    const command = r.n('i32.and', r.load('i32.load', host, PTR), r.i32(7));
    const kept = r.n('i32.eq', command, r.i32(MMU.MMU_PT_UPDATE_PRESERVE_AD));
    unless(r, r.n('i32.or', kept, r.n('i32.eq', command, r.i32(MMU.MMU_NORMAL_PT_UPDATE))));
    const limit = r.i32(CAPTURE_LIMIT);
    const captured = {
      linear: reg(r, 'rdi'),
      host,
      bytes: r.n('select', bytes, limit, r.n('i32.lt_u', bytes, limit)),
      names: r.n('select', r.i32(NAMES.entryKept), r.i32(NAMES.entry), kept),
    };
    const act = (): void => {
      noteNothing(r);
      const at = r.local('i32', host);
      const end = r.n('i32.add', host, bytes);
      r.loop(
        () => r.n('i32.lt_u', r.read(at), end),
        () => {
          r.if(r.n('i32.eqz', r.call('update_entry', [CPU(r), r.read(at), command], 'i32')), () => {
            r.callVoid('undo', [CPU(r)]);
            no(r);
          });
          r.assign(at, r.n('i32.add', r.read(at), r.i32(mmuUpdate.size)));
        },
      );
    };
    tableCall(r, mmu_update.nr, act, captured);
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

  /** The tables from the base to `to`, entries having of the bits `looked` at what is `wanted`: the frame that the last names. */
  function walk(
    r: Recorder,
    address: Node,
    to: 1 | 2,
    bits: (level: 1 | 2 | 3 | 4) => { readonly looked: bigint; readonly wanted: bigint },
  ): Node {
    const table = r.local('i32', baseOf(r, 'kernelBase'));
    for (const level of ([4, 3, 2, 1] as const).filter((l) => l >= to)) {
      const index = r.wrap(r.n('i64.and', r.n('i64.shr_u', address, r.i64(9 * level)), r.i64(0xff8)));
      const entry = r.load('i64.load', r.n('i32.add', addressOf(r, r.read(table)), index));
      const { looked, wanted } = bits(level);
      unless(r, r.n('i64.eq', r.n('i64.and', entry, r.i64(looked)), r.i64(wanted)));
      r.assign(table, named(r, entry));
    }
    return r.read(table);
  }
  const ONLY_TABLES = (level: number): bigint => (level === 3 || level === 2 ? PTE.PSE : 0n);

  /** guest-memory.ts addressOk. */
  const inGuestsPart = (r: Recorder, va: Node): Node =>
    r.n('i32.or', r.n('i64.ge_u', va, r.i64(HYPERVISOR_VIRT_END)), r.n('i64.lt_u', va, r.i64(1n << 47n)));
  /** Vcpu.flushPage */
  function flushPage(r: Recorder, address: Node): void {
    for (const name of ['kernelTlb', 'userTlb'] as const) {
      const set = word(r, name);
      r.callVoid('memory.fill', [tlbEntryOf(r, set, address), r.i32(0xff), r.i32(1 << TLB_ENTRY_SHIFT)]);
      r.callVoid('memory.fill', [execEntryOf(r, set, address), r.i32(0xff), r.i32(1 << EXEC_ENTRY_SHIFT)]);
    }
  }
  /** Vcpu.flushTlb */
  function flushAll(r: Recorder): void {
    r.callVoid('flush_set', [word(r, 'kernelTlb')]);
    r.callVoid('flush_set', [word(r, 'userTlb')]);
  }

  /** hypercalls/mmu.ts updateVa, flushVa, of this vCPU's translations. */
  function updateVa(r: Recorder): void {
    const [va, value, flags] = [reg(r, 'rdi'), reg(r, 'rsi'), reg(r, 'rdx')];
    const kind = r.n('i32.and', r.wrap(flags), r.i32(Number(UVMF_FLUSHTYPE_MASK)));
    const here = r.n('i64.eqz', r.n('i64.and', flags, r.i64(not(UVMF_FLUSHTYPE_MASK))));
    unless(r, both(r, inGuestsPart(r, va), r.n('i32.or', r.n('i32.eqz', kind), here)));
    const table = walk(r, va, 2, (level) => ({
      looked: PTE.PRESENT | ONLY_TABLES(level),
      wanted: PTE.PRESENT,
    }));
    plainTable(r, table);
    const index = r.wrap(r.n('i64.and', r.n('i64.shr_u', va, r.i64(9)), r.i64(0xff8)));
    const place = r.n('i32.add', addressOf(r, table), index);
    tableCall(r, update_va_mapping.nr, () => {
      noteNothing(r);
      unless(r, r.call('modify', [CPU(r), place, value, r.i64(0)], 'i32'));
      r.if(r.n('i32.eq', kind, r.i32(UVMF.UVMF_INVLPG)), () => {
        flushPage(r, va);
      });
      r.if(r.n('i32.eq', kind, r.i32(UVMF.UVMF_TLB_FLUSH)), () => {
        flushAll(r);
      });
    });
  }

  /**
   * ptwrite.ts emulateTableWrite, of an aligned MOV or XCHG of 64 bits by a kernel that addresses through a register;
   * what XCHG finds there becomes the register's. In a stretch of code that is being fetched from.
   */
  function write(r: Recorder): void {
    const address = reg(r, 'exit_address');
    const plain = both(
      r,
      r.n('i64.ge_u', address, r.i64(HYPERVISOR_VIRT_END)),
      r.n('i32.eqz', r.n('i32.and', r.wrap(address), r.i32(7))),
    );
    const tf = r.n('i32.and', low(r, 'rflags'), r.i32(Number(RFLAGS.TF)));
    unless(r, both(r, plain, r.n('i32.eqz', tf)));
    retires(r);

    const rip = reg(r, 'rip');
    const code = r.load('i32.load', codeAt(r, rip, 4));
    const bits = (shift: number, mask: number): Node =>
      r.n('i32.and', r.n('i32.shr_u', code, r.i32(shift)), r.i32(mask));
    // REX.W, the opcode, and a ModRM byte of register and register-indirect memory, perhaps with a byte's distance.
    unless(r, r.n('i32.eq', bits(0, 0xf8), r.i32(0x48)));
    const exchanges = r.n('i32.eq', bits(8, 0xff), r.i32(0x87));
    unless(r, r.n('i32.or', exchanges, r.n('i32.eq', bits(8, 0xff), r.i32(0x89))));
    const [mod, rm] = [bits(22, 3), bits(16, 7)];
    const direct = both(r, r.n('i32.eqz', mod), r.n('i32.ne', rm, r.i32(5)));
    const near = r.n('i32.eq', mod, r.i32(1));
    unless(r, both(r, r.n('i32.or', direct, near), r.n('i32.ne', rm, r.i32(4))));
    const number = r.n('i32.or', bits(19, 7), r.n('i32.shl', bits(2, 1), r.i32(3)));
    const register = r.n('i32.add', r.param('i32', 0), r.n('i32.shl', number, r.i32(3)));

    // Only the L1 entry is in the way.
    const target = walk(r, address, 1, (level) => ({
      looked: PTE.PRESENT | PTE.RW | ONLY_TABLES(level),
      wanted: level === 1 ? PTE.PRESENT : PTE.PRESENT | PTE.RW,
    }));
    plainTable(r, target);
    const place = r.n('i32.add', addressOf(r, target), r.n('i32.and', r.wrap(address), r.i32(0xff8)));
    const old = r.load('i64.load', place);
    const value = r.load('i64.load', register, offsetOf('rax'));
    // Nothing came out different: nothing is written.
    r.if(r.n('i64.eq', old, value), () => {
      no(r);
    });
    noUpcall(r, infoByte(r, INFO.evtchn_upcall_mask));
    noteNothing(r);
    unless(r, r.call('modify', [CPU(r), place, value, r.i64(0)], 'i32'));
    r.if(exchanges, () => {
      r.store('i64.store', register, old, offsetOf('rax'));
    });
    setReg(r, 'rip', r.n('i64.add', rip, r.n('select', r.i64(4), r.i64(3), near)));
    setReg(r, 'icount', r.n('i64.add', reg(r, 'icount'), r.i64(1)));
    flushPage(r, address);
    increment(r, 'writes');
    done(r);
  }

  /** A base table that stays one, with a use more. */
  function good(r: Recorder, mfn: Node): void {
    const uses = r.n('i32.ne', count(r, 'typeCount', mfn), r.i32(0));
    unless(
      r,
      both(r, both(r, own(r, mfn), hasType(r, mfn, FRAME_TYPE.l4)), both(r, uses, validated(r, mfn))),
    );
  }
  /** One that stays one with a use less. */
  function spared(r: Recorder, mfn: Node): void {
    const many = (of: 'refs' | 'typeCount'): Node => r.n('i32.gt_u', count(r, of, mfn), r.i32(1));
    unless(r, both(r, many('refs'), many('typeCount')));
  }
  const use = (r: Recorder, mfn: Node, by: 1 | -1): void => {
    add(r, 'refs', mfn, by);
    add(r, 'typeCount', mfn, by);
  };

  /** hypercalls/mmu.ts mmuext_op: INVLPG_LOCAL, TLB_FLUSH_LOCAL, or base tables. */
  function extended(r: Recorder): void {
    r.if(r.n('i32.eq', low(r, 'rsi'), r.i32(1)), () => {
      const host = elements(r, mmuextOp.size);
      const command = r.load('i32.load', host, CMD);
      const address = r.load('i64.load', host, ARG1);
      const captured = { linear: reg(r, 'rdi'), host, bytes: mmuextOp.size };
      r.if(r.n('i32.eq', command, r.i32(MMUEXT.MMUEXT_INVLPG_LOCAL)), () => {
        unless(r, inGuestsPart(r, address));
        tableCall(
          r,
          mmuext_op.nr,
          () => {
            flushPage(r, address);
          },
          { ...captured, names: NAMES.flushPage },
        );
      });
      r.if(r.n('i32.eq', command, r.i32(MMUEXT.MMUEXT_TLB_FLUSH_LOCAL)), () => {
        tableCall(
          r,
          mmuext_op.nr,
          () => {
            flushAll(r);
          },
          { ...captured, names: NAMES.flush },
        );
      });
    });
    bases(r);
  }

  /** basetables.ts newKernelBase, and behind it newUserBase. */
  function bases(r: Recorder): void {
    unless(r, r.n('i32.and', word(r, 'allowed'), r.i32(ALLOWED.bases)));
    const elementCount = low(r, 'rsi');
    const command = (host: Node, i: number): Node => r.load('i32.load', host, i * mmuextOp.size + CMD);
    const frame = (host: Node, i: number): Node =>
      existing(r, r.load('i64.load', host, i * mmuextOp.size + ARG1));
    const withBoth = (many: 1 | 2): void => {
      const host = elements(r, many * mmuextOp.size);
      unless(r, r.n('i32.eq', command(host, 0), r.i32(MMUEXT.MMUEXT_NEW_BASEPTR)));
      const to = frame(host, 0);
      const from = baseOf(r, 'kernelBase');
      const isNew = r.n('i32.ne', to, from);
      r.if(isNew, () => {
        good(r, to);
        // What showM2p would write stands there.
        unless(r, r.condition(r.load('i64.load', addressOf(r, to), 8 * M2P_SLOT)));
        spared(r, from);
      });
      const user = many === 1 ? undefined : { to: frame(host, 1), from: baseOf(r, 'userBase') };
      if (user !== undefined) {
        unless(r, r.n('i32.eq', command(host, 1), r.i32(MMUEXT.MMUEXT_NEW_USER_BASEPTR)));
        unless(r, r.n('i32.ne', user.from, from));
        r.if(r.n('i32.ne', user.to, user.from), () => {
          r.if(user.to, () => {
            good(r, user.to);
          });
          r.if(user.from, () => {
            spared(r, user.from);
          });
        });
      }
      const act = (): void => {
        const base = (mfn: Node): Node => r.n('i64.shl', r.bool(mfn), r.i64(12));
        r.if(isNew, () => {
          use(r, to, 1);
          use(r, from, -1);
          setAnnex(r, 'kernelBase', base(to));
          setReg(r, 'cr3', base(to));
        });
        if (user !== undefined) {
          r.if(r.n('i32.ne', user.to, user.from), () => {
            // 0: none.
            r.if(user.to, () => {
              use(r, user.to, 1);
            });
            r.if(user.from, () => {
              use(r, user.from, -1);
            });
            setAnnex(r, 'userBase', base(user.to));
          });
        }
        flushAll(r);
      };
      tableCall(r, mmuext_op.nr, act, {
        linear: reg(r, 'rdi'),
        host,
        bytes: many * mmuextOp.size,
        names: many === 1 ? NAMES.kernelBase : NAMES.bothBases,
      });
    };
    r.if(r.n('i32.eq', elementCount, r.i32(1)), () => {
      withBoth(1);
    });
    r.if(r.n('i32.eq', elementCount, r.i32(2)), () => {
      withBoth(2);
    });
    no(r);
  }

  return { update, updateVa, extended, define, write };
}
