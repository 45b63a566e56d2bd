/**
 * Page tables: mmu_update of entries of L1 tables, update_va_mapping, and the stores to L1 tables that the hypervisor
 * makes for the kernel. Frames are counted in the very table that the hypervisor has (frames.ts).
 */
import {
  HYPERVISOR_VIRT_END, MMU, PTE, UVMF, UVMF_FLUSHTYPE_MASK, mmu_update as mmuUpdate,
} from '../../abi/mmu'; // prettier-ignore
import type { Node } from '../../cpu/ir/nodes';
import type { Recorder } from '../../cpu/ir/recorder';
import { RFLAGS, offsetOf } from '../../cpu/state';
import type { Routines } from '../../cpu/wasm/routines';
import { CAPTURE_LIMIT } from '../../hypervisor/hypercall';
import { mmu_update, update_va_mapping } from '../../hypervisor/hypercalls/mmu';
import { baseTables } from './bases';
import { MOST_ENTRIES, entries } from './entries';
import { frameWords, onlyTables, type Places } from './frames';
import {
  CPU, INFO, both, codeAt, done, elements, flushAll, flushPage, inGuestsPart, increment, infoByte, low, no, not, noUpcall, reg, retires, setReg, tableCall, unless,
} from './words'; // prettier-ignore

/** HEAD.names of mmu_update: one number for each list of names. */
const NAMES = { entry: 1, entryKept: 4 } as const;
const PTR = mmuUpdate.offset.ptr;

export function tableCalls(places: Places): {
  readonly update: (r: Recorder) => void;
  readonly updateVa: (r: Recorder) => void;
  readonly extended: (r: Recorder) => void;
  /** Functions that these call. */
  readonly define: (t: Routines) => void;
  readonly write: (r: Recorder) => void;
} {
  const w = frameWords(places);
  const { addressOf, plainTable, walk } = w;
  const { noteNothing, define } = entries(places, w);
  const { extended } = baseTables(w);

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

  /** hypercalls/mmu.ts updateVa, flushVa, of this vCPU's translations. */
  function updateVa(r: Recorder): void {
    const [va, value, flags] = [reg(r, 'rdi'), reg(r, 'rsi'), reg(r, 'rdx')];
    const kind = r.n('i32.and', r.wrap(flags), r.i32(Number(UVMF_FLUSHTYPE_MASK)));
    const here = r.n('i64.eqz', r.n('i64.and', flags, r.i64(not(UVMF_FLUSHTYPE_MASK))));
    unless(r, both(r, inGuestsPart(r, va), r.n('i32.or', r.n('i32.eqz', kind), here)));
    const table = walk(r, va, 2, (level) => ({
      looked: PTE.PRESENT | onlyTables(level),
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
      looked: PTE.PRESENT | PTE.RW | onlyTables(level),
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

  return { update, updateVa, extended, define, write };
}
