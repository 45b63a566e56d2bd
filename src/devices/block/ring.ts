/**
 * The back end's end of a ring of requests (io/ring.h), which may lie in several pages that are contiguous for
 * the guest and anywhere for us. Slots may straddle them. The guest can forge every byte at any moment: indices
 * are read once, our own are never read back.
 */
import type { BackendContext, GrantMapping } from '../../hypervisor/backend';
import { blkif_response, ringSlots, SLOT_SIZE, sring } from './blkif';
import type { ValueOf } from '../../abi/layout';

const { offset } = sring;
const PAGE = 4096;

export interface RingIndices {
  /** Requests taken. */
  readonly taken: number;
  /** Responses given: RSP_PROD as we last published it. */
  readonly given: number;
}

export interface RequestRing {
  /**
   * The next request's bytes, a copy. Undefined: there is none. 'overflow': the guest claims more requests than
   * the ring holds, so that nothing in it means anything.
   */
  next(): Uint8Array | 'overflow' | undefined;
  /** Asks to be notified of the next request. @returns whether one came meanwhile (RING_FINAL_CHECK_FOR_REQUESTS) */
  arm(): boolean;
  respond(value: ValueOf<typeof blkif_response>): void;
  /** Makes the responses visible. @returns whether the guest wants to hear of it */
  publish(): boolean;
  indices(): RingIndices;
}

export function requestRing(
  context: BackendContext,
  pages: readonly GrantMapping[],
  start: RingIndices = { taken: 0, given: 0 },
): RequestRing {
  const slots = ringSlots(pages.length);
  let { taken, given } = start;
  let answered = given;

  const slotAt = (index: number): number => sring.size + (index % slots) * SLOT_SIZE;

  function header(field: number): number {
    const first = pages[0];
    return (first && context.frame(first.mfn)?.view.getUint32(field, true)) ?? 0;
  }
  function setHeader(field: number, value: number): void {
    const first = pages[0];
    if (first !== undefined) context.writeU32(first.mfn, field, value);
  }

  /** Calls `part` for the piece of [at, at + length) in each page that it touches. */
  function each(
    at: number,
    length: number,
    part: (page: GrantMapping, offset: number, from: number, size: number) => void,
  ): void {
    for (let done = 0; done < length;) {
      const within = (at + done) % PAGE;
      const size = Math.min(length - done, PAGE - within);
      const page = pages[Math.floor((at + done) / PAGE)];
      if (page !== undefined) part(page, within, done, size);
      done += size;
    }
  }

  return {
    next() {
      const waiting = (header(offset.req_prod) - taken) >>> 0;
      if (waiting === 0) return undefined;
      // Slots whose responses the guest has not been given are still in use (RING_REQUEST_PROD_OVERFLOW).
      if (waiting > slots - ((taken - answered) >>> 0)) return 'overflow';
      const bytes = new Uint8Array(SLOT_SIZE);
      each(slotAt(taken), SLOT_SIZE, ({ mfn }, within, from, size) => {
        const frame = context.frame(mfn);
        if (frame !== undefined) bytes.set(frame.bytes.subarray(within, within + size), from);
      });
      taken = (taken + 1) >>> 0;
      return bytes;
    },
    arm() {
      setHeader(offset.req_event, (taken + 1) >>> 0);
      return header(offset.req_prod) !== taken;
    },
    respond(value) {
      const bytes = new Uint8Array(blkif_response.size);
      blkif_response.write(new DataView(bytes.buffer), 0, value);
      each(slotAt(answered), bytes.length, ({ mfn }, within, from, size) => {
        context.write(mfn, within, bytes.subarray(from, from + size));
      });
      answered = (answered + 1) >>> 0;
    },
    publish() {
      const before = given;
      given = answered;
      setHeader(offset.rsp_prod, given);
      const event = header(offset.rsp_event);
      return (given - event) >>> 0 < (given - before) >>> 0;
    },
    indices: () => ({ taken, given }),
  };
}
