/**
 * Where everything goes in a new domain (xen.h "Start-of-day memory layout"; libxenguest's xc_dom_build_image):
 * kernel, ramdisk, [P2M], start_info, xenstore ring, console ring, page tables, boot stack, in one region that is
 * mapped from virtBase on, with at least 512 KB to spare and its end on a 4 MB boundary. A ramdisk or a P2M with a
 * place of its own follows behind, unmapped or mapped elsewhere.
 */
import { hex } from '../../abi/decoded';
import { PAGE_SIZE } from '../../base/branded';
import { BuildError, type DomainBuild, type KernelInput } from './input';

const PAGE = BigInt(PAGE_SIZE);
const FOUR_MB = 1n << 22n;
/** 512 KB of padding. */
const PADDING = 128;
/** Levels' reach: an L1 maps 2 MB, an L2 1 GB, an L3 512 GB. */
const REACH = { 1: 21n, 2: 30n, 3: 39n } as const;

export interface Region {
  readonly pfn: number;
  readonly pages: number;
}

export interface Layout {
  /** Frames of the domain. */
  readonly pages: number;
  readonly virtBase: bigint;
  /** End of the mapped region. */
  readonly virtEnd: bigint;
  readonly ramdisk: Region | undefined;
  readonly ramdiskMapped: boolean;
  readonly p2m: Region;
  readonly p2mAddress: bigint;
  /** Tables for a P2M with a place of its own stand before it; 0 otherwise. */
  readonly p2mTables: number;
  readonly startInfo: number;
  readonly store: number;
  readonly console: number;
  /** L4 first. */
  readonly tables: Region;
  readonly stack: number;
}

/** Which tables of `level` the addresses from `from` to before `to` need, by number. */
export function tablesFor(level: 1 | 2 | 3, from: bigint, to: bigint): bigint[] {
  const numbers: bigint[] = [];
  for (let n = from >> REACH[level]; n <= (to - 1n) >> REACH[level]; n++) numbers.push(n);
  return numbers;
}

const countTables = (from: bigint, to: bigint): number =>
  1 + ([3, 2, 1] as const).reduce((sum, level) => sum + tablesFor(level, from, to).length, 0);

const pagesOf = (bytes: number): number => Math.ceil(bytes / PAGE_SIZE);

export function planDomain(build: DomainBuild, kernel: KernelInput): Layout {
  const pages = Math.floor(build.memory / PAGE_SIZE);
  const { virtBase, virtKend } = kernel.layout;
  if (!Number.isSafeInteger(build.memory) || pages < 1) {
    throw new BuildError(
      `memory of ${build.memory} bytes: a domain needs at least one frame of ${PAGE_SIZE}`,
    );
  }
  if (virtKend < virtBase || (virtBase & (PAGE - 1n)) !== 0n) {
    throw new BuildError(
      `kernel '${kernel.name}' ends at ${hex(virtKend)}, below its base ${hex(virtBase)} or that is unaligned`,
    );
  }
  let next = Number((virtKend - virtBase + PAGE - 1n) / PAGE);
  const take = (count: number): number => {
    const pfn = next;
    next += count;
    return pfn;
  };
  const address = (pfn: number): bigint => virtBase + BigInt(pfn) * PAGE;
  const enough = (what: string): void => {
    if (next > pages) {
      throw new BuildError(
        `${what} does not fit: ${next} frames (${Math.ceil(next / 256)} MiB) are needed up to there, the domain has ${pages} (${Math.floor(pages / 256)} MiB)`,
      );
    }
  };
  enough(`kernel '${kernel.name}'`);

  const ramdiskPages = build.ramdisk === undefined ? 0 : pagesOf(build.ramdisk.length);
  const ramdiskMapped = kernel.notes.mod_start_pfn === undefined || !kernel.notes.mod_start_pfn;
  let ramdisk: Region | undefined;
  if (ramdiskPages > 0 && ramdiskMapped) {
    ramdisk = { pfn: take(ramdiskPages), pages: ramdiskPages };
    enough('the ramdisk');
  }

  const p2mPages = pagesOf(pages * 8);
  const { p2mBase } = kernel.layout;
  // A place of its own must lie below the kernel and on a page; otherwise the note is passed over.
  const apart = p2mBase !== undefined && p2mBase < virtBase && (p2mBase & (PAGE - 1n)) === 0n;
  let p2m: Region = { pfn: 0, pages: p2mPages };
  if (!apart) p2m = { pfn: take(p2mPages), pages: p2mPages };
  const startInfo = take(1);
  const store = take(1);
  const console = take(1);
  enough('what the kernel is told at its start (P2M, start_info, rings)');

  // The tables map themselves, too: their number and the end of the region follow from each other.
  const firstTable = next;
  let tables = 0;
  let virtEnd = 0n;
  for (let wanted = 1; tables !== wanted;) {
    tables = wanted;
    const end = address(firstTable + tables + 1 + PADDING);
    virtEnd = ((end + FOUR_MB - 1n) / FOUR_MB) * FOUR_MB;
    wanted = countTables(virtBase, virtEnd);
  }
  take(tables);
  const stack = take(1);
  enough('the initial page tables');

  if (ramdiskPages > 0 && !ramdiskMapped) ramdisk = { pfn: take(ramdiskPages), pages: ramdiskPages };
  enough('the ramdisk');
  let p2mTables = 0;
  if (apart) {
    const end = p2mBase + BigInt(p2mPages) * PAGE;
    for (const level of [3, 2, 1] as const) {
      const have = new Set(tablesFor(level, virtBase, virtEnd));
      p2mTables += tablesFor(level, p2mBase, end).filter((n) => !have.has(n)).length;
    }
    take(p2mTables);
    p2m = { pfn: take(p2mPages), pages: p2mPages };
    enough('the P2M');
  }
  return {
    pages,
    virtBase,
    virtEnd,
    ramdisk,
    ramdiskMapped,
    p2m,
    p2mAddress: apart ? p2mBase : address(p2m.pfn),
    p2mTables,
    startInfo,
    store,
    console,
    tables: { pfn: firstTable, pages: tables },
    stack,
  };
}
