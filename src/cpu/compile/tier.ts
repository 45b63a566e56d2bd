import type { CodeCache, RegionOwner } from '../code-cache';
import type { Form } from '../encoding';
import { irOps, asOps } from '../ir/ops';
import { recordSource, asSource } from '../ir/record-source';
import { Recorder } from '../ir/recorder';
import type { Statement } from '../ir/nodes';
import type { MachineMemory } from '../memory';
import { execute } from '../operands';
import { LINK, RECORD } from '../record';
import { offsetOf } from '../state';
import { PAGE_SIZE } from '../types';
import { EXEC, EXEC_ENTRIES, EXEC_ENTRY_SHIFT, TLB_EXEC } from '../wasm/abi';
import { ModuleBuilder } from '../wasm/encoder';
import { REGION_CALLS } from '../wasm/region-access';
import { discover } from './discover';
import { Unsupported } from './record';
import { compileRegion } from './region';

export interface TierOptions {
  /** Entries of a block before it is hot. */
  readonly heat: number;
  /** Regions of one module: instantiating is what a module costs. */
  readonly batch: number;
  /** Bytes of WebAssembly that all regions may have, of which machine code is a few times as much; the oldest go first. */
  readonly maxBytes: number;
  /** Milliseconds, for the statistics. */
  readonly clock: () => number;
}
const DEFAULTS: TierOptions = { heat: 4000, batch: 16, maxBytes: 24 << 20, clock: () => 0 };
/** Runs that a hot block waits for others at most. */
const PATIENCE = 20;
/** Regions at a time; the table index has 16 bits. */
const MAX_REGIONS = 20_000;
/** A region is compiled anew so often after its code changed. */
const MAX_TIMES = 4;
/** Linear memory a module may import: 4 GiB. */
const MAXIMUM_PAGES = 65536;

export interface TierStatistics {
  regions: number;
  modules: number;
  instructions: number;
  /** Bytes of generated WebAssembly. */
  bytes: number;
  dropped: number;
  refused: number;
  /** Of wall time, when there is a clock. */
  milliseconds: number;
}

export interface RegionTier {
  /** A block became hot: `link` is its link record, `host` the address of its bytes. */
  hot(vcpu: number, first: number, link: number, host: number): void;
  /** Between two runs: compiles what has waited long enough. */
  between(): void;
  readonly statistics: TierStatistics;
}

interface Installed {
  readonly index: number;
  readonly first: number;
  readonly form: number;
  /** The link record of the interpreter's block at its entry. */
  readonly link: number;
  /** Of WebAssembly. */
  readonly bytes: number;
}

/** Forms that regions contain: those whose semantics neither call helpers nor leave, and that end no block but by branching. */
function supported(form: Form): boolean {
  if (form.ends && !form.branch) return false;
  const r = new Recorder();
  try {
    execute(form, asOps(irOps(r)), asSource(recordSource(r)));
  } catch {
    return false;
  }
  const plain = (s: Statement): boolean => {
    switch (s.kind) {
      case 'special':
        return s.act.op !== 'helper' && s.act.op !== 'exit' && s.act.op !== 'call';
      case 'if':
        return s.then.every(plain) && s.otherwise.every(plain);
      case 'loop':
        return s.head.every(plain) && s.body.every(plain);
      default:
        return true;
    }
  };
  return r.body.every(plain);
}

function tableOf(exports: WebAssembly.Instance['exports']): WebAssembly.Table {
  const { table } = exports;
  if (table instanceof WebAssembly.Table) return table;
  throw new Error("the interpreter's module does not export its table");
}

export function regionTier(
  mem: MachineMemory,
  code: CodeCache,
  exports: WebAssembly.Instance['exports'],
  options: Partial<TierOptions> = {},
): RegionTier {
  const { heat, batch: batchSize, maxBytes, clock } = { ...DEFAULTS, ...options };
  const table = tableOf(exports);
  const { view } = mem;
  const supports: (boolean | undefined)[] = [];
  const refusedForms = new Set<number>();
  const supportsForm = (f: Form): boolean =>
    !refusedForms.has(f.number) && (supports[f.number] ??= supported(f));
  const statistics: TierStatistics = {
    regions: 0,
    modules: 0,
    instructions: 0,
    bytes: 0,
    dropped: 0,
    refused: 0,
    milliseconds: 0,
  };

  const env: Record<string, WebAssembly.ImportValue> = { memory: mem.memory };
  for (const name of REGION_CALLS.keys()) env[name] = exports[name] as WebAssembly.ImportValue;

  /** What waits to be compiled. */
  let queue: { vcpu: number; rip: bigint; host: number }[] = [];
  const installed = new Map<number, Installed>();
  const free: number[] = [];
  let nextRegion = 1;
  let waited = 0;
  /** How often the region at a first record was dropped. */
  const cooled = new Map<number, number>();
  /** Bytes of the regions installed. */
  let live = 0;

  function fetched(vcpu: number, page: bigint): number | undefined {
    const tlb = view.getUint32(vcpu + offsetOf('tlb'), true);
    const at = tlb + TLB_EXEC + (Number((page >> 12n) & BigInt(EXEC_ENTRIES - 1)) << EXEC_ENTRY_SHIFT);
    if (view.getBigUint64(at + EXEC.tag, true) !== page) return undefined;
    return (Number(BigInt.asUintN(32, page)) + view.getUint32(at + EXEC.addend, true)) >>> 0;
  }

  function drop(region: number): void {
    const i = installed.get(region);
    if (i === undefined) return;
    installed.delete(region);
    if (view.getUint16(i.first + RECORD.handler, true) === i.index)
      view.setUint16(i.first + RECORD.handler, i.form, true);
    // It may become hot again, but later each time: code that keeps changing is not worth compiling.
    const times = (cooled.get(i.first) ?? 0) + 1;
    cooled.set(i.first, times);
    if (times <= MAX_TIMES) view.setInt32(i.link + LINK.heat, heat << (2 * times), true);
    table.set(i.index, null);
    live -= i.bytes;
    free.push(i.index);
    statistics.dropped++;
  }

  function slotFor(): number {
    const old = free.pop();
    if (old !== undefined) return old;
    const at = table.length;
    table.grow(256);
    for (let n = 255; n > 0; n--) free.push(at + n);
    return at;
  }

  function compile(): void {
    if (queue.length === 0) return;
    const began = clock();
    waited = 0;
    const batch = queue;
    for (const region of installed.keys()) {
      if (live <= maxBytes) break;
      drop(region);
    }
    queue = [];
    const builder = new ModuleBuilder();
    builder.importMemory('env', 'memory', 1, MAXIMUM_PAGES);
    const calls = new Map<string, number>();
    for (const [name, signature] of REGION_CALLS)
      calls.set(name, builder.importFunction('env', name, signature).index);
    const made: { name: string; region: number; install: () => void }[] = [];
    for (const { vcpu, rip, host } of batch) {
      const block = code.find(rip, host);
      if (block === undefined || installed.size + made.length >= MAX_REGIONS) continue;
      const form = view.getUint16(block.link + LINK.entry, true);
      if (view.getUint16(block.first + RECORD.handler, true) !== form) continue;
      const region = discover(
        { mem, code, supports: supportsForm, fetched: (page) => fetched(vcpu, page) },
        rip,
        host,
      );
      if (region === undefined) {
        statistics.refused++;
        continue;
      }
      let body;
      try {
        body = compileRegion(region, {
          makeLink: () => code.makeLink(),
          call: (name) => calls.get(name) ?? 0,
          entryCount: block.count,
        });
      } catch (error) {
        if (!(error instanceof Unsupported)) throw error;
        statistics.refused++;
        continue;
      }
      const number = nextRegion++;
      const name = `r${number}`;
      const ref = builder.declare(name, { params: ['i32', 'i32'], results: ['i32'] });
      builder.define(ref, body.body);
      builder.export(ref);
      statistics.regions++;
      statistics.instructions += body.instructions;
      statistics.bytes += body.body.length;
      const install = (): void => {
        const index = slotFor();
        installed.set(number, { index, first: block.first, form, link: block.link, bytes: body.body.length });
        live += body.body.length;
        for (const b of region.blocks.values()) {
          const from = b.host % PAGE_SIZE;
          const size = Number((b.instrs.at(-1)?.next ?? b.rip) - b.rip);
          code.cover(number, b.host - from, from, from + size, b.rip);
        }
        view.setUint16(block.first + RECORD.handler, index, true);
      };
      made.push({ name, region: number, install });
    }
    if (made.length === 0) return;
    const bytes = builder.finish();
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env });
    statistics.modules++;
    for (const m of made) {
      m.install();
      const i = installed.get(m.region);
      const f = instance.exports[m.name];
      if (i !== undefined && typeof f === 'function') table.set(i.index, f);
    }
    statistics.milliseconds += clock() - began;
  }

  const owner: RegionOwner = {
    drop,
    dropAll() {
      for (const region of [...installed.keys()]) drop(region);
      queue = [];
      cooled.clear();
    },
  };
  code.setHeat(heat, owner);

  return {
    statistics,
    hot(vcpu, _first, link, host) {
      // The link record follows the block's records; the first instruction's address is that of the block.
      const rip = hotRip(vcpu, link, host);
      if (rip !== undefined) queue.push({ vcpu, rip, host });
      if (queue.length >= batchSize) compile();
    },
    between() {
      // A module for few regions costs as much as one for many; those few may be all there is.
      if (queue.length > 0 && ++waited >= PATIENCE) compile();
    },
  };

  /** The linear address whose bytes lie at `host`: the block was entered through `next` or `rip`. */
  function hotRip(vcpu: number, link: number, host: number): bigint | undefined {
    for (const field of ['next', 'rip'] as const) {
      const rip = view.getBigUint64(vcpu + offsetOf(field), true);
      const found = code.find(rip, host);
      if (found?.link === link) return rip;
    }
    return undefined;
  }
}
