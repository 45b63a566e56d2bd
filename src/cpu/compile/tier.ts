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
import { EXEC, EXEC_ENTRIES, EXEC_ENTRY_SHIFT, TLB_EXEC, TLB_SET_BYTES } from '../wasm/abi';
import { REGION_CALLS } from '../wasm/region-calls';
import { batchKey, compileHere, type Batch, type BatchCompiler, type Job } from './batch';
import { discover } from './discover';
import { isFixed } from './state';
import { shelf, spansOf, type Made } from './shelf';

export interface TierOptions {
  /** Entries of a block before it is hot. */
  readonly heat: number;
  /** Regions of one module: instantiating is what a module costs. */
  readonly batch: number;
  /** Bytes of WebAssembly that all regions may have, of which machine code is a few times as much; the oldest go first. */
  readonly maxBytes: number;
  /** Who compiles: this thread, unless there is another. */
  readonly compiler: BatchCompiler | undefined;
  /** Milliseconds, for the statistics. */
  readonly clock: () => number;
  /** Told of each time that the guest stood still, in milliseconds. */
  readonly pause: ((milliseconds: number) => void) | undefined;
}
/** An instruction costs some 100 µs to compile (V8's part counted) and saves some nanoseconds each time it runs. */
const DEFAULTS: TierOptions = {
  heat: 48_000,
  batch: 16,
  maxBytes: 24 << 20,
  compiler: undefined,
  clock: () => 0,
  pause: undefined,
};
/** Runs that a hot block waits for others at most. Where nothing is asked of the hypervisor a run takes milliseconds. */
const PATIENCE = 2;
/** Instructions handed over at a time, but for the last region's. The rest waits for the next run's end. */
const SLICE = 200;
/** Regions at a time; the table index has 16 bits. */
const MAX_REGIONS = 20_000;
/** A region is compiled anew so often after its code changed, four times as late each time but the first. */
const MAX_TIMES = 4;
/** A block that is part of another's new region is hot again after this part of the entries. */
const SOON = 16;
/**
 * A hot block is compiled once it has been entered so often as to run once in so many instructions at least, over the
 * last part of its heat. What is broad rather than hot does not fit the processor's caches as regions, and the
 * interpreter is quicker at it.
 */
const PERIOD = 500;
const LOOK = 4;
/** Entries of a block that lost its region before it is looked at again. */
const AGAIN = 200;

export interface TierStatistics {
  regions: number;
  modules: number;
  instructions: number;
  /** Bytes of generated WebAssembly. */
  bytes: number;
  /** Taken off their blocks, and put back with the same bytes. */
  dropped: number;
  revived: number;
  /** Forgotten to make room, and the bytes of those that are left: never more than `maxBytes` while the guest runs. */
  evicted: number;
  readonly live: number;
  refused: number;
  /** Of wall time, when there is a clock. */
  milliseconds: number;
  /** The longest that the guest stood still for it at a time. */
  longest: number;
}

export interface RegionTier {
  /** A block became hot: `link` is its link record, `host` the address of its bytes. */
  hot(vcpu: number, first: number, link: number, host: number): void;
  /** Between two runs: compiles what has waited long enough. */
  between(): void;
  readonly statistics: TierStatistics;
}

/**
 * Forms that regions contain: those whose semantics neither call helpers nor leave, and that end no block but by
 * branching, or because they repeat what can be done at once.
 */
function supported(form: Form): boolean {
  const r = new Recorder();
  try {
    execute(form, asOps({ ...irOps(r), only: () => undefined }), asSource(recordSource(r)));
  } catch {
    return false;
  }
  const plain = (s: Statement): boolean => {
    switch (s.kind) {
      case 'special':
        return s.act.op !== 'helper' && s.act.op !== 'exit' && s.act.op !== 'call';
      case 'if':
        return s.then.every(plain) && s.otherwise.every(plain);
      case 'put':
        return !isFixed(s.field);
      case 'loop':
        return s.head.every(plain) && s.body.every(plain);
      default:
        return true;
    }
  };
  const atOnce = r.body.some((s) => s.kind === 'special' && s.act.op === 'bulk');
  return (!form.ends || form.branch || atOnce) && r.body.every(plain);
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
  const { heat, batch: batchSize, maxBytes, clock, pause, ...others } = { ...DEFAULTS, ...options };
  const compiler = others.compiler ?? compileHere();
  const table = tableOf(exports);
  const { view } = mem;
  const supports: (boolean | undefined)[] = [];
  const refusedForms = new Set<number>();
  const supportsForm = (f: Form): boolean =>
    !refusedForms.has(f.number) && (supports[f.number] ??= supported(f));
  const regions = shelf(mem, code, table, { first: heat, again: Math.min(heat, AGAIN) });
  const statistics: TierStatistics = {
    regions: 0,
    modules: 0,
    instructions: 0,
    bytes: 0,
    get dropped() {
      return regions.statistics.dropped;
    },
    get revived() {
      return regions.statistics.revived;
    },
    get evicted() {
      return regions.statistics.evicted;
    },
    get live() {
      return regions.statistics.live;
    },
    refused: 0,
    milliseconds: 0,
    longest: 0,
  };

  const env: Record<string, WebAssembly.ImportValue> = { memory: mem.memory };
  for (const name of REGION_CALLS.keys()) env[name] = exports[name] as WebAssembly.ImportValue;

  /** What waits to be compiled. */
  let queue: { vcpu: number; rip: bigint; host: number }[] = [];
  let waited = 0;
  /** Where blocks begin that are part of a region made since there was last nothing to do. */
  const inside = new Set<number>();
  /** When hot blocks were looked at last, by link record. */
  const looked = new Map<number, { readonly vcpu: number; readonly count: bigint }>();
  /** How often the code of the region at a place has changed. */
  const cooled = new Map<number, number>();

  function fetched(vcpu: number, page: bigint): number | undefined {
    const active = view.getUint32(vcpu + offsetOf('tlb'), true);
    const sets = mem.layout.tlbs[mem.layout.vcpus.indexOf(vcpu)] ?? active;
    const entry = TLB_EXEC + (Number((page >> 12n) & BigInt(EXEC_ENTRIES - 1)) << EXEC_ENTRY_SHIFT);
    // Its code may be another mode's than the one at hand: what is guessed here is compared when it runs.
    for (const tlb of [active, sets, sets + TLB_SET_BYTES]) {
      if (view.getBigUint64(tlb + entry + EXEC.tag, true) !== page) continue;
      return (Number(BigInt.asUintN(32, page)) + view.getUint32(tlb + entry + EXEC.addend, true)) >>> 0;
    }
    return undefined;
  }

  /** What is being compiled, batch by batch. */
  const begun: Omit<Made, 'size' | 'links' | 'linkCount'>[][] = [];

  /** Finds the regions of what is hot and has them compiled. */
  function begin(): void {
    let slice = 0;
    const jobs: Job[] = [];
    const places: (typeof begun)[number] = [];
    while (slice < SLICE) {
      const next = queue.shift();
      if (next === undefined) break;
      const { vcpu, rip, host } = next;
      const block = code.find(rip, host);
      if (block === undefined || block.second !== 0 || regions.size + jobs.length >= MAX_REGIONS) continue;
      // The blocks of a loop get hot together. Once there is a region, this one is seldom entered from elsewhere.
      if (inside.has(host)) {
        view.setInt32(block.link + LINK.heat, Math.ceil(heat / SOON), true);
        continue;
      }
      if (
        view.getUint16(block.first + RECORD.handler, true) !== view.getUint16(block.link + LINK.entry, true)
      )
        continue;
      const region = discover(
        { mem, code, supports: supportsForm, fetched: (page) => fetched(vcpu, page) },
        rip,
        host,
      );
      if (region === undefined) {
        statistics.refused++;
        continue;
      }
      for (const b of region.blocks.values()) {
        inside.add(b.host);
        slice += b.count;
      }
      jobs.push({ region, entryCount: block.count });
      places.push({ rip, host, count: block.count, spans: spansOf(mem, region) });
    }
    waited = queue.length > 0 ? PATIENCE : 0;
    if (jobs.length === 0) return;
    begun.push(places);
    compiler.begin(jobs);
  }

  /** Puts the regions of a batch to where they begin. */
  function finish({ key, module, pieces }: Batch): void {
    if (key !== batchKey())
      throw new Error(`regions were compiled by another build (${key}); build it anew (npm run build)`);
    const places = begun.shift() ?? [];
    const made: Made[] = [];
    const imports: Record<string, WebAssembly.ImportValue> = { ...env };
    pieces.forEach((piece, n) => {
      const place = places[n];
      imports[`l${n}`] = 0;
      if (piece === undefined || place === undefined) {
        statistics.refused++;
        return;
      }
      const { size, instructions, links: linkCount } = piece;
      statistics.regions++;
      statistics.instructions += instructions;
      statistics.bytes += size;
      const links = code.makeLinks(linkCount);
      imports[`l${n}`] = links;
      if (links !== 0) made[n] = { ...place, size, links, linkCount };
    });
    const instance = new WebAssembly.Instance(module, { env: imports });
    statistics.modules++;
    made.forEach((m, n) => {
      const f = instance.exports[`r${n}`];
      if (typeof f === 'function') regions.add(m, f);
    });
    regions.trim(maxBytes);
  }

  /** All that the guest has to stand still for. */
  function work(done?: Batch): void {
    const began = clock();
    if (done !== undefined) finish(done);
    else begin();
    for (let batch = compiler.done(); batch !== undefined; batch = compiler.done()) finish(batch);
    if (queue.length === 0 && begun.length === 0) inside.clear();
    const took = clock() - began;
    statistics.milliseconds += took;
    statistics.longest = Math.max(statistics.longest, took);
    pause?.(took);
  }

  const owner: RegionOwner = {
    drop: (region) => regions.drop(region),
    dropAll() {
      regions.dropAll();
      queue = [];
      inside.clear();
      cooled.clear();
      looked.clear();
    },
    decoded: (host, low, high, block) => regions.decoded(host, low, high, block),
  };
  code.setHeat(heat, owner);

  /** Whether the block has lately been entered as often as is worth it; if not, it is looked at again later. */
  function often(vcpu: number, link: number): boolean {
    const now = view.getBigUint64(vcpu + offsetOf('icount'), true);
    const last = looked.get(link);
    if (last?.vcpu === vcpu && now - last.count <= BigInt(Math.ceil(heat / LOOK) * PERIOD)) {
      looked.delete(link);
      return true;
    }
    looked.set(link, { vcpu, count: now });
    view.setInt32(link + LINK.heat, Math.ceil(heat / LOOK), true);
    return false;
  }

  return {
    statistics,
    hot(vcpu, _first, link, host) {
      // The link record follows the block's records; the first instruction's address is that of the block.
      const rip = hotRip(vcpu, link, host);
      const block = rip === undefined ? undefined : code.find(rip, host);
      if (rip === undefined || block === undefined || block.second !== 0) return;
      const found = regions.revive(rip, host, block);
      if (found === 'revived') return;
      if (found === 'none' && !often(vcpu, link)) return;
      if (found === 'changed') {
        const times = (cooled.get(host) ?? 0) + 1;
        cooled.set(host, times);
        if (times > 1) {
          regions.forget(host);
          if (times <= MAX_TIMES) view.setInt32(link + LINK.heat, heat * 4 ** (times - 1), true);
          return;
        }
      }
      queue.push({ vcpu, rip, host });
      if (queue.length >= batchSize) work();
    },
    between() {
      // A module for few regions costs as much as one for many; those few may be all there is.
      const done = begun.length > 0 ? compiler.done() : undefined;
      if (done !== undefined || (queue.length > 0 && ++waited >= PATIENCE)) work(done);
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
