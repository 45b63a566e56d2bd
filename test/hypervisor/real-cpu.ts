/** The real processor in place of the fake one, and a look into its TLBs. */
import { createCpu } from '../../src/cpu/cpu';
import { createMemory, type MachineMemory } from '../../src/cpu/memory';
import { EXIT } from '../../src/cpu/exits';
import { TLB, TLB_EMPTY, TLB_ENTRIES, TLB_ENTRY_SHIFT, TLB_SET_BYTES } from '../../src/cpu/wasm/abi';
import { interpreterModule } from '../../src/host/machine';
import type { GuestVcpu } from '../../src/hypervisor/types';
import type { FakeCpu } from './fake-cpu';

export interface RealCpu extends FakeCpu {
  readonly mem: MachineMemory;
}

export function realCpu(frames: number, vcpus: number): RealCpu {
  const memory = createMemory({ frames, vcpus, records: 1 << 20 });
  const cpu = createCpu({
    memory,
    interpreter: interpreterModule(),
    hooks: {
      cpuid: () => ({ eax: 0, ebx: 0, ecx: 0, edx: 0 }),
      tsc: () => 0n,
      cow: () => undefined,
      watch: () => false,
    },
  });
  const flushAllTlbs = (): void => {
    real.flushes++;
    cpu.flushAllTlbs();
  };
  const real: RealCpu = { ...cpu, mem: memory, flushes: 0, flushAllTlbs };
  return real;
}

/** mov [rdi], rax; mov rax, [rdi] (SDM vol. 2 MOV) */
export const STORE = [0x48, 0x89, 0x07] as const;
export const LOAD = [0x48, 0x8b, 0x07] as const;

/** The guest's kernel or user accesses an address through its TLB. @returns whether it could */
export function access(v: GuestVcpu, code: bigint, at: bigint): boolean {
  const { cpu } = v;
  cpu.set('rip', code);
  cpu.set('rdi', at);
  return cpu.run(cpu.get('icount') + 1n) === EXIT.LIMIT;
}

export interface WritableTranslation {
  readonly vcpu: number;
  readonly set: number;
  readonly linear: bigint;
  readonly mfn: number;
}

/** Every translation that a store would use without a page walk. */
export function writableTranslations({ layout, view, framesBase }: MachineMemory): WritableTranslation[] {
  const found: WritableTranslation[] = [];
  layout.tlbs.forEach((tlb, vcpu) => {
    for (let n = 0; n < 2 * TLB_ENTRIES; n++) {
      const set = n < TLB_ENTRIES ? 0 : 1;
      const at = tlb + set * TLB_SET_BYTES + ((n % TLB_ENTRIES) << TLB_ENTRY_SHIFT);
      const flags = view.getUint32(at + TLB.flags, true);
      if (flags === 0xffff_ffff) continue;
      const write = view.getBigInt64(at + TLB.tagWrite, true);
      const read = view.getBigInt64(at + TLB.tagRead, true);
      const tag = write !== TLB_EMPTY ? write : (flags & 1) !== 0 ? read : TLB_EMPTY;
      if (tag === TLB_EMPTY) continue;
      const host = (Number(tag & 0xffff_ffffn) + view.getInt32(at + TLB.addend, true)) >>> 0;
      found.push({ vcpu, set, linear: BigInt.asUintN(64, tag), mfn: (host - framesBase) / 4096 });
    }
  });
  return found;
}
