import { bare, sizeOf } from '../../guest/dwarf';
import { ImageError } from '../../guest/error';
import type { SymbolIndex } from '../symbols';

// Where Linux keeps what a debugger wants to know: by the kernel's own description of its types, BTF, which stock
// kernels carry, or by DWARF.

/** Bytes of a member from its structure's start. */
export interface Place {
  readonly offset: number;
  readonly size: number;
}

/** Members by path, as `core_layout.base`. */
export type Members = (struct: string, path: string) => Place | undefined;

function dwarfMembers({ debug }: SymbolIndex): Members {
  return (struct, path) => {
    let type = debug?.findType('struct', struct, undefined);
    let offset = 0;
    for (const [part] of path.matchAll(/[A-Za-z_]\w*|\[\d+\]/g)) {
      const it = type === undefined ? undefined : bare(debug?.complete(bare(type)) ?? type);
      if (it?.kind === 'array' && part.startsWith('[')) {
        type = it.element();
        offset += Number(part.slice(1, -1)) * sizeOf(type);
        continue;
      }
      if (it?.kind !== 'struct' && it?.kind !== 'union') return undefined;
      const found = memberNamed(it, part);
      if (found === undefined) return undefined;
      type = found.type;
      offset += found.offset;
    }
    return type === undefined ? undefined : { offset, size: sizeOf(type) };
  };
}

type Record = Extract<ReturnType<typeof bare>, { kind: 'struct' | 'union' | 'class' }>;

/** Also in the nameless structures inside. */
function memberNamed(
  record: Record,
  name: string,
): { readonly offset: number; readonly type: Parameters<typeof bare>[0] } | undefined {
  for (const member of record.members()) {
    if (member.name === name) return { offset: member.offset, type: member.type() };
    if (member.name !== undefined) continue;
    const inner = bare(member.type());
    const below = inner.kind === 'struct' || inner.kind === 'union' ? memberNamed(inner, name) : undefined;
    if (below !== undefined) return { offset: member.offset + below.offset, type: below.type };
  }
  return undefined;
}

/** Each with the ways in which kernels have had it, the latest first. */
const WANTED = {
  tasks: [['task_struct', 'tasks']],
  pid: [['task_struct', 'pid']],
  tgid: [['task_struct', 'tgid']],
  comm: [['task_struct', 'comm']],
  mm: [['task_struct', 'mm']],
  state: [
    ['task_struct', '__state'],
    ['task_struct', 'state'],
  ],
  thread: [['task_struct', 'thread_node']],
  signal: [['task_struct', 'signal']],
  threads: [['signal_struct', 'thread_head']],
  moduleList: [['module', 'list']],
  moduleName: [['module', 'name']],
  moduleState: [['module', 'state']],
  moduleBase: [
    ['module', 'mem[0].base'],
    ['module', 'core_layout.base'],
    ['module', 'module_core'],
  ],
  moduleSize: [
    ['module', 'mem[0].size'],
    ['module', 'core_layout.size'],
    ['module', 'core_size'],
  ],
  moduleSymbols: [['module', 'kallsyms']],
  symtab: [['mod_kallsyms', 'symtab']],
  symtabCount: [['mod_kallsyms', 'num_symtab']],
  strtab: [['mod_kallsyms', 'strtab']],
} as const satisfies { readonly [name: string]: readonly (readonly [string, string])[] };

export type LinuxLayout = { readonly [K in keyof typeof WANTED]: Place };

export type LayoutResult = { readonly layout: LinuxLayout } | { readonly problem: string };

/** Why there is none, in words: what the image lacks, and what helps. */
export function linuxLayout(symbols: SymbolIndex): LayoutResult {
  const { btf, debug } = symbols;
  const members: Members[] = [];
  if (btf !== undefined) members.push((struct, path) => btf.member(struct, path));
  if (debug !== undefined) members.push(dwarfMembers(symbols));
  if (members.length === 0) {
    return {
      problem:
        'nothing describes the kernel’s types: the image has no BTF (CONFIG_DEBUG_INFO_BTF), and no debugging ' +
        'information was found; “symbols” in the launch names it',
    };
  }
  const found: Partial<Record_<Place>> = {};
  const missing: string[] = [];
  for (const [name, ways] of Object.entries(WANTED)) {
    const place = members
      .flatMap((of) => ways.map(([struct, path]) => safely(() => of(struct, path))))
      .find((one) => one !== undefined);
    if (place === undefined) missing.push(`${ways[0][0]}.${ways[0][1]}`);
    else found[name as keyof LinuxLayout] = place;
  }
  return missing.length === 0
    ? { layout: found as LinuxLayout }
    : { problem: `the kernel’s types have no ${missing.join(', ')}` };
}

type Record_<T> = { -readonly [K in keyof LinuxLayout]: T };

function safely<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof ImageError) return undefined;
    throw error;
  }
}
