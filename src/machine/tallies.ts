/** How often what was called, how long after the last time, and what was refused and why: the trace in numbers. */
import { lowHalf } from '../base/words';
import type { Call } from '../hypervisor/state';
import type { Declaration, GuestVcpu } from '../hypervisor/types';
import type { CallCount, TraceSummary } from './target';
import { HEAD, HEAD_SIZE } from './trace-layout';

export interface Count {
  count: number;
  refused: number;
  /** When it was called last (ns), and the sum of the times between. */
  last: number;
  between: number;
  /** How many of the times between were about how long: four classes to an octave of nanoseconds. */
  classes: Uint32Array;
}

export interface RefusalCount {
  readonly name: string;
  readonly errno: string;
  count: number;
  /** Why, the first time. */
  readonly reason: string;
}

export interface TalliesState {
  readonly calls: ReadonlyMap<string, Count>;
  readonly ops: ReadonlyMap<string, Count>;
  readonly traps: ReadonlyMap<string, number>;
  readonly refusals: ReadonlyMap<string, RefusalCount>;
}

/** What the trace asks of the hypervisor: the names a completed call answers to (`mmu_update`, `mmu_update.normal`, …). */
export type Names = (vcpu: GuestVcpu | undefined, call: Call) => readonly string[];

/** Its number alone (it has no sub-operations), that and the command in its first argument, or guest memory. */
export type NamedBy = 'number' | 'register' | 'memory';

/** @returns what decides the names of the calls of each number */
export function namingOf(declarations: readonly Declaration[]): (nr: number) => NamedBy {
  const nowhere = (): undefined => undefined;
  const of = (d: Declaration): NamedBy => {
    const [op] = d.ops;
    if (op === undefined) return 'number';
    return d.select([BigInt(op.cmd), 0n, 0n, 0n, 0n, 0n], nowhere).length > 0 ? 'register' : 'memory';
  };
  const known = new Map(declarations.map((d) => [d.nr, of(d)]));
  return (nr) => known.get(nr) ?? 'memory';
}

/** What a call counts for. */
interface Counters {
  readonly call: Count;
  readonly ops: readonly Count[];
}

interface Naming {
  readonly by: NamedBy;
  readonly found: Map<number, Counters>;
}

/** Hypercall numbers that Xen's table has room for (xen.h, __HYPERVISOR_arch_7 is the last). */
const NUMBERS = 64;
/** Distinct calls whose names are remembered; a guest that makes up more starts it afresh. */
const REMEMBERED = 1024;
const NO_COMMAND = -1;
/** Names counted one by one; numbers that a guest makes up could be any number of them. */
const MOST_NAMES = 1024;
const OTHERS = 'others';

const PER_OCTAVE = 4;
/** Up to 2^40 ns, a quarter of an hour. */
const CLASSES = 40 * PER_OCTAVE;
/** Where the second to fourth class of an octave begin, of numbers shifted so that bit 31 is their highest. */
const [SECOND, THIRD, FOURTH] = [1, 2, 3].map((i) => 2 ** (31 + i / PER_OCTAVE)) as [number, number, number];
/** floor(4 log2(ns + 1)). */
function classOf(ns: number): number {
  const n = ns + 1;
  if (n >= 2 ** 32) return Math.min(CLASSES - 1, Math.floor(PER_OCTAVE * Math.log2(n)));
  const zeros = Math.clz32(n);
  const shifted = (n << zeros) >>> 0;
  const part = shifted < THIRD ? (shifted < SECOND ? 0 : 1) : shifted < FOURTH ? 2 : 3;
  return PER_OCTAVE * (31 - zeros) + part;
}
/** The middle of a class. */
const lengthOf = (index: number): number => 2 ** ((index + 0.5) / PER_OCTAVE) - 1;

/** Of the heads in the ring, in words. */
const [TIME, NR, ARGS, NAMES] = [HEAD.time / 4, HEAD.nr / 4, HEAD.args / 4, HEAD.names / 4] as const;
export const timeAt = (heads: Uint32Array, at: number): number =>
  (heads[at + TIME + 1] ?? 0) * 2 ** 32 + (heads[at + TIME] ?? 0);
/** What tells the names of a call among those of its number. */
export function keyAt(heads: Uint32Array, at: number): number {
  const names = heads[at + NAMES] ?? 0;
  return names === 0 ? (heads[at + ARGS] ?? 0) : names;
}

const NEVER = -1;
const newCount = (): Count => ({
  count: 0,
  refused: 0,
  last: NEVER,
  between: 0,
  classes: new Uint32Array(CLASSES),
});

function count(c: Count, refused: boolean, now: number): void {
  c.count++;
  if (refused) c.refused++;
  if (c.last !== NEVER) {
    const ns = now - c.last;
    const at = classOf(ns);
    c.between += ns;
    c.classes[at] = (c.classes[at] ?? 0) + 1;
  }
  c.last = now;
}

function median({ classes, count: all }: Count): number {
  let left = (all - 1) / 2;
  const at = classes.findIndex((n) => (left -= n) <= 0);
  return lengthOf(at);
}

const shown = (name: string, c: Count): CallCount => ({
  name,
  count: c.count,
  refused: c.refused,
  ...(c.count < 2
    ? {}
    : { between: { mean: Math.round(c.between / (c.count - 1)), median: Math.round(median(c)) } }),
});

export interface Tallies {
  /** @param now virtual time in nanoseconds; vcpu: whose memory may be looked at for names */
  add(vcpu: GuestVcpu | undefined, call: Call, refused: boolean, now: number): void;
  /** Whether the names of a call of that number are in its registers: it may be counted later. */
  isPlain(nr: number): boolean;
  /**
   * Those that were not refused, of `most` heads in the ring from a word on, that have the number and the names of the
   * first; they are told by the low half of their first argument, or by what `remember` was given.
   * @returns how many were counted; 0: the first is the first such
   */
  again(heads: Uint32Array, from: number, most: number): number;
  /** One whose names lie in what was captured with it, and that `again` will know by that key from now on. */
  remember(call: Call, key: number, now: number): void;
  trap(name: string, times: number): void;
  knowsTrap(name: string): boolean;
  /** How many of them there are. */
  trapNames(): number;
  summary(): TraceSummary;
  save(): TalliesState;
  restore(state: TalliesState): void;
}

/** @param namedBy what decides which names a call of that number has */
export function createTallies(names: Names, namedBy: (nr: number) => NamedBy): Tallies {
  let calls = new Map<string, Count>();
  let ops = new Map<string, Count>();
  let traps = new Map<string, number>();
  let refusals = new Map<string, RefusalCount>();

  const counter = (into: Map<string, Count>, name: string): Count => {
    let c = into.get(name);
    if (c !== undefined) return c;
    if (into.size >= MOST_NAMES && name !== OTHERS) return counter(into, OTHERS);
    into.set(name, (c = newCount()));
    return c;
  };

  /** By number; what is found is by command. */
  const namings: (Naming | undefined)[] = new Array<Naming | undefined>(NUMBERS);
  let remembering = 0;
  /** By the very list: calls of one sub-operation have one list of names. */
  let byNames = new WeakMap<readonly string[], Counters>();
  /** What `again` was asked for last: mostly it is asked for the same. */
  let latest: Counters | undefined;
  let [latestNr, latestKey] = [0, 0];
  let latestByKey = false;
  const forget = (): void => {
    latest = undefined;
    for (const n of namings) n?.found.clear();
    byNames = new WeakMap();
    remembering = 0;
  };

  const find = (vcpu: GuestVcpu | undefined, call: Call): Counters => {
    const all = names(vcpu, call);
    let found = byNames.get(all);
    if (found === undefined) {
      const [name, ...subOperations] = all;
      found = {
        call: counter(calls, name ?? `#${call.nr.toString()}`),
        ops: subOperations.map((op) => counter(ops, op)),
      };
      byNames.set(all, found);
    }
    return found;
  };

  const namingFor = (nr: number): Naming | undefined =>
    nr < NUMBERS ? (namings[nr] ??= { by: namedBy(nr), found: new Map<number, Counters>() }) : undefined;
  function countEach({ call, ops: each }: Counters, refused: boolean, now: number): void {
    count(call, refused, now);
    for (let i = 0; i < each.length; i++) {
      const op = each[i];
      if (op !== undefined) count(op, refused, now);
    }
  }

  function countersOf(vcpu: GuestVcpu | undefined, call: Call): Counters {
    const { nr } = call;
    const naming = namingFor(nr);
    if (naming === undefined || naming.by === 'memory') return find(vcpu, call);
    const key = naming.by === 'number' ? NO_COMMAND : lowHalf(call.args[0] ?? 0n);
    let found = naming.found.get(key);
    if (found === undefined) {
      if (remembering++ >= REMEMBERED) forget();
      naming.found.set(key, (found = find(vcpu, call)));
    }
    return found;
  }

  function refuse(vcpu: GuestVcpu | undefined, call: Call): void {
    const all = names(vcpu, call);
    const name = all[1] ?? all[0] ?? `#${call.nr.toString()}`;
    const errno = call.errno ?? '';
    const key = `${name} ${errno}`;
    const known = refusals.get(key);
    if (known !== undefined) known.count++;
    else if (refusals.size < MOST_NAMES)
      refusals.set(key, { name, errno, count: 1, reason: call.reason ?? '' });
  }

  return {
    add(vcpu, call, refused, now) {
      countEach(countersOf(vcpu, call), refused, now);
      if (refused) refuse(vcpu, call);
    },
    isPlain(nr) {
      const naming = namingFor(nr);
      return naming !== undefined && naming.by !== 'memory';
    },
    again(heads, from, most) {
      const nr = heads[from + NR] ?? 0;
      if (latest === undefined || nr !== latestNr || (latestByKey && keyAt(heads, from) !== latestKey)) {
        const naming = namingFor(nr);
        latestNr = nr;
        latestByKey = naming?.by !== 'number';
        latestKey = keyAt(heads, from);
        latest = naming?.found.get(latestByKey ? latestKey : NO_COMMAND);
      }
      if (latest === undefined) return 0;
      const { call, ops: each } = latest;
      const [op = call] = each;
      let { last, between } = call;
      // Both were called last at the same time: so long as that stays so, the times between are the same.
      if (last === NEVER || op.last !== last || each.length > 1) {
        countEach(latest, false, timeAt(heads, from));
        return 1;
      }
      const { classes } = call;
      const [byKey, key] = [latestByKey, latestKey];
      let n = 0;
      let at = from;
      do {
        const now = timeAt(heads, at);
        const ns = now - last;
        const which = classOf(ns);
        classes[which] = (classes[which] ?? 0) + 1;
        if (op !== call) op.classes[which] = (op.classes[which] ?? 0) + 1;
        between += ns;
        last = now;
        n++;
        at += HEAD_SIZE / 4;
      } while (n < most && heads[at + NR] === nr && (!byKey || keyAt(heads, at) === key));
      if (op !== call) {
        op.count += n;
        op.between += between - call.between;
        op.last = last;
      }
      call.count += n;
      call.between = between;
      call.last = last;
      return n;
    },
    remember(call, key, now) {
      const found = find(undefined, call);
      if (remembering++ >= REMEMBERED) forget();
      namingFor(call.nr)?.found.set(key, found);
      countEach(found, false, now);
    },
    trap(name, times) {
      traps.set(name, (traps.get(name) ?? 0) + times);
    },
    knowsTrap: (name) => traps.has(name),
    trapNames: () => traps.size,
    summary() {
      let total = 0;
      for (const c of calls.values()) total += c.count;
      return {
        total,
        calls: [...calls].map(([name, c]) => ({
          ...shown(name, c),
          ops: [...ops]
            .filter(([op]) => op.startsWith(`${name}.`))
            .map(([op, o]) => shown(op.slice(name.length + 1), o)),
        })),
        refusals: [...refusals.values()].map((r) => ({ ...r })),
        traps: [...traps].map(([name, n]) => ({ name, count: n })),
      };
    },
    save: () => ({
      calls: copyCounts(calls),
      ops: copyCounts(ops),
      traps: new Map(traps),
      refusals: new Map([...refusals].map(([k, r]) => [k, { ...r }])),
    }),
    restore(state) {
      forget();
      calls = copyCounts(state.calls);
      ops = copyCounts(state.ops);
      traps = new Map(state.traps);
      refusals = new Map([...state.refusals].map(([k, r]) => [k, { ...r }]));
    },
  };
}

const copyCounts = (m: ReadonlyMap<string, Count>): Map<string, Count> =>
  new Map([...m].map(([k, c]) => [k, { ...c, classes: c.classes.slice() }]));
