import { latin1 } from '../../base/bytes';
import { bytesToNumber } from '../../base/bytes';
import type { PlainSymbol, SymbolIndex } from '../symbols';
import { indexSymbols } from '../symbols';
import type { LinuxLayout, Place } from './layout';
import type { KernelMemory } from './memory';
import { links } from './tasks';

export interface LinuxModule {
  /** Of its struct module. */
  readonly address: bigint;
  readonly name: string;
  readonly base: bigint;
  readonly size: number;
  readonly state: string;
  readonly symbols: readonly PlainSymbol[];
}

/** enum module_state (include/linux/module.h). */
const STATES = ['live', 'coming', 'going', 'unformed'];
/** Elf64_Sym. */
const SYMBOL = 24;
const MAX_SYMBOLS = 100_000;
const MAX_STRINGS = 8 * 2 ** 20;

const number = (bytes: Uint8Array, { offset, size }: Place): bigint =>
  bytesToNumber(bytes.subarray(offset, offset + size));

async function moduleAt(
  address: bigint,
  layout: LinuxLayout,
  memory: KernelMemory,
): Promise<LinuxModule | undefined> {
  const fields = [
    layout.moduleName,
    layout.moduleState,
    layout.moduleBase,
    layout.moduleSize,
    layout.moduleSymbols,
  ];
  const length = Math.max(...fields.map(({ offset, size }) => offset + size));
  const bytes = await memory.bytes(address, length);
  if (bytes.length < length) return undefined;
  const { offset, size } = layout.moduleName;
  const text = bytes.subarray(offset, offset + size);
  const name = latin1(text.subarray(0, Math.max(0, text.indexOf(0))));
  if (!/^[\w.-]+$/.test(name)) return undefined;
  const kallsyms = number(bytes, layout.moduleSymbols);
  const base = number(bytes, layout.moduleBase);
  const module = {
    address,
    name,
    base,
    size: Number(number(bytes, layout.moduleSize)),
    state: STATES[Number(number(bytes, layout.moduleState))] ?? '?',
  };
  return { ...module, symbols: await symbolsOf(kallsyms, name, layout, memory) };
}

/** The module's own table, as the kernel keeps it for its kallsyms. */
async function symbolsOf(
  kallsyms: bigint,
  module: string,
  layout: LinuxLayout,
  memory: KernelMemory,
): Promise<PlainSymbol[]> {
  if (kallsyms >> 63n === 0n) return [];
  const at = ({ offset }: Place): Promise<bigint | undefined> => memory.word(kallsyms + BigInt(offset));
  const [table, strings, words] = [
    await at(layout.symtab),
    await at(layout.strtab),
    await at(layout.symtabCount),
  ];
  const count = Number((words ?? 0n) & 0xffff_ffffn);
  if (table === undefined || strings === undefined || count === 0 || count > MAX_SYMBOLS) return [];
  const entries = await memory.bytes(table, count * SYMBOL);
  const view = new DataView(entries.buffer, entries.byteOffset, entries.length);
  const whole = Math.floor(entries.length / SYMBOL);
  let end = 0;
  for (let i = 0; i < whole; i++) end = Math.max(end, view.getUint32(i * SYMBOL, true));
  // The last name's end is not known.
  const names = await memory.bytes(strings, Math.min(end + 512, MAX_STRINGS));
  const found: PlainSymbol[] = [];
  for (let i = 0; i < whole; i++) {
    const from = view.getUint32(i * SYMBOL, true);
    const nul = names.indexOf(0, from);
    const name = latin1(names.subarray(from, nul < 0 ? names.length : nul));
    const address = view.getBigUint64(i * SYMBOL + 8, true);
    const defined = view.getUint16(i * SYMBOL + 6, true) !== 0;
    if (name === '' || !defined || address >> 63n === 0n) continue;
    found.push({ name: `${name} [${module}]`, address, size: view.getBigUint64(i * SYMBOL + 16, true) });
  }
  return found;
}

/** What has been loaded, the latest first. */
export async function loadedModules(
  layout: LinuxLayout,
  memory: KernelMemory,
  symbols: SymbolIndex,
): Promise<readonly LinuxModule[]> {
  const head = symbols.find('modules');
  if (head === undefined) return [];
  const found: LinuxModule[] = [];
  for await (const node of links(head, memory)) {
    const module = await moduleAt(node - BigInt(layout.moduleList.offset), layout, memory);
    if (module === undefined) break;
    found.push(module);
  }
  return found;
}

/** What tells whether other modules are loaded: the ends of the list. */
export async function modulesMark(memory: KernelMemory, symbols: SymbolIndex): Promise<string> {
  const head = symbols.find('modules');
  if (head === undefined) return '';
  return `${await memory.word(head)} ${await memory.word(head + 8n)}`;
}

/** An index in which the modules' names are found after the kernel's own. They may be others at the next stop. */
export function withModules(symbols: SymbolIndex, modules: () => readonly LinuxModule[]): SymbolIndex {
  let known: readonly LinuxModule[] = [];
  let index = indexSymbols([]);
  const current = (): typeof index => {
    const now = modules();
    if (now !== known) {
      known = now;
      index = indexSymbols(now.flatMap((module) => module.symbols));
    }
    return index;
  };
  const own: Pick<SymbolIndex, 'at' | 'find' | 'complete'> = {
    // The kernel's last symbol is believed to reach far; modules lie behind it.
    at: (address) => current().at(address) ?? symbols.at(address),
    find: (name) => symbols.find(name) ?? current().find(name) ?? bareFind(name),
    complete: (prefix, limit) =>
      [...symbols.complete(prefix, limit), ...current().complete(prefix, limit)].slice(0, limit),
  };
  /** `blkfront_probe` for `blkfront_probe [xen_blkfront]`. */
  const bareFind = (name: string): bigint | undefined => {
    const [first] = current().complete(`${name} [`, 1);
    return first === undefined ? undefined : current().find(first);
  };
  return Object.assign(Object.create(symbols) as SymbolIndex, own);
}
