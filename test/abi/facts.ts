/** Every number and layout of src/abi as a flat list of named facts, and the C program that asks the headers. */
import * as admin from '../../src/abi/admin';
import { ERRNO } from '../../src/abi/errno';
import * as events from '../../src/abi/events';
import * as grant from '../../src/abi/grant';
import * as info from '../../src/abi/info';
import type { Fields, Struct } from '../../src/abi/layout';
import * as memory from '../../src/abi/memory';
import * as mmu from '../../src/abi/mmu';
import * as physdev from '../../src/abi/physdev';
import * as pmu from '../../src/abi/pmu';
import * as sched from '../../src/abi/sched';
import * as traps from '../../src/abi/traps';
import * as vcpu from '../../src/abi/vcpu';
import * as version from '../../src/abi/version';
import { HYPERCALLS } from '../../src/hypervisor/hypercalls/table';

/** Name in C → value. */
export type Facts = Record<string, number>;

const modules = { events, grant, info, memory, mmu, physdev, pmu, sched, traps, vcpu, version };

const isStruct = (value: unknown): value is Struct<Fields> =>
  typeof value === 'object' && value !== null && 'fields' in value && 'offset' in value;
const isNumbers = (value: unknown): value is Record<string, number> =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  !('size' in value) &&
  Object.values(value).length > 0 &&
  Object.values(value).every((n) => typeof n === 'number');

/** Fields that C reaches by another path. */
const paths: Record<string, string> = {
  'multicall_entry.arg0': 'args[0]',
  'multicall_entry.arg1': 'args[1]',
  'multicall_entry.arg2': 'args[2]',
  'multicall_entry.arg3': 'args[3]',
  'multicall_entry.arg4': 'args[4]',
  'multicall_entry.arg5': 'args[5]',
  'physdev_dbgp_op.pci': 'u.pci',
  'xen_add_to_physmap_batch.foreign_domid': 'u.foreign_domid',
  'grant_entry_v2.flags': 'hdr.flags',
  'grant_entry_v2.domid': 'hdr.domid',
  'grant_entry_v2.page_off': 'sub_page.page_off',
  'grant_entry_v2.length': 'sub_page.length',
  'grant_entry_v2.frame': 'sub_page.frame',
  'grant_entry_v2_transitive.flags': 'hdr.flags',
  'grant_entry_v2_transitive.domid': 'hdr.domid',
  'grant_entry_v2_transitive.trans_domid': 'transitive.trans_domid',
  'grant_entry_v2_transitive.pad0': 'transitive.pad0',
  'grant_entry_v2_transitive.gref': 'transitive.gref',
  'grant_entry_v2_transitive.pad1': '__spacer[3]',
};

/** Structures that are unions in C. */
const unions: Readonly<Record<string, string>> = {
  grant_entry_v2: 'union grant_entry_v2',
  grant_entry_v2_transitive: 'union grant_entry_v2',
};
const tag = (name: string): string => unions[name] ?? `struct ${name}`;

/** Structures that have no name in the headers. */
const nameless: readonly string[] = ['selector'];

export function structs(): { readonly struct: Struct<Fields>; readonly name: string }[] {
  return Object.values(modules)
    .flatMap((m) => Object.values(m).filter(isStruct))
    .filter((s) => !s.name.includes('.') && !nameless.includes(s.name))
    .map((struct) => ({ struct, name: struct.name }));
}

const fieldsOf = (s: Struct<Fields>): string[] => Object.keys(s.fields).filter((f) => !f.startsWith('_'));

export function ours(): Facts {
  const facts: Facts = {};
  for (const { struct, name } of structs()) {
    facts[`sizeof ${name}`] = struct.size;
    for (const field of fieldsOf(struct)) facts[`offsetof ${name}.${field}`] = struct.offset[field] ?? -1;
  }
  for (const m of [...Object.values(modules), admin]) {
    for (const [table, value] of Object.entries(m)) {
      if (!isNumbers(value) || table === 'GTF' || table === 'PTE') continue;
      Object.assign(facts, value);
    }
  }
  for (const [name, value] of Object.entries(grant.GTF)) facts[`GTF_${name}`] = value;
  for (const [name, value] of Object.entries(ERRNO)) facts[`XEN_${name}`] = value;
  for (const { name, nr } of HYPERCALLS) facts[hypercallMacro(name)] = nr;
  return facts;
}

const arch: Record<string, string> = { mca: 'arch_0', paging_domctl_cont: 'arch_1' };
const hypercallMacro = (name: string): string => `__HYPERVISOR_${arch[name] ?? name}`;

const includes = [
  'xen.h', 'memory.h', 'event_channel.h', 'sched.h', 'vcpu.h', 'physdev.h', 'grant_table.h', 'callback.h', 'nmi.h',
  'version.h', 'features.h', 'pmu.h', 'errno.h', 'platform.h', 'sysctl.h', 'domctl.h', 'kexec.h', 'xenoprof.h',
  'hypfs.h', 'argo.h', 'arch-x86/xen-mca.h', 'hvm/hvm_op.h',
]; // prettier-ignore

/** Prints `name value` for each fact the headers know. */
export function cProgram(): string {
  const lines: string[] = ['#include <stddef.h>', '#include <stdint.h>', '#include <stdio.h>'];
  lines.push('#define __XEN_TOOLS__ 1', '#include <xen/xen-compat.h>');
  for (const file of includes) lines.push(`#include <xen/${file}>`);
  lines.push('int main(void) {');
  for (const { struct, name } of structs()) {
    lines.push(`printf("sizeof ${name} %zu\\n", sizeof(${tag(name)}));`);
    for (const field of fieldsOf(struct)) {
      const path = paths[`${name}.${field}`] ?? field;
      lines.push(`printf("offsetof ${name}.${field} %zu\\n", offsetof(${tag(name)}, ${path}));`);
    }
  }
  for (const name of Object.keys(ours())) {
    if (name.includes(' ')) continue;
    if (name.startsWith('XEN_E') && name.slice(4) in ERRNO) {
      lines.push(`printf("${name} %d\\n", (int)${name});`);
      continue;
    }
    lines.push(`#ifdef ${name}`, `printf("${name} %lld\\n", (long long)(${name}));`, '#endif');
  }
  lines.push('return 0; }', '');
  return lines.join('\n');
}

export function parse(output: string): Facts {
  const facts: Facts = {};
  for (const line of output.trim().split('\n')) {
    const at = line.lastIndexOf(' ');
    facts[line.slice(0, at)] = Number(line.slice(at + 1));
  }
  return facts;
}
