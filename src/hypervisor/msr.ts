/** Model-specific registers as a PV guest's kernel sees them (SDM vol. 4; xen/arch/x86/pv/emul-priv-op.c). */
import { guestVa, isCanonical } from '../base/branded';
import { hypercallPage } from './builder/hypercallpage';
import type { Core } from './core';
import { FRAME_TYPE } from './frames';
import type { GuestVcpu } from './types';

interface Msr {
  readonly name: string;
  read?(core: Core, v: GuestVcpu): bigint;
  /** False: #GP(0). */
  write?(v: GuestVcpu, value: bigint, core: Core): boolean;
}

/** Linux reads it early to learn whether there is an APIC: enabled, at its usual place; BSP bit for vCPU 0. */
const APIC_BASE = 0xfee0_0800n;
/** Write-back, write-combining … as Xen programs IA32_PAT (xen/arch/x86/include/asm/msr-index.h). */
const PAT = 0x0000_0501_0007_0406n;

const canonical = (value: bigint): boolean => isCanonical(guestVa(value));

const base = (name: 'fs_base' | 'gs_base'): Msr => ({
  name: name === 'fs_base' ? 'FS_BASE' : 'GS_BASE',
  read: (_core, v) => v.cpu.get(name),
  write: (v, value) => {
    if (!canonical(value)) return false;
    v.cpu.set(name, value);
    return true;
  },
});

const ignored = (name: string, value: bigint): Msr => ({ name, read: () => value, write: () => true });

export const MSRS: Readonly<Record<number, Msr>> = {
  0x10: { name: 'TSC', read: (core) => core.now() },
  0x1b: { name: 'APIC_BASE', read: (_core, v) => APIC_BASE | (v.id === 0 ? 0x100n : 0n) },
  0x8b: { name: 'UCODE_REV', read: () => 0n, write: (_v, value) => value === 0n },
  0x1a0: { name: 'MISC_ENABLE', read: () => 0x1800n, write: (_v, value) => value === 0x1800n },
  0x277: { name: 'PAT', read: () => PAT, write: (_v, value) => value === PAT },
  0x345: { name: 'PERF_CAPABILITIES', read: () => 0n },
  0xe7: ignored('MPERF', 0n),
  0xe8: ignored('APERF', 0n),
  // CPUID leaf 0x40000002 names it: a store of a frame's address makes a hypercall page of the frame.
  0x4000_0000: {
    name: 'HYPERCALL_PAGE',
    read: () => 0n,
    write: (v, value, core) => {
      const mfn = Number(value >> 12n);
      if ((value & 0xfffn) !== 0n) return false;
      if (core.types.getPageAndType(mfn, v.domain.id, FRAME_TYPE.writable) !== undefined) return false;
      core.memory.write(mfn, 0, hypercallPage());
      core.types.putPageAndType(mfn);
      return true;
    },
  },
  0xc000_0080: {
    name: 'EFER',
    read: (_core, v) => v.cpu.get('efer'),
    write: (v, value) => value === v.cpu.get('efer'),
  },
  0xc000_0100: base('fs_base'),
  0xc000_0101: base('gs_base'),
  0xc000_0102: {
    name: 'SHADOW_GS_BASE',
    read: (_core, v) => v.state.shadowGs,
    write: (v, value) => {
      if (!canonical(value)) return false;
      v.state.shadowGs = value;
      return true;
    },
  },
  0xc000_0103: {
    name: 'TSC_AUX',
    read: (_core, v) => v.cpu.get('tsc_aux'),
    write: (v, value) => {
      if (value >> 32n !== 0n) return false;
      v.cpu.set('tsc_aux', value);
      return true;
    },
  },
};
