import { bytesToNumber, latin1 } from '../../base/bytes';
import { fileAlike } from '../source-paths';
import type { PlainSymbol, SymbolIndex } from '../symbols';
import { indexSymbols } from '../symbols';
import type { ModuleDebug } from './module-debug';
import { joined, nearest } from './module-debug';
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
  /** Their names have the module's behind them. */
  readonly symbols: readonly PlainSymbol[];
  /** What its debug file says; a text: why the one that there is says nothing. */
  readonly debug?: ModuleDebug | string | undefined;
}

/** ` [xen_blkfront]`, as the kernel itself writes it. */
const suffixOf = (module: string): string => ` [${module}]`;

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
    found.push({
      name: `${name}${suffixOf(module)}`,
      address,
      size: view.getBigUint64(i * SYMBOL + 16, true),
    });
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

/** Opens the debug files of modules; of each once, as long as it stays where it is. */
export function moduleDebugs(symbols: SymbolIndex): (module: LinuxModule) => LinuxModule {
  const known = new Map<string, LinuxModule['debug']>();
  return (module) => {
    const { name, base, symbols: own } = module;
    const key = `${name} ${base} ${own.length}`;
    if (!known.has(key)) {
      const end = suffixOf(name).length;
      const bare = own.map((one) => ({ ...one, name: one.name.slice(0, -end) }));
      known.set(key, symbols.openModule?.(name, bare));
    }
    return { ...module, debug: known.get(key) };
  };
}

/**
 * An index in which the modules' names are found after the kernel's own, and what their debug files say. They may be
 * others at the next stop.
 */
export function withModules(symbols: SymbolIndex, modules: () => readonly LinuxModule[]): SymbolIndex {
  let known: readonly LinuxModule[] = [];
  let index = indexSymbols([]);
  let debugs: readonly ModuleDebug[] = [];
  let debug = symbols.debug;
  const current = (): typeof index => {
    const now = modules();
    if (now !== known) {
      known = now;
      index = indexSymbols(now.flatMap((module) => module.symbols));
      debugs = now.flatMap((module) => (typeof module.debug === 'object' ? [module.debug] : []));
      debug = debugs.length === 0 ? symbols.debug : joined(symbols.debug, debugs);
    }
    return index;
  };
  const files = (): readonly ModuleDebug[] => {
    current();
    return debugs;
  };
  const at = (address: bigint): ModuleDebug | undefined => files().find((one) => one.holds(address));
  const own = {
    // The kernel's last symbol is believed to reach far; modules lie behind it.
    at: (address) => current().at(address) ?? symbols.at(address),
    find: (name) => symbols.find(name) ?? current().find(name) ?? bareFind(name),
    complete: (prefix, limit) =>
      [...symbols.complete(prefix, limit), ...current().complete(prefix, limit)].slice(0, limit),
    line: (address) => {
      const module = at(address);
      return module === undefined ? symbols.line(address) : module.debug.lines.at(address);
    },
    rows: (low, high) => {
      const module = at(low);
      return (module === undefined ? symbols.rows?.(low, high) : module.debug.lines.rows(low, high)) ?? [];
    },
    code: (path, line) =>
      nearest([
        symbols.code(path, line),
        ...files().map((module) => {
          const { lines } = module.debug;
          return lines.code(
            fileAlike(path, {
              filesNamed: (name) => lines.filesNamed(name),
              toLocal: (file) => symbols.toLocal?.(file),
            }),
            line,
          );
        }),
      ]),
    filesNamed: (name) => [
      ...new Set([
        ...symbols.filesNamed(name),
        ...files().flatMap((one) => one.debug.lines.filesNamed(name)),
      ]),
    ],
    get files() {
      return [...new Set([...symbols.files, ...files().flatMap((one) => one.debug.lines.files)])];
    },
    get hasLines() {
      return symbols.hasLines || files().length > 0;
    },
    get debug() {
      current();
      return debug;
    },
  } satisfies Partial<{ [K in keyof SymbolIndex]: SymbolIndex[K] | undefined }>;
  /** `blkfront_probe` for `blkfront_probe [xen_blkfront]`. */
  const bareFind = (name: string): bigint | undefined => {
    const [first] = current().complete(`${name} [`, 1);
    return first === undefined ? undefined : current().find(first);
  };
  return Object.create(symbols, Object.getOwnPropertyDescriptors(own)) as SymbolIndex;
}
