import { bytesToNumber } from '../base/bytes';
import { ATTENTION, PAGE_SIZE, type PhysicalMemory } from '../cpu/types';
import type { GuestVcpu, Hypervisor } from '../hypervisor/types';
import type { StopState } from './conditions';
import type { Gates } from './gates';
import type { DataHit, DataPlace, StopPoint, StopReason } from './target';
import { watchKinds, type Located, type Piece, type Watched } from './watch-kinds';

/**
 * Data stop points. The CPU tells of accesses to watched frames and of stores by others; what came of them is looked
 * at between two instructions. Watching leaves no trace in what the guests see.
 */

export type DataStop = Extract<StopPoint, { kind: 'data' }>;
type DataReason = Extract<StopReason, { kind: 'data' }>;

export interface DataWatches {
  /** Throws a RangeError for what cannot be watched. */
  set(points: readonly DataStop[]): void;
  /** Hooks.watch and Hooks.stored of the CPU. */
  accessed(machineAddress: number, bytes: number, write: boolean): boolean;
  stored(mfn: number, offset: number, length: number): void;
  /** What was hit since the last time, with `vcpu` on the processor. To be asked between two instructions. */
  take(vcpu: GuestVcpu): DataReason | undefined;
  /** It could not be told now: the next `take` gives it again. */
  keep(reason: DataReason): void;
  /** Whether there are any. */
  any(): boolean;
  /** A vCPU must run one instruction at a time. */
  stepping(vcpu: GuestVcpu): boolean;
  /** What has changed so far was not the guest's doing: the debugger wrote, or went elsewhere in time. */
  refresh(): void;
}

interface Watch {
  readonly point: DataStop;
  readonly watched: Watched;
  located: Located;
  /** What it held when last looked at: bytes of the pieces, or the kind's own value. */
  bytes: Uint8Array;
  value: Uint8Array | string | undefined;
}
interface InFrame {
  readonly watch: Watch;
  readonly piece: Piece;
}
/** Something that happened to a watch; offsets in its place. */
interface Happened {
  readonly watch: Watch;
  readonly access: DataHit['access'];
  readonly by: DataHit['by'];
  readonly offset: number;
  readonly old: Uint8Array | string | undefined;
  readonly now: Uint8Array | string | undefined;
}

/** Bytes shown of what changed. */
const SHOWN = 16;
/** A frame in granules of 8 bytes, of which most are of no interest to anyone. */
const GRANULE_SHIFT = 3;

export interface DataWatchHost {
  hypervisor(): Hypervisor;
  readonly memory: PhysicalMemory;
  readonly gates: Gates;
  /** The soft TLBs follow the attention bytes. */
  follow(): void;
  /** How many hypercalls have been served, and the name of one, to say who did it. */
  calls(): number;
  callAt(number: number): string;
  stateAt(vcpu: GuestVcpu, own: Readonly<Record<string, bigint | string>>): StopState;
}

export function createDataWatches(host: DataWatchHost): DataWatches {
  const { memory, gates } = host;
  let watches: readonly Watch[] = [];
  let stepped: readonly Watch[] = [];
  let polled: readonly Watch[] = [];
  let moving: readonly Watch[] = [];
  const inFrame = new Map<number, { readonly granules: Uint8Array; readonly parts: InFrame[] }>();
  const through = new Map<number, Watch[]>();
  /** Frames that the hypervisor or a device stored to since the last `take`. */
  const touched = new Set<number>();
  /** What they stored to for certain, be it the value that was there. */
  const written = new Set<InFrame>();
  let accesses: { readonly part: InFrame; readonly from: number; readonly to: number; readonly write: boolean }[] = []; // prettier-ignore
  let kept: DataReason | undefined;
  let calls = 0;

  const bytesAt = (piece: Piece): Uint8Array => {
    const at = memory.framesBase + piece.mfn * PAGE_SIZE + piece.offset;
    return memory.bytes.subarray(at, at + piece.length);
  };
  const remember = (watch: Watch, piece: Piece): void => {
    watch.bytes.set(bytesAt(piece), piece.at);
  };
  const look = (watch: Watch): void => {
    if (watch.watched.value !== undefined) watch.value = watch.watched.value(watch.located);
    else for (const piece of watch.located.pieces) remember(watch, piece);
  };

  /** Enters all watches by frame, and bars what has to take the slow way. */
  function index(): void {
    const before = new Set([...inFrame.keys(), ...through.keys()]);
    inFrame.clear();
    through.clear();
    const bits = new Map<number, number>();
    const add = (mfn: number, more: number): void => {
      bits.set(mfn, (bits.get(mfn) ?? 0) | more);
    };
    for (const watch of watches) {
      for (const piece of watch.located.pieces) {
        let here = inFrame.get(piece.mfn);
        if (here === undefined) {
          here = { granules: new Uint8Array(PAGE_SIZE >> GRANULE_SHIFT), parts: [] };
          inFrame.set(piece.mfn, here);
        }
        here.parts.push({ watch, piece });
        const last = (piece.offset + piece.length - 1) >> GRANULE_SHIFT;
        here.granules.fill(1, piece.offset >> GRANULE_SHIFT, last + 1);
        // What was there before a store has to be known for a read, too.
        add(piece.mfn, ATTENTION.WATCH_WRITE | (watch.point.access === 'write' ? 0 : ATTENTION.WATCH_READ));
      }
      for (const mfn of watch.located.through) {
        through.set(mfn, [...(through.get(mfn) ?? []), watch]);
        add(mfn, ATTENTION.WATCH_WRITE);
      }
    }
    const both = ATTENTION.WATCH_WRITE | ATTENTION.WATCH_READ;
    let changed = false;
    for (const mfn of new Set([...before, ...bits.keys()])) {
      const old = memory.attention[mfn] ?? 0;
      const fresh = (old & ~both) | (bits.get(mfn) ?? 0);
      changed ||= old !== fresh;
      memory.attention[mfn] = fresh;
    }
    if (changed) host.follow();
  }

  const make = (point: DataStop): Watch => {
    const kind = watchKinds[point.place.kind] as (hypervisor: Hypervisor, place: DataPlace) => Watched;
    const watched = kind(host.hypervisor(), point.place);
    const bytes = new Uint8Array(watched.value === undefined ? watched.size : 0);
    return { point, watched, located: watched.locate(), bytes, value: undefined };
  };

  /** The first bytes that differ, a few of them. */
  function difference(
    watch: Watch,
    piece: Piece,
    now: Uint8Array,
  ): Omit<Happened, 'access' | 'by'> | undefined {
    let first = 0;
    while (first < piece.length && watch.bytes[piece.at + first] === now[first]) first++;
    if (first === piece.length) return undefined;
    // A place that is a variable is shown as that, not by the byte of it that differs.
    const from = watch.watched.size <= SHOWN ? 0 : first;
    const end = Math.min(piece.length, from + SHOWN);
    return {
      watch,
      offset: piece.at + from,
      old: watch.bytes.slice(piece.at + from, piece.at + end),
      now: now.slice(from, end),
    };
  }

  const same = (a: Watch['value'], b: Watch['value']): boolean =>
    a === b ||
    (typeof a === 'object' &&
      typeof b === 'object' &&
      a.length === b.length &&
      a.every((n, i) => n === b[i]));

  /** By the kind's own measure. */
  function compareValue(watch: Watch, by: DataHit['by']): Happened[] {
    const now = watch.watched.value?.(watch.located);
    const old = watch.value;
    watch.value = now;
    return same(old, now) ? [] : [{ watch, access: 'write', by, offset: 0, old, now }];
  }

  function comparePiece(watch: Watch, piece: Piece, by: DataHit['by']): Happened[] {
    if (watch.watched.value !== undefined) return compareValue(watch, by);
    const found = difference(watch, piece, bytesAt(piece));
    if (found === undefined) return [];
    remember(watch, piece);
    return [{ ...found, access: 'write', by }];
  }

  /** Stored to, and as it was. */
  function rewritten({ watch, piece }: InFrame): Happened[] {
    if (watch.watched.value !== undefined) return [];
    const end = piece.at + Math.min(piece.length, SHOWN);
    const value = watch.bytes.slice(piece.at, end);
    return [{ watch, access: 'write', by: 'hypervisor', offset: piece.at, old: value, now: value }];
  }

  const samePieces = (a: readonly Piece[], b: readonly Piece[]): boolean =>
    a.length === b.length && a.every((piece, i) => piece.mfn === b[i]?.mfn && piece.at === b[i].at);

  /** Those that may lie elsewhere now. */
  function relocate(): Happened[] {
    const found: Happened[] = [];
    let moved = false;
    const maybe = new Set(moving);
    for (const mfn of touched) for (const watch of through.get(mfn) ?? []) maybe.add(watch);
    for (const watch of maybe) {
      const old = watch.located;
      const now = watch.watched.locate();
      const tables = old.through.length !== now.through.length || old.through.some((mfn, i) => mfn !== now.through[i]); // prettier-ignore
      if (!tables && samePieces(old.pieces, now.pieces)) continue;
      moved = true;
      watch.located = now;
      if (samePieces(old.pieces, now.pieces)) continue;
      if (watch.watched.value !== undefined) found.push(...compareValue(watch, 'mapping'));
      else for (const piece of now.pieces) found.push(...comparePiece(watch, piece, 'mapping'));
    }
    if (moved) index();
    return found;
  }

  /** The instruction's own accesses, each watch once. */
  function byInstruction(): Happened[] {
    const found = new Map<string, Happened>();
    for (const { part, from, to, write } of accesses) {
      const { watch, piece } = part;
      const access = write ? 'write' : 'read';
      const key = `${watch.point.id} ${access}`;
      if (found.has(key)) continue;
      if (watch.watched.value !== undefined) {
        for (const one of compareValue(watch, 'guest')) found.set(key, one);
        continue;
      }
      const start = watch.watched.size <= SHOWN ? piece.at : from;
      const end = watch.watched.size <= SHOWN ? piece.at + piece.length : Math.min(to, from + SHOWN);
      const now = bytesAt(piece).slice(start - piece.at, end - piece.at);
      found.set(key, { watch, access, by: 'guest', offset: start, old: watch.bytes.slice(start, end), now });
    }
    for (const { part } of accesses)
      if (part.watch.watched.value === undefined) remember(part.watch, part.piece);
    return [...found.values()];
  }

  const wants = ({ point }: Watch, write: boolean): boolean =>
    point.access === 'readWrite' || (point.access === 'write') === write;

  const number = (value: Happened['old']): bigint | string =>
    typeof value === 'string' ? value : bytesToNumber((value ?? new Uint8Array()).subarray(0, 8)); // prettier-ignore

  /** @param call the number of the hypercall that was served meanwhile */
  function judge(
    happened: readonly Happened[],
    vcpu: GuestVcpu,
    call: number | undefined,
  ): DataReason | undefined {
    const hits: DataHit[] = [];
    for (const { watch, access, by, offset, old, now } of happened) {
      if (!wants(watch, access === 'write')) continue;
      const state = host.stateAt(vcpu, {
        old: number(old),
        new: number(now),
        changed: same(old, now) ? 0n : 1n,
        access,
        by,
        offset: BigInt(offset),
      });
      if (!gates.open(watch.point, state)) continue;
      const who = by === 'guest' || call === undefined ? {} : { call: host.callAt(call) };
      hits.push({ id: watch.point.id, access, by, offset, old, now, ...who });
    }
    return hits.length === 0 ? undefined : { kind: 'data', ids: hits.map(({ id }) => id), hits };
  }

  function refresh(): void {
    touched.clear();
    written.clear();
    accesses = [];
    kept = undefined;
    if (watches.length === 0) return;
    for (const watch of watches) watch.located = watch.watched.locate();
    index();
    watches.forEach(look);
  }

  return {
    set(points) {
      const old = new Map(watches.map((watch) => [JSON.stringify(watch.point, plain), watch]));
      const fresh = points.map((point) => old.get(JSON.stringify(point, plain)) ?? make(point));
      if (fresh.length === 0 && watches.length === 0) return;
      const known = new Set(watches);
      watches = fresh;
      stepped = fresh.filter(({ watched }) => watched.pace === 'instructions');
      polled = fresh.filter(({ watched }) => watched.pace !== 'stores');
      moving = fresh.filter(({ watched }) => watched.moves === true);
      index();
      for (const watch of fresh) if (!known.has(watch)) look(watch);
      if (kept?.ids.some((id) => !points.some((point) => point.id === id)) === true) kept = undefined;
    },
    accessed(machineAddress, bytes, write) {
      const mfn = Math.floor(machineAddress / PAGE_SIZE);
      const here = inFrame.get(mfn);
      if (here === undefined) return false;
      const from = machineAddress % PAGE_SIZE;
      const to = from + bytes;
      const next = here.granules.indexOf(1, from >> GRANULE_SHIFT);
      if (next < 0 || next > (to - 1) >> GRANULE_SHIFT) return false;
      const before = accesses.length;
      for (const part of here.parts) {
        const { offset, length, at } = part.piece;
        if (from >= offset + length || to <= offset || !wants(part.watch, write)) continue;
        accesses.push({
          part,
          from: at + Math.max(from - offset, 0),
          to: at + Math.min(to - offset, length),
          write,
        });
      }
      return accesses.length > before;
    },
    stored(mfn, from, length) {
      if (length > 0)
        for (const part of inFrame.get(mfn)?.parts ?? [])
          if (from < part.piece.offset + part.piece.length && from + length > part.piece.offset)
            written.add(part);
      if (touched.has(mfn)) return;
      touched.add(mfn);
      // What it holds just before: what the processor has set in page tables meanwhile is no store of anybody's.
      for (const { watch, piece } of inFrame.get(mfn)?.parts ?? [])
        if (watch.watched.value === undefined) remember(watch, piece);
    },
    take(vcpu) {
      if (kept !== undefined) {
        const reason = kept;
        kept = undefined;
        return reason;
      }
      if (watches.length === 0) return undefined;
      const served = host.calls();
      const call = served > calls ? served - 1 : undefined;
      calls = served;
      if (touched.size === 0 && accesses.length === 0 && polled.length === 0 && moving.length === 0)
        return undefined;
      const happened = accesses.length === 0 ? [] : byInstruction();
      accesses = [];
      if (touched.size > 0 || moving.length > 0) happened.push(...relocate());
      for (const mfn of touched)
        for (const part of inFrame.get(mfn)?.parts ?? []) {
          const found = comparePiece(part.watch, part.piece, 'hypervisor');
          happened.push(...found, ...(found.length === 0 && written.has(part) ? rewritten(part) : []));
        }
      touched.clear();
      written.clear();
      for (const watch of polled)
        happened.push(...compareValue(watch, watch.watched.pace === 'instructions' ? 'guest' : 'hypervisor'));
      return happened.length === 0 ? undefined : judge(happened, vcpu, call);
    },
    keep(reason) {
      kept = reason;
    },
    any: () => watches.length > 0,
    stepping: ({ domain, id }) =>
      stepped.length > 0 &&
      stepped.some(({ watched: { vcpu } }) => vcpu?.domain === domain.id && vcpu.vcpu === id),
    refresh,
  };
}

const plain = (_key: string, value: unknown): unknown => (typeof value === 'bigint' ? `${value}n` : value);
