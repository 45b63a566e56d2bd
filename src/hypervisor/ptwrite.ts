/**
 * Writable page tables (VMASST_TYPE_writable_pagetables): the guest's kernel stores to an L1 table that it has
 * mapped read-only, and Xen makes the store as if mmu_update had been called (ptwr_do_page_fault).
 *
 * The store need not be decoded: the instruction is run once against a copy of the table, mapped in the table's
 * place for that one instruction, and the entries that came out different are then checked and written. The copy is
 * made in a page of Xen's own that is full of zeros before and after, so that this leaves nothing behind.
 */
import { PTE, VMASST_TYPE, makePte, pteFrame } from '../abi/mmu';
import type { DomainId } from '../base/branded';
import { EXIT } from '../cpu/exits';
import { wordOf } from '../cpu/state';
import type { Vcpu } from '../cpu/types';
import type { Core } from './core';
import { assists } from './domain';
import { FRAME_TYPE } from './frames';
import { addressOk, walkTables } from './guest-memory';
import type { Fault } from './state';
import type { GuestVcpu, Outcome } from './types';

const PRESENT_AND_WRITE = 3;

export function emulateTableWrite(core: Core, v: GuestVcpu, fault: Fault): Outcome | undefined {
  const { cpu, state, domain } = v;
  const { address } = fault;
  if (address === undefined || !state.kernelMode) return undefined;
  if (((fault.error ?? 0) & PRESENT_AND_WRITE) !== PRESENT_AND_WRITE) return undefined;
  if (!assists(domain, VMASST_TYPE.VMASST_TYPE_writable_pagetables)) return undefined;

  const steps = walkTables(core.memory, state.kernelTable, address);
  const leaf = steps[3];
  if (leaf === undefined || (leaf.entry & PTE.PRESENT) === 0n || (leaf.entry & PTE.RW) !== 0n)
    return undefined;
  // Read-only higher up is the guest's doing, and its fault.
  if (steps.some((s) => s.level !== 1 && (s.entry & PTE.RW) === 0n)) return undefined;
  const table = pteFrame(leaf.entry);
  // Xen's own slots lead to the tables, too, but not for the guest.
  if (!addressOk(address)) return undefined;
  const { frames, memory } = core;
  if (table >= frames.count || frames.owner[table] !== domain.id) return undefined;
  if (frames.type[table] !== FRAME_TYPE.l1 || (frames.typeCount[table] ?? 0) === 0) return undefined;

  const copy = core.slots.zeroPage;
  memory.copy(copy, table);
  const aside = leaf.entry;
  const before = saveRegisters(cpu);
  // Another operand may have found the copy by another address, where two tables lead to the entry.
  const alone = storesAlone(cpu);
  memory.write64(
    leaf.table,
    leaf.index,
    makePte(copy, PTE.PRESENT | PTE.RW | PTE.USER | PTE.ACCESSED | PTE.DIRTY),
  );
  cpu.flushPage(address);
  core.cpu.skipBreakpoint(cpu);
  const rcx = cpu.get('rcx');
  const exit = cpu.run(cpu.get('icount') + 1n);
  memory.write64(leaf.table, leaf.index, aside);
  if (alone) cpu.flushPage(address);
  else cpu.flushTlb();

  // Anything but a finished instruction (a fault of another operand) leaves the original fault to the guest. A
  // kick leaves everything as it was, and the store is simply tried again: when it comes must not show, and it may
  // come between the elements of a repetition. A repetition that faults at a later element goes on from there.
  const repeated = exit === EXIT.EXCEPTION && cpu.get('rcx') !== rcx && cpu.get('rip') === before.rip;
  let outcome: Outcome | undefined = exit === EXIT.KICK ? 'run' : undefined;
  if (exit !== EXIT.LIMIT && exit !== EXIT.WATCH && !repeated) before.restore();
  else {
    const refusal = writeChanges(core, domain.id, table, copy);
    if (refusal === undefined) {
      outcome = 'run';
      core.trace?.trap(v, 'page-table-write');
    } else {
      before.restore();
      core.log.warn(`d${domain.id} v${v.id}: store to its L1 table refused: ${refusal}`);
    }
  }
  memory.zero(copy);
  return outcome;
}

/**
 * MOV or XCHG of 64 bits between a register and memory that another register points to: REX.W, the opcode, a ModRM byte
 * with no SIB byte behind it. Nothing else is accessed by these, the ones that kernels make most.
 */
function storesAlone(cpu: Vcpu): boolean {
  const code = new Uint8Array(3);
  if (cpu.readCode(cpu.words[RIP] ?? 0n, code) < code.length) return false;
  const [rex = 0, opcode = 0, modrm = 0] = code;
  const [mod, rm] = [modrm >> 6, modrm & 7];
  return (
    (rex & 0xf8) === 0x48 &&
    (opcode === 0x87 || opcode === 0x89) &&
    rm !== 4 &&
    (mod === 1 || (mod === 0 && rm !== 5))
  );
}

/** @returns why one of the changed entries cannot be; those before it stand, as they would after single stores */
function writeChanges(core: Core, domain: DomainId, table: number, copy: number): string | undefined {
  const { memory } = core;
  for (let i = memory.difference(copy, table, 0); i < 512; i = memory.difference(copy, table, i + 1)) {
    const after = memory.read64(copy, i);
    const problem = core.types.modEntry(1, table, i, after, domain, false);
    if (problem !== undefined) return `entry ${i}: ${problem.message}`;
  }
  return undefined;
}

/** General registers, rip, and the flags, which lie together, and what counts instructions: what is undone has not retired. */
const [FIRST, AFTER, RIP, ICOUNT] = [wordOf('rax'), wordOf('rflags') + 1, wordOf('rip'), wordOf('icount')];

function saveRegisters({ words }: Vcpu): { readonly rip: bigint; restore(): void } {
  const values = words.slice(FIRST, AFTER);
  const icount = words[ICOUNT] ?? 0n;
  return {
    rip: words[RIP] ?? 0n,
    restore: () => {
      words.set(values, FIRST);
      words[ICOUNT] = icount;
    },
  };
}
