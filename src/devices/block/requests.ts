/**
 * What each request of the block protocol does. A request is checked to its end before it touches the disk or
 * the guest's memory; the fields are taken from a copy, so they cannot change in between.
 */
import type { ValueOf } from '../../abi/layout';
import type { BackendContext, GrantMapping } from '../../hypervisor/backend';
import {
  BLKIF_DISCARD_SECURE,
  BLKIF_OP,
  BLKIF_RSP,
  blkif_request,
  blkif_request_discard,
  blkif_request_indirect,
  blkif_request_segment,
  MAX_INDIRECT_SEGMENTS,
  MAX_SEGMENTS,
  SECTOR_SIZE,
  SECTORS_PER_PAGE,
  SEGMENTS_PER_INDIRECT_PAGE,
  type BlkifStatus,
  type blkif_response,
} from './blkif';
import type { GrantPool } from './grants';
import type { BlockStore } from './store';

export interface RequestTarget {
  readonly context: BackendContext;
  readonly store: BlockStore & { discard?(sector: number, count: number): void };
  readonly grants: GrantPool;
  /** Told why a request was not carried out: it cannot be. */
  refused(reason: string): void;
  /** Told why it was not, although it could be: the host failed. */
  failed(reason: string): void;
}

type Segment = ValueOf<typeof blkif_request_segment>;

/** Says why a request fails, and what the guest is told. */
class Refusal extends Error {
  constructor(
    readonly status: BlkifStatus,
    reason: string,
  ) {
    super(reason);
  }
}
const fail = (reason: string): Refusal => new Refusal(BLKIF_RSP.ERROR, reason);
const unsupported = (reason: string): Refusal => new Refusal(BLKIF_RSP.EOPNOTSUPP, reason);

interface Transfer {
  readonly operation: number;
  readonly sector_number: bigint;
  readonly segments: readonly Segment[];
}

/** A stretch of one guest page that takes part in a transfer. */
interface Piece {
  readonly mapping: GrantMapping;
  /** Bytes into the page. */
  readonly offset: number;
  readonly length: number;
}

/** @returns the first sector as a number that is safe to reckon with */
function within(store: BlockStore, sector: bigint, count: bigint): number {
  if (sector + count > BigInt(store.sectors))
    throw fail(`sectors ${sector} to ${sector + count} are beyond the disk's ${store.sectors}`);
  return Number(sector);
}

function acquire({ grants }: RequestTarget, ref: number, writable: boolean): GrantMapping {
  const mapping = grants.acquire(ref, writable);
  if (typeof mapping === 'string') throw fail(`grant ${ref}: ${mapping}`);
  return mapping;
}

function piecesOf(target: RequestTarget, segments: readonly Segment[], writable: boolean): Piece[] {
  for (const { first_sect, last_sect } of segments) {
    if (first_sect > last_sect || last_sect >= SECTORS_PER_PAGE)
      throw fail(`a segment of sectors ${first_sect} to ${last_sect} is none`);
  }
  return segments.map(({ gref, first_sect, last_sect }) => ({
    mapping: acquire(target, gref, writable),
    offset: first_sect * SECTOR_SIZE,
    length: (last_sect - first_sect + 1) * SECTOR_SIZE,
  }));
}

function frameBytes({ context }: RequestTarget, { mfn }: GrantMapping): Uint8Array {
  const frame = context.frame(mfn);
  if (frame === undefined) throw fail(`frame ${mfn} is gone`);
  return frame.bytes;
}

function prepare(
  target: RequestTarget,
  { segments, sector_number }: Transfer,
  writable: boolean,
): { pieces: Piece[]; sector: number; bytes: Uint8Array } {
  const sectors = segments.reduce((sum, s) => sum + Math.max(0, s.last_sect - s.first_sect + 1), 0);
  const sector = within(target.store, sector_number, BigInt(sectors));
  return {
    pieces: piecesOf(target, segments, writable),
    sector,
    bytes: new Uint8Array(sectors * SECTOR_SIZE),
  };
}

const needSegments = ({ segments }: Transfer): void => {
  if (segments.length === 0) throw fail('there is nothing to transfer');
};

function read(target: RequestTarget, transfer: Transfer): void {
  needSegments(transfer);
  const { pieces, sector, bytes } = prepare(target, transfer, true);
  target.store.read(sector, bytes);
  let at = 0;
  for (const { mapping, offset, length } of pieces) {
    target.context.write(mapping.mfn, offset, bytes.subarray(at, at + length));
    at += length;
  }
}

function write(target: RequestTarget, transfer: Transfer): void {
  if (target.store.readOnly) throw fail('the disk is read-only');
  const { pieces, sector, bytes } = prepare(target, transfer, false);
  let at = 0;
  for (const { mapping, offset, length } of pieces) {
    bytes.set(frameBytes(target, mapping).subarray(offset, offset + length), at);
    at += length;
  }
  target.store.write(sector, bytes);
}

/** What can be asked with segments, directly or through pages of them. */
const transfers: Readonly<Record<number, (target: RequestTarget, transfer: Transfer) => void>> = {
  [BLKIF_OP.READ]: read,
  [BLKIF_OP.WRITE]: (target, transfer) => {
    needSegments(transfer);
    write(target, transfer);
  },
  // All before it is on the disk before it is, and it is when the answer comes.
  [BLKIF_OP.WRITE_BARRIER]: (target, transfer) => {
    target.store.flush();
    if (transfer.segments.length > 0) write(target, transfer);
    target.store.flush();
  },
  [BLKIF_OP.FLUSH_DISKCACHE]: (target, transfer) => {
    target.store.flush();
    if (transfer.segments.length > 0) write(target, transfer);
  },
};
/** blkif.h: an indirect request reads or writes. */
const indirectly: readonly number[] = [BLKIF_OP.READ, BLKIF_OP.WRITE];

function transfer(target: RequestTarget, what: Transfer): void {
  const run = transfers[what.operation];
  if (run === undefined) throw unsupported(`there is no operation ${what.operation}`);
  run(target, what);
}

const viewOf = (slot: Uint8Array): DataView => new DataView(slot.buffer, slot.byteOffset, slot.byteLength);

function direct(target: RequestTarget, slot: Uint8Array): void {
  const { operation, nr_segments, sector_number, seg } = blkif_request.read(viewOf(slot), 0);
  if (nr_segments > MAX_SEGMENTS) throw fail(`${nr_segments} segments; ${MAX_SEGMENTS} go into a request`);
  transfer(target, { operation, sector_number, segments: seg.slice(0, nr_segments) });
}

function indirect(target: RequestTarget, slot: Uint8Array): void {
  const request = blkif_request_indirect.read(viewOf(slot), 0);
  const { indirect_op, nr_segments, sector_number, indirect_grefs } = request;
  if (!indirectly.includes(indirect_op)) throw fail(`operation ${indirect_op} cannot be indirect`);
  if (nr_segments === 0 || nr_segments > MAX_INDIRECT_SEGMENTS)
    throw fail(`${nr_segments} indirect segments; 1 to ${MAX_INDIRECT_SEGMENTS} are allowed`);
  const segments: Segment[] = [];
  for (const ref of indirect_grefs.slice(0, Math.ceil(nr_segments / SEGMENTS_PER_INDIRECT_PAGE))) {
    const page = viewOf(frameBytes(target, acquire(target, ref, false)));
    for (let i = 0; i < SEGMENTS_PER_INDIRECT_PAGE && segments.length < nr_segments; i++)
      segments.push(blkif_request_segment.read(page, i * blkif_request_segment.size));
  }
  transfer(target, { operation: indirect_op, sector_number, segments });
}

function discard({ store }: RequestTarget, slot: Uint8Array): void {
  const { flag, sector_number, nr_sectors } = blkif_request_discard.read(viewOf(slot), 0);
  if (store.readOnly) throw fail('the disk is read-only');
  if (store.discard === undefined) throw unsupported('the disk does not discard');
  if ((flag & BLKIF_DISCARD_SECURE) !== 0) throw unsupported('discarding is not made secure here');
  const sector = within(store, sector_number, nr_sectors);
  store.discard(sector, Number(nr_sectors));
}

const operations: Readonly<Record<number, (target: RequestTarget, slot: Uint8Array) => void>> = {
  [BLKIF_OP.DISCARD]: discard,
  [BLKIF_OP.INDIRECT]: indirect,
};

/** Carries out the request in `slot` and tells what to answer. Whatever it says, it does not throw. */
export function execute(target: RequestTarget, slot: Uint8Array): ValueOf<typeof blkif_response> {
  const { operation, id } = blkif_request.read(viewOf(slot), 0);
  const { indirect_op } = blkif_request_indirect.read(viewOf(slot), 0);
  let status: BlkifStatus = BLKIF_RSP.OKAY;
  try {
    (operations[operation] ?? direct)(target, slot);
  } catch (error) {
    const reason = `operation ${operation}: ${error instanceof Error ? error.message : String(error)}`;
    if (error instanceof Refusal) {
      status = error.status;
      target.refused(reason);
    } else {
      // A file that cannot be read, a device or memory that is full.
      status = BLKIF_RSP.ERROR;
      target.failed(reason);
    }
  } finally {
    target.grants.settle();
  }
  // Linux's front end takes the answer to an indirect request only under the operation that was meant.
  return { id, operation: operation === BLKIF_OP.INDIRECT ? indirect_op : operation, status };
}
