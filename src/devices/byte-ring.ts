import { grantRef, type DomainId, type Mfn } from '../base/branded';
import type { BackendContext } from '../hypervisor/backend';

/**
 * A ring of bytes in a page shared with a guest, between two free-running 32-bit indices (xenstore-ring.txt;
 * io/console.h has the same). Both indices and all the bytes are the guest's to forge at any moment: each is
 * read once, and a pair of indices that cannot be is reported, never used.
 */
export interface ByteRing {
  /** Offset of the data in the page, and its length: a power of two. */
  readonly data: number;
  readonly size: number;
  /** Offsets of the consumer's and the producer's index. */
  readonly cons: number;
  readonly prod: number;
}

/** Where in guest memory a ring lies. */
export interface RingPage {
  readonly context: BackendContext;
  readonly frame: Mfn;
}

/**
 * Maps a ring that the domain builder granted under a reserved number (grant_table.h GNTTAB_RESERVED_*), as
 * xenconsoled and xenstored do. As long as it is mapped, the guest can neither give the frame to somebody else
 * nor make a page table of it. Throws when there is no such grant: then the builder did not do its part.
 */
export function mapRing(context: BackendContext, domain: DomainId, reserved: number): RingPage {
  const granted = context.mapGrant(domain, grantRef(reserved), true);
  if (!granted.ok) throw new Error(`domain ${domain} has no usable ring: ${granted.reason}`);
  return { context, frame: granted.mapping.mfn };
}

/** Gives such a ring back. */
export function unmapRing({ context, frame }: RingPage, domain: DomainId, reserved: number): void {
  context.unmapGrant({ domain, ref: grantRef(reserved), mfn: frame, writable: true });
}

/** Why nothing could be moved: the frame is gone, or the indices are more than the ring's size apart. */
export type RingFault = 'frame' | 'indices';

interface Indices {
  readonly bytes: Uint8Array;
  readonly cons: number;
  readonly prod: number;
  readonly used: number;
}

function indices({ context, frame }: RingPage, ring: ByteRing): Indices | RingFault {
  const page = context.frame(frame);
  if (page === undefined) return 'frame';
  const cons = page.view.getUint32(ring.cons, true);
  const prod = page.view.getUint32(ring.prod, true);
  const used = (prod - cons) >>> 0;
  return used > ring.size ? 'indices' : { bytes: page.bytes, cons, prod, used };
}

const isFault = (value: unknown): value is RingFault => typeof value === 'string';

/** Bytes produced and not yet consumed. */
export function ringUsed(page: RingPage, ring: ByteRing): number | RingFault {
  const at = indices(page, ring);
  return isFault(at) ? at : at.used;
}

/** As the consumer: takes at most `most` bytes. The copy is made before the index says that there is room. */
export function ringTake(page: RingPage, ring: ByteRing, most: number): Uint8Array | RingFault {
  const at = indices(page, ring);
  if (isFault(at)) return at;
  const length = Math.min(at.used, most);
  const taken = new Uint8Array(length);
  const start = at.cons % ring.size;
  const first = Math.min(length, ring.size - start);
  taken.set(at.bytes.subarray(ring.data + start, ring.data + start + first));
  taken.set(at.bytes.subarray(ring.data, ring.data + length - first), first);
  if (length > 0) page.context.writeU32(page.frame, ring.cons, (at.cons + length) >>> 0);
  return taken;
}

/** As the producer: puts what there is room for. @returns how many bytes that was */
export function ringPut(page: RingPage, ring: ByteRing, bytes: Uint8Array): number | RingFault {
  const at = indices(page, ring);
  if (isFault(at)) return at;
  const length = Math.min(ring.size - at.used, bytes.length);
  if (length === 0) return 0;
  const start = at.prod % ring.size;
  const first = Math.min(length, ring.size - start);
  page.context.write(page.frame, ring.data + start, bytes.subarray(0, first));
  if (length > first) page.context.write(page.frame, ring.data, bytes.subarray(first, length));
  page.context.writeU32(page.frame, ring.prod, (at.prod + length) >>> 0);
  return length;
}
