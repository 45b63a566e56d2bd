import { FLAG, pteFlags } from './pte';
import { FRAME_FLAG, FRAME_TYPE_NAMES } from '../hypervisor/frames';
import { DOMID } from '../abi/domains';
import { PAGE_SIZE } from '../cpu/types';
import type { Domain, GuestVcpu, Hypervisor } from '../hypervisor/types';
import type { AddressSpace, FrameInfo, TableEntry, Walk, WalkLevel } from './target';

/** Looking at memory from outside: no A/D bits, no faults, no permission but the guest's boundaries. */

const ADDRESS_MASK = 0x000f_ffff_ffff_f000n;
const TABLE_ENTRIES = 512;
/** Bits of the linear address above an L1, L2, L3, L4 index. */
const shiftOf = (level: number): bigint => BigInt(12 + 9 * (level - 1));
const canonical = (va: bigint): bigint => BigInt.asUintN(64, BigInt.asIntN(48, va));

export const ownerName = (owner: number): string => {
  if (owner === DOMID.XEN) return 'Xen';
  if (owner === DOMID.IO) return 'I/O';
  if (owner === DOMID.INVALID) return 'free';
  return `d${owner.toString()}`;
};

/** Pseudo-physical frame of a machine frame, as its owner's p2m has it. */
function pfnOf(hypervisor: Hypervisor, mfn: number): number | undefined {
  const domain = hypervisor.domains.get(hypervisor.frames.owner[mfn] ?? DOMID.INVALID);
  if (domain === undefined) return undefined;
  const { p2m } = domain.state;
  const pfn = p2m.indexOf(mfn);
  return pfn < 0 ? undefined : pfn;
}

/** A p2m turned round, for calls that ask about many frames. */
export function pfnIndex(hypervisor: Hypervisor): (mfn: number) => number | undefined {
  const index = new Int32Array(hypervisor.frames.count).fill(-1);
  for (const domain of hypervisor.domains.values()) {
    domain.state.p2m.forEach((mfn, pfn) => {
      if (mfn >= 0) index[mfn] = pfn;
    });
  }
  return (mfn) => {
    const pfn = index[mfn] ?? -1;
    return pfn < 0 ? undefined : pfn;
  };
}

export function frameInfo(hypervisor: Hypervisor, mfn: number): FrameInfo {
  const { frames } = hypervisor;
  if (!Number.isInteger(mfn) || mfn < 0 || mfn >= frames.count) {
    throw new RangeError(
      `mfn 0x${mfn.toString(16)} is not among the machine's 0x${frames.count.toString(16)} frames`,
    );
  }
  return {
    mfn,
    owner: ownerName(frames.owner[mfn] ?? DOMID.INVALID),
    type: FRAME_TYPE_NAMES[frames.type[mfn] ?? 0] ?? 'none',
    typeCount: frames.typeCount[mfn] ?? 0,
    count: frames.refs[mfn] ?? 0,
    pinned: ((frames.flags[mfn] ?? 0) & FRAME_FLAG.PINNED) !== 0,
    pfn: pfnOf(hypervisor, mfn),
  };
}

/** The pages that `length` bytes from `address` lie on, up to the first hole. */
function* pages(
  hypervisor: Hypervisor,
  vcpu: GuestVcpu | undefined,
  domain: Domain | undefined,
  space: AddressSpace['kind'],
  address: bigint,
  length: number,
): Generator<{ readonly mfn: number; readonly offset: number; readonly length: number }> {
  let done = 0;
  while (done < length) {
    const at = address + BigInt(done);
    const offset = Number(at & 0xfffn);
    const n = Math.min(length - done, PAGE_SIZE - offset);
    const mfn = frameAt(hypervisor, vcpu, domain, space, at);
    if (mfn === undefined) return;
    yield { mfn, offset, length: n };
    done += n;
  }
}

function frameAt(
  hypervisor: Hypervisor,
  vcpu: GuestVcpu | undefined,
  domain: Domain | undefined,
  space: AddressSpace['kind'],
  address: bigint,
): number | undefined {
  const frame = address >> 12n;
  if (space === 'virtual') {
    if (vcpu === undefined) return undefined;
    const t = vcpu.cpu.translate(BigInt.asUintN(64, address), 'read', 0);
    if (!t.ok) return undefined;
    const mfn = Math.floor(t.machineAddress / PAGE_SIZE);
    return mfn < hypervisor.frames.count ? mfn : undefined;
  }
  if (space === 'machine') return frame < BigInt(hypervisor.frames.count) ? Number(frame) : undefined;
  const mfn = domain?.state.p2m[Number(frame)];
  return mfn === undefined || mfn < 0 ? undefined : mfn;
}

export function readMemory(
  hypervisor: Hypervisor,
  vcpu: GuestVcpu | undefined,
  domain: Domain | undefined,
  space: AddressSpace['kind'],
  address: bigint,
  length: number,
): Uint8Array {
  const out = new Uint8Array(length);
  let done = 0;
  for (const p of pages(hypervisor, vcpu, domain, space, address, length)) {
    out.set(hypervisor.memory.bytes(p.mfn).subarray(p.offset, p.offset + p.length), done);
    done += p.length;
  }
  return out.subarray(0, done).slice();
}

/** A debugger's store: past read-only mappings, but only into frames that belong to some domain. */
export function writeMemory(
  hypervisor: Hypervisor,
  vcpu: GuestVcpu | undefined,
  domain: Domain | undefined,
  space: AddressSpace['kind'],
  address: bigint,
  data: Uint8Array,
): number {
  let done = 0;
  for (const p of pages(hypervisor, vcpu, domain, space, address, data.length)) {
    const owner = hypervisor.frames.owner[p.mfn] ?? DOMID.INVALID;
    if (
      !hypervisor.domains.has(owner) ||
      (domain !== undefined && space !== 'machine' && owner !== domain.id)
    )
      break;
    // A page table written behind the hypervisor's back would break the counts that keep guests apart.
    const type = FRAME_TYPE_NAMES[hypervisor.frames.type[p.mfn] ?? 0] ?? 'none';
    if (!(type === 'none' || type === 'writable' || type === 'shared')) {
      throw new RangeError(
        `mfn 0x${p.mfn.toString(16)} is in use as ${type}: only the guest's hypercalls may change it`,
      );
    }
    hypervisor.memory.write(p.mfn, p.offset, data.subarray(done, done + p.length));
    done += p.length;
  }
  return done;
}

export function walk(hypervisor: Hypervisor, vcpu: GuestVcpu, address: bigint): Walk {
  const va = BigInt.asUintN(64, address);
  const levels: WalkLevel[] = [];
  if (canonical(va) !== va)
    return { address: va, levels, machineAddress: undefined, problem: 'the address is not canonical' };
  let tableMfn = Number((vcpu.cpu.get('cr3') & ADDRESS_MASK) >> 12n);
  for (const level of [4, 3, 2, 1] as const) {
    if (tableMfn >= hypervisor.frames.count) {
      return {
        address: va,
        levels,
        machineAddress: undefined,
        problem: `L${level.toString()} table mfn 0x${tableMfn.toString(16)} is beyond the machine's memory`,
      };
    }
    const index = Number((va >> shiftOf(level)) & 511n);
    const entry = hypervisor.memory.read64(tableMfn, index);
    const present = (entry & FLAG.P) !== 0n;
    const mfn = present ? Number((entry & ADDRESS_MASK) >> 12n) : undefined;
    levels.push({
      level,
      tableMfn,
      index,
      entry,
      flags: pteFlags(entry, level),
      mfn,
      pfn: mfn === undefined ? undefined : pfnOf(hypervisor, mfn),
      frame:
        mfn === undefined || mfn >= hypervisor.frames.count ? undefined : hypervisor.frames.describe(mfn),
    });
    if (mfn === undefined) {
      return {
        address: va,
        levels,
        machineAddress: undefined,
        problem: `L${level.toString()} entry ${index.toString()} is not present`,
      };
    }
    const large = level > 1 && level < 4 && (entry & FLAG.PS) !== 0n;
    if (level === 1 || large) {
      const within = va & ((1n << shiftOf(level)) - 1n);
      const base = entry & ADDRESS_MASK & ~((1n << shiftOf(level)) - 1n);
      return { address: va, levels, machineAddress: base | within };
    }
    tableMfn = mfn;
  }
  throw new Error('a walk has four levels');
}

/** The present entries of the table at `path` (indices from L4 down), equal runs folded. */
export function tableEntries(hypervisor: Hypervisor, vcpu: GuestVcpu, path: readonly number[]): TableEntry[] {
  const { frames, memory } = hypervisor;
  let tableMfn = Number((vcpu.cpu.get('cr3') & ADDRESS_MASK) >> 12n);
  let virtualBase = 0n;
  path.forEach((index, depth) => {
    const level = 4 - depth;
    const entry = memory.read64(tableMfn, index);
    if (level === 1 || (entry & FLAG.P) === 0n || (level < 4 && (entry & FLAG.PS) !== 0n)) {
      throw new RangeError(
        `L${level.toString()} entry ${index.toString()} (0x${entry.toString(16)}) leads to no table`,
      );
    }
    virtualBase |= BigInt(index) << shiftOf(level);
    tableMfn = Number((entry & ADDRESS_MASK) >> 12n);
  });
  const level = 4 - path.length;
  if (level < 1 || tableMfn >= frames.count) throw new RangeError('no such table');

  const pfn = pfnIndex(hypervisor);
  const rows: { row: Omit<TableEntry, 'run'>; run: number }[] = [];
  for (let index = 0; index < TABLE_ENTRIES; index++) {
    const entry = memory.read64(tableMfn, index);
    if ((entry & FLAG.P) === 0n) continue;
    const mfn = Number((entry & ADDRESS_MASK) >> 12n);
    const table = level > 1 && (level === 4 || (entry & FLAG.PS) === 0n);
    const row: Omit<TableEntry, 'run'> = {
      index,
      virtual: canonical(virtualBase | (BigInt(index) << shiftOf(level))),
      entry,
      flags: pteFlags(entry, level),
      mfn,
      pfn: pfn(mfn),
      owner: ownerName(frames.owner[mfn] ?? DOMID.INVALID),
      frame: mfn < frames.count ? frames.describe(mfn) : 'beyond memory',
      table,
    };
    const last = rows.at(-1);
    if (last !== undefined && folds(last.row, last.run, row)) last.run++;
    else rows.push({ row, run: 1 });
  }
  return rows.map(({ row, run }) => ({ ...row, run }));
}

/** Leaves with the same flags and owner whose pseudo-physical frames follow one another are shown as one. */
function folds(first: Omit<TableEntry, 'run'>, run: number, next: Omit<TableEntry, 'run'>): boolean {
  return (
    !first.table &&
    !next.table &&
    next.index === first.index + run &&
    next.flags.join() === first.flags.join() &&
    next.owner === first.owner &&
    (first.pfn === undefined ? next.mfn === first.mfn + run : next.pfn === first.pfn + run)
  );
}
