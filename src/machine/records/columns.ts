import type { VcpuRef } from '../target';

/**
 * What is asked of many trace records at once, in columns: 34 bytes a record, so that ten million are looked through
 * in a fraction of a second and fit in memory. Everything else of a record stays where it is (source.ts).
 *
 * A record's position is its place in the trace; positions go on where the oldest are dropped.
 */

/** Records that come and go together. */
export const CHUNK = 1024;

/** A result that does not fit in the column; the record itself has it. */
export const LARGE_RESULT = -(2 ** 31);
/** No record of the same vCPU has come after. */
export const NO_NEXT = 0;

export interface Chunk {
  /** Position of the first of it. */
  readonly base: number;
  count: number;
  /** Instructions retired by the whole machine, and virtual nanoseconds. */
  readonly retired: Float64Array;
  readonly time: Float64Array;
  /** Numbers into the tables of `Columns`. */
  readonly vcpu: Uint16Array;
  readonly name: Uint16Array;
  readonly site: Uint32Array;
  /** 0: not refused. */
  readonly errno: Uint8Array;
  readonly depth: Uint8Array;
  readonly result: Int32Array;
  /** How many positions on the same vCPU's next call is that is no multicall's entry. */
  readonly next: Uint32Array;
  /** As the file numbers them, where that is not the position. */
  readonly seq: Float64Array | undefined;
}

/** Distinct values, by number in the order of their coming; when there are too many, the last stands for the rest. */
export interface Table<T> {
  readonly values: readonly T[];
  id(value: T): number;
}

export function createTable<T extends string | bigint>(most: number, rest: T): Table<T> {
  const values: T[] = [];
  const ids = new Map<T, number>();
  return {
    values,
    id: (value) => {
      const known = ids.get(value);
      if (known !== undefined) return known;
      if (values.length === most) return most - 1;
      const next = values.length === most - 1 ? rest : value;
      values.push(next);
      ids.set(next, values.length - 1);
      return values.length - 1;
    },
  };
}

export interface Entry {
  readonly retired: number;
  readonly time: number;
  readonly domain: number;
  readonly vcpu: number;
  /** `memory_op.populate_physmap` */
  readonly name: string;
  /** The call site: the place that called the hypercall page, else what the record has. */
  readonly site: bigint;
  readonly depth: number;
  readonly result: bigint | undefined;
  readonly errno: string | undefined;
  readonly seq?: number;
}

/** What a call cost: until the same vCPU made the next, in the machine's instructions and in virtual time. */
export interface Cost {
  readonly instructions: number;
  readonly time: number;
}

export interface Columns {
  readonly names: Table<string>;
  /** Of errors; the first is that of none. */
  readonly errnos: Table<string>;
  readonly sites: Table<bigint>;
  readonly vcpus: readonly VcpuRef[];
  /** Positions [first, next) are there. */
  first(): number;
  next(): number;
  append(entry: Entry): void;
  /** What is from there on never happened: the machine went back. */
  truncate(next: number): void;
  /** Drops the oldest as far as whole chunks go. */
  dropBefore(position: number): void;
  /** Empty again; the next record has this position. */
  reset(first: number): void;
  chunk(position: number): Chunk | undefined;
  cost(position: number): Cost | undefined;
  /** The first position whose instructions (or time) have reached a value. */
  reached(axis: Axis, value: number): number;
}
export type Axis = 'retired' | 'time';

const MOST_NAMES = 4096;
const MOST_ERRNOS = 255;
const MOST_SITES = 2 ** 20;

const newChunk = (base: number, numbered: boolean): Chunk => ({
  base,
  count: 0,
  retired: new Float64Array(CHUNK),
  time: new Float64Array(CHUNK),
  vcpu: new Uint16Array(CHUNK),
  name: new Uint16Array(CHUNK),
  site: new Uint32Array(CHUNK),
  errno: new Uint8Array(CHUNK),
  depth: new Uint8Array(CHUNK),
  result: new Int32Array(CHUNK),
  next: new Uint32Array(CHUNK),
  seq: numbered ? new Float64Array(CHUNK) : undefined,
});

function resultOf(result: bigint | undefined): number {
  if (result === undefined) return 0;
  const n = Number(BigInt.asIntN(64, result));
  return n > LARGE_RESULT && n < 2 ** 31 ? n : LARGE_RESULT;
}

/** @param numbered the records have numbers of their own, which may leave some out */
export function createColumns(numbered = false): Columns {
  const names = createTable<string>(MOST_NAMES, 'others');
  const errnos = createTable<string>(MOST_ERRNOS, 'others');
  errnos.id('');
  const sites = createTable<bigint>(MOST_SITES, 0n);
  const vcpus: VcpuRef[] = [];
  const vcpuIds = new Map<number, number>();
  let chunks: Chunk[] = [];
  /** Position of the first chunk's first record. */
  let origin = 0;
  let next = 0;
  /** The latest call of each vCPU, by its number; -1: none. */
  const latest: number[] = [];

  const vcpuId = (domain: number, vcpu: number): number => {
    const key = domain * 65536 + vcpu;
    const known = vcpuIds.get(key);
    if (known !== undefined) return known;
    vcpus.push({ domain, vcpu });
    latest.push(-1);
    vcpuIds.set(key, vcpus.length - 1);
    return vcpus.length - 1;
  };
  const chunk = (position: number): Chunk | undefined =>
    position < origin ? undefined : chunks[Math.floor((position - origin) / CHUNK)];

  return {
    names,
    errnos,
    sites,
    vcpus,
    first: () => origin,
    next: () => next,
    append: (entry) => {
      const k = (next - origin) % CHUNK;
      if (k === 0) chunks.push(newChunk(next, numbered));
      const c = chunks.at(-1);
      if (c === undefined) return;
      const id = vcpuId(entry.domain, entry.vcpu);
      c.retired[k] = entry.retired;
      c.time[k] = entry.time;
      c.vcpu[k] = id;
      c.name[k] = names.id(entry.name);
      c.site[k] = sites.id(entry.site);
      c.errno[k] = entry.errno === undefined ? 0 : errnos.id(entry.errno);
      c.depth[k] = entry.depth;
      c.result[k] = resultOf(entry.result);
      if (c.seq !== undefined) c.seq[k] = entry.seq ?? next;
      c.count = k + 1;
      // Entries of a multicall come before it, at its own moment.
      if (entry.depth === 0) {
        const before = latest[id] ?? -1;
        const its = before < 0 ? undefined : chunk(before);
        if (its !== undefined) its.next[before - its.base] = next - before;
        latest[id] = next;
      }
      next++;
    },
    truncate: (to) => {
      if (to >= next) return;
      next = Math.max(to, origin);
      chunks.length = Math.ceil((next - origin) / CHUNK);
      const last = chunks.at(-1);
      if (last !== undefined) last.count = next - last.base;
      latest.fill(-1);
      let missing = latest.length;
      for (let position = next - 1; position >= origin && missing > 0; position--) {
        const c = chunk(position);
        if (c === undefined) break;
        const k = position - c.base;
        const id = c.vcpu[k] ?? 0;
        if (c.depth[k] !== 0 || latest[id] !== -1) continue;
        latest[id] = position;
        c.next[k] = NO_NEXT;
        missing--;
      }
    },
    dropBefore: (position) => {
      const whole = Math.min(chunks.length, Math.floor((position - origin) / CHUNK));
      if (whole <= 0) return;
      chunks = chunks.slice(whole);
      origin += whole * CHUNK;
      next = Math.max(next, origin);
    },
    reset: (first) => {
      chunks = [];
      origin = next = first;
      latest.fill(-1);
    },
    chunk,
    cost: (position) => {
      const c = chunk(position);
      const k = position - (c?.base ?? 0);
      const step = c?.next[k] ?? NO_NEXT;
      const other = step === NO_NEXT ? undefined : chunk(position + step);
      if (c === undefined || other === undefined) return undefined;
      const j = position + step - other.base;
      return {
        instructions: (other.retired[j] ?? 0) - (c.retired[k] ?? 0),
        time: (other.time[j] ?? 0) - (c.time[k] ?? 0),
      };
    },
    reached: (axis, value) => {
      let low = origin;
      let high = next;
      while (low < high) {
        const middle = Math.floor((low + high) / 2);
        const c = chunk(middle);
        if ((c?.[axis][middle - c.base] ?? Infinity) >= value) high = middle;
        else low = middle + 1;
      }
      return low;
    },
  };
}
