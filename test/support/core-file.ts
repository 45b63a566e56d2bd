import { readFileSync } from 'node:fs';
import type { Register, Target, VcpuRef } from '../../src/machine/target';

// A process's core file (ELF's ET_CORE, with Linux's NT_PRSTATUS) as far as a debugger that only looks needs a Target.

/** struct user_regs_struct of <sys/user.h>, in its order. */
const ORDER = ['r15', 'r14', 'r13', 'r12', 'rbp', 'rbx', 'r11', 'r10', 'r9', 'r8', 'rax', 'rcx', 'rdx', 'rsi', 'rdi', 'orig_rax', 'rip', 'cs', 'rflags', 'rsp', 'ss']; // prettier-ignore
/** Where the registers begin in struct elf_prstatus of <sys/procfs.h>. */
const PR_REG = 112;
const PT_LOAD = 1;
const PT_NOTE = 4;
const NT_PRSTATUS = 1;

export const CORE_VCPU: VcpuRef = { domain: 1, vcpu: 0 };

export function coreTarget(path: string): Target {
  const bytes = new Uint8Array(readFileSync(path));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const u64 = (at: number): bigint => view.getBigUint64(at, true);
  const headers = Array.from({ length: view.getUint16(56, true) }, (_, i) => {
    const at = Number(u64(32)) + i * view.getUint16(54, true);
    return {
      type: view.getUint32(at, true),
      offset: Number(u64(at + 8)),
      address: u64(at + 16),
      size: Number(u64(at + 32)),
    };
  });
  const notes = headers.find(({ type }) => type === PT_NOTE);
  if (notes === undefined) throw new Error(`${path} has no notes`);
  const registers: Register[] = [];
  for (let at = notes.offset; at < notes.offset + notes.size && registers.length === 0;) {
    const [name = 0, size = 0, type] = [0, 4, 8].map((skip) => view.getUint32(at + skip, true));
    const data = at + 12 + ((name + 3) & ~3);
    if (type === NT_PRSTATUS) {
      for (const [i, one] of ORDER.entries()) {
        const from = data + PR_REG + 8 * i;
        const value = bytes.slice(from, from + 8);
        registers.push({ name: one, group: 'general', bits: 64, bytes: value, writable: false });
      }
    }
    at = data + ((size + 3) & ~3);
  }
  const readMemory = (address: bigint, length: number): Uint8Array => {
    const found = headers.find(
      (one) => one.type === PT_LOAD && one.address <= address && address < one.address + BigInt(one.size),
    );
    if (found === undefined) return new Uint8Array();
    const skip = Number(address - found.address);
    return bytes.slice(found.offset + skip, found.offset + Math.min(found.size, skip + length));
  };
  const some: Pick<Target, 'registers' | 'readMemory' | 'currentHypercall'> = {
    registers: () => Promise.resolve(registers),
    readMemory: (_space, address, length) => Promise.resolve(readMemory(address, length)),
    currentHypercall: () => Promise.resolve(undefined),
  };
  return some as Target;
}
