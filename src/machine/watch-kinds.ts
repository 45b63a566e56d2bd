import { DOMID } from '../abi/domains';
import { numberToBytes } from '../base/bytes';
import { PAGE_SIZE } from '../cpu/types';
import { FRAME_TYPE } from '../hypervisor/frames';
import type { GuestVcpu, Hypervisor } from '../hypervisor/types';
import { FLAG } from './pte';
import { registerBits, registerValue } from './registers';
import type { AddressSpace, DataPlace, VcpuRef } from './target';

/**
 * What data stop points can look at: a row a kind. Each says where its memory lies in the machine, on what that
 * depends, and what it holds.
 */

/** Bytes in one machine frame; `at` is where they stand in the place. */
export interface Piece {
  readonly mfn: number;
  readonly offset: number;
  readonly length: number;
  readonly at: number;
}

export interface Located {
  readonly pieces: readonly Piece[];
  /** Page tables on the way: a store to one of these may move it. */
  readonly through: readonly number[];
}

/** One place, as long as a stop point looks at it. */
export interface Watched {
  /** When it may have changed: with a store to its pieces, whenever the hypervisor was at work, at any instruction. */
  readonly pace: 'stores' | 'exits' | 'instructions';
  /** It lies where the hypervisor's tables say, not the guest's: to be found anew whenever the hypervisor was at work. */
  readonly moves?: true;
  /** The only vCPU whose instructions change it. */
  readonly vcpu?: VcpuRef;
  locate(): Located;
  /** What it holds, for places that are not simply their pieces; undefined: there is nothing. */
  value?(located: Located): Uint8Array | string | undefined;
  /** Bytes of the pieces together. */
  readonly size: number;
}

const NOWHERE: Located = { pieces: [], through: [] };
/** Longer stretches are better looked at by a frame's attention; it also bounds what a client can ask for. */
export const MAX_WATCHED = 16 * 2 ** 20;

const ADDRESS_MASK = 0x000f_ffff_ffff_f000n;
/** Where the guest's kernel half begins, whose tables all address spaces share. */
const KERNEL_HALF = 1n << 47n;
const shiftOf = (level: number): bigint => BigInt(12 + 9 * (level - 1));

interface Walked {
  readonly tables: readonly number[];
  /** The entries that were looked at, the base table's first. */
  readonly entries: readonly { readonly mfn: number; readonly index: number; readonly level: number }[];
  readonly mfn: number | undefined;
}

/** As the processor would go, without a trace. */
function walk({ memory, frames }: Hypervisor, base: number, va: bigint): Walked {
  const tables: number[] = [];
  const entries: { mfn: number; index: number; level: number }[] = [];
  let table = base;
  for (let level = 4; level >= 1; level--) {
    if (table >= frames.count) break;
    const index = Number((va >> shiftOf(level)) & 511n);
    tables.push(table);
    entries.push({ mfn: table, index, level });
    const entry = memory.read64(table, index);
    if ((entry & FLAG.P) === 0n) break;
    const next = Number((entry & ADDRESS_MASK) >> 12n);
    const large = level > 1 && level < 4 && (entry & FLAG.PS) !== 0n;
    if (level === 1 || large) {
      const within = large ? Number((va & ((1n << shiftOf(level)) - 1n)) >> 12n) : 0;
      const mfn = next + within;
      return { tables, entries, mfn: mfn < frames.count ? mfn : undefined };
    }
    table = next;
  }
  return { tables, entries, mfn: undefined };
}

const vcpuAt = (hypervisor: Hypervisor, ref: VcpuRef): GuestVcpu | undefined =>
  hypervisor.domains.get(ref.domain)?.vcpus[ref.vcpu];

/**
 * The base table under which a virtual address is followed: the one of now. What processes share goes on under
 * another when that one is given up; what was only its own is then gone.
 */
function baseOf(hypervisor: Hypervisor, ref: VcpuRef, address: bigint): () => number | undefined {
  const { frames } = hypervisor;
  let base: number | undefined;
  let chosen = false;
  const isBase = (mfn: number): boolean =>
    frames.type[mfn] === FRAME_TYPE.l4 && (frames.owner[mfn] ?? DOMID.INVALID) === ref.domain;
  return () => {
    if (base !== undefined && isBase(base)) return base;
    const v = vcpuAt(hypervisor, ref);
    const low = address < KERNEL_HALF;
    if (v === undefined || (chosen && low)) return (base = undefined);
    chosen = true;
    const { kernelMode, userTable, kernelTable } = v.state;
    base = low && !kernelMode ? (userTable ?? kernelTable) : kernelTable;
    return base;
  };
}

/** Cuts a stretch at page borders. */
function* pagesOf(
  address: bigint,
  bytes: number,
): Generator<{ address: bigint; at: number; length: number }> {
  for (let at = 0; at < bytes;) {
    const here = BigInt.asUintN(64, address + BigInt(at));
    const length = Math.min(bytes - at, PAGE_SIZE - Number(here & 0xfffn));
    yield { address: here, at, length };
    at += length;
  }
}

type Memory = Extract<DataPlace, { kind: 'memory' }>;

function piecesBy(place: Memory, frameOf: (address: bigint) => number | undefined): Piece[] {
  return [...pagesOf(place.address, place.bytes)].flatMap(({ address, at, length }) => {
    const mfn = frameOf(address);
    return mfn === undefined ? [] : [{ mfn, offset: Number(address & 0xfffn), length, at }];
  });
}

const spaces: {
  readonly [K in AddressSpace['kind']]: (
    hypervisor: Hypervisor,
    place: Memory,
    space: Extract<AddressSpace, { kind: K }>,
  ) => Pick<Watched, 'locate' | 'moves'>;
} = {
  machine: (hypervisor, place) => ({
    locate: () => ({
      pieces: piecesBy(place, (address) => {
        const frame = address >> 12n;
        return frame < BigInt(hypervisor.frames.count) ? Number(frame) : undefined;
      }),
      through: [],
    }),
  }),
  pseudophysical: (hypervisor, place, { domain }) => ({
    moves: true,
    locate: () => ({
      pieces: piecesBy(place, (address) => {
        const mfn = hypervisor.domains.get(domain)?.state.p2m[Number(address >> 12n)];
        return mfn === undefined || mfn < 0 ? undefined : mfn;
      }),
      through: [],
    }),
  }),
  virtual: (hypervisor, place, { vcpu }) => {
    const base = baseOf(hypervisor, vcpu, place.address);
    return {
      locate: () => {
        const root = base();
        if (root === undefined) return NOWHERE;
        const through = new Set<number>();
        const pieces = piecesBy(place, (address) => {
          const { tables, mfn } = walk(hypervisor, root, address);
          for (const table of tables) through.add(table);
          return mfn;
        });
        return { pieces, through: [...through] };
      },
    };
  },
};

/** Set by the processor on its own. */
const BY_PROCESSOR = FLAG.A | FLAG.D;

/** How each kind is found. Throws a RangeError for what cannot be looked at. */
export const watchKinds: {
  readonly [K in DataPlace['kind']]: (
    hypervisor: Hypervisor,
    place: Extract<DataPlace, { kind: K }>,
  ) => Watched;
} = {
  memory: (hypervisor, place) => {
    if (place.bytes < 1 || place.bytes > MAX_WATCHED)
      throw new RangeError(
        `${place.bytes.toString()} bytes: from 1 to ${MAX_WATCHED.toString()} are watched`,
      );
    const make = spaces[place.space.kind] as (
      hypervisor: Hypervisor,
      place: Memory,
      space: AddressSpace,
    ) => Pick<Watched, 'locate' | 'moves'>;
    return { pace: 'stores', size: place.bytes, ...make(hypervisor, place, place.space) };
  },
  entry: (hypervisor, { vcpu, address, level }) => {
    const base = baseOf(hypervisor, vcpu, address);
    return {
      pace: 'stores',
      size: 8,
      locate: () => {
        const root = base();
        if (root === undefined) return NOWHERE;
        const { tables, entries } = walk(hypervisor, root, address);
        const found = entries.find((one) => one.level === level);
        const above = tables.slice(0, 4 - level);
        if (found === undefined) return { pieces: [], through: above };
        return {
          pieces: [{ mfn: found.mfn, offset: found.index * 8, length: 8, at: 0 }],
          through: above,
        };
      },
      value: ({ pieces: [piece] }) =>
        piece === undefined
          ? undefined
          : numberToBytes(hypervisor.memory.read64(piece.mfn, piece.offset / 8) & ~BY_PROCESSOR, 8),
    };
  },
  register: (hypervisor, { vcpu, name }) => {
    const bits = registerBits(name);
    if (bits === undefined) throw new RangeError(`there is no register '${name}'`);
    return {
      pace: 'instructions',
      size: Math.ceil(bits / 8),
      vcpu,
      locate: () => NOWHERE,
      value: () => {
        const cpu = vcpuAt(hypervisor, vcpu)?.cpu;
        const value = cpu === undefined ? undefined : registerValue(cpu, name);
        return value === undefined ? undefined : numberToBytes(value, Math.ceil(bits / 8));
      },
    };
  },
};
