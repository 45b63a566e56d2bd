/**
 * The block protocol (io/blkif.h, io/ring.h) as a 64-bit guest lays it out, `x86_64-abi`: numbers, and
 * the requests and responses that take turns in a ring's slots.
 */
import { array, enumOf, flagsOf, gref, struct, u16, u64, u8, i16 } from '../../abi/layout';

/** BLKIF_OP_*; 4 is reserved for back ends of other systems, 6 was never given a meaning here. */
export const BLKIF_OP = {
  READ: 0,
  WRITE: 1,
  WRITE_BARRIER: 2,
  FLUSH_DISKCACHE: 3,
  DISCARD: 5,
  INDIRECT: 6,
} as const;

export const BLKIF_RSP = { OKAY: 0, ERROR: -1, EOPNOTSUPP: -2 } as const;
export type BlkifStatus = (typeof BLKIF_RSP)[keyof typeof BLKIF_RSP];

/** The `info` node. */
export const VDISK = { CDROM: 1, REMOVABLE: 2, READONLY: 4 } as const;

/** Unit of sector numbers and of a segment's first and last sector, whatever `sector-size` says. */
export const SECTOR_SIZE = 512;
export const SECTORS_PER_PAGE = 8;

export const MAX_SEGMENTS = 11;
/** BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST */
const MAX_INDIRECT_PAGES = 8;
export const SEGMENTS_PER_INDIRECT_PAGE = 512;
/** What we offer in `feature-max-indirect-segments`, as Linux's back end does. */
export const MAX_INDIRECT_SEGMENTS = 256;
/** What we offer in `max-ring-page-order`, as Linux's back end does: 16 pages. */
export const MAX_RING_PAGE_ORDER = 4;

export const BLKIF_DISCARD_SECURE = 1;

const operation = enumOf(u8, BLKIF_OP, 'blkif_op');

export const blkif_request_segment = struct('blkif_request_segment', {
  gref,
  first_sect: u8,
  last_sect: u8,
});

export const blkif_request = struct('blkif_request', {
  operation,
  nr_segments: u8,
  handle: u16,
  id: u64,
  sector_number: u64,
  seg: array(blkif_request_segment, MAX_SEGMENTS),
});

export const blkif_request_discard = struct('blkif_request_discard', {
  operation,
  flag: flagsOf(u8, { BLKIF_DISCARD_SECURE }),
  handle: u16,
  id: u64,
  sector_number: u64,
  nr_sectors: u64,
});

export const blkif_request_indirect = struct('blkif_request_indirect', {
  operation,
  indirect_op: operation,
  nr_segments: u16,
  id: u64,
  sector_number: u64,
  handle: u16,
  indirect_grefs: array(gref, MAX_INDIRECT_PAGES),
});

export const blkif_response = struct('blkif_response', { id: u64, operation, status: i16 });

/** A slot holds either a request or a response. */
export const SLOT_SIZE = Math.max(blkif_request.size, blkif_response.size);
