/**
 * The back end's end of a ring of requests (io/ring.h), which may lie in several pages that are contiguous for
 * the guest and anywhere for us. Slots may straddle them. The guest can forge every byte at any moment: indices
 * are read once, our own are never read back.
 */
import type { DecodedValue } from '../abi/decoded';
import { bytes, struct, u32, type Type } from '../abi/layout';
import type { BackendContext, GrantMapping } from '../hypervisor/backend';

/** The header of every shared ring (io/ring.h DEFINE_RING_TYPES); the slots follow. */
export const sring = struct('sring', {
  req_prod: u32,
  req_event: u32,
  rsp_prod: u32,
  rsp_event: u32,
  _pad: bytes(48),
});

const { offset } = sring;
const PAGE = 4096;

/** Slots of a ring: the largest power of two that fits (io/ring.h __RING_SIZE). */
export const ringSlots = (pages: number, slotSize: number): number =>
  2 ** Math.floor(Math.log2((pages * PAGE - sring.size) / slotSize));

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
  /** How many requests there are to be taken, or 'overflow' as in {@link next}. */
  waiting(): number | 'overflow';
  /** Asks to be notified of the next request. @returns whether there is one already (RING_FINAL_CHECK_FOR_REQUESTS) */
  arm(): boolean;
  /** Puts a response where the oldest unanswered request was. */
  respond(response: Uint8Array): void;
  /** Makes the responses visible. @returns whether the guest wants to hear of it */
  publish(): boolean;
  indices(): RingIndices;
  /** @param decode makes a request's slot readable */
  view(decode: SlotDecoder): RingView;
}

/** A ring for people. */
export interface RingView {
  readonly slots: number;
  /** The four indices as they stand in the shared page. */
  readonly reqProd: number;
  readonly reqEvent: number;
  readonly rspProd: number;
  readonly rspEvent: number;
  /** Requests that we have taken, and responses that we have given. */
  readonly taken: number;
  readonly given: number;
  /** Slots that hold a request without an answer, oldest first; those from `taken` on are not yet ours. */
  readonly inFlight: readonly { readonly index: number; readonly request: DecodedValue }[];
}

export type SlotDecoder = (name: string, slot: DataView) => DecodedValue;

/** For rings whose requests all look alike. */
export const decoderOf =
  <T>(type: Type<T>): SlotDecoder =>
  (name, slot) =>
    type.decode(name, type.read(slot, 0), {});

export function requestRing(
  context: BackendContext,
  pages: readonly GrantMapping[],
  slotSize: number,
  start: RingIndices = { taken: 0, given: 0 },
): RequestRing {
  const slots = ringSlots(pages.length, slotSize);
  let { taken, given } = start;
  let answered = given;

  const slotAt = (index: number): number => sring.size + (index % slots) * slotSize;

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

  function slotBytes(index: number): Uint8Array {
    const copy = new Uint8Array(slotSize);
    each(slotAt(index), slotSize, ({ mfn }, within, from, size) => {
      const frame = context.frame(mfn);
      if (frame !== undefined) copy.set(frame.bytes.subarray(within, within + size), from);
    });
    return copy;
  }

  function waiting(): number | 'overflow' {
    const count = (header(offset.req_prod) - taken) >>> 0;
    // Slots whose responses the guest has not been given are still in use (RING_REQUEST_PROD_OVERFLOW).
    return count > slots - ((taken - answered) >>> 0) ? 'overflow' : count;
  }

  return {
    waiting,
    next() {
      const count = waiting();
      if (count === 'overflow') return count;
      if (count === 0) return undefined;
      const slot = slotBytes(taken);
      taken = (taken + 1) >>> 0;
      return slot;
    },
    arm() {
      setHeader(offset.req_event, (header(offset.req_prod) + 1) >>> 0);
      return waiting() !== 0;
    },
    respond(response) {
      each(slotAt(answered), response.length, ({ mfn }, within, from, size) => {
        context.write(mfn, within, response.subarray(from, from + size));
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
    view(decode) {
      const reqProd = header(offset.req_prod);
      const count = Math.min((reqProd - answered) >>> 0, slots);
      return {
        slots,
        reqProd,
        reqEvent: header(offset.req_event),
        rspProd: header(offset.rsp_prod),
        rspEvent: header(offset.rsp_event),
        taken,
        given,
        inFlight: Array.from({ length: count }, (_, i) => {
          const index = (answered + i) >>> 0;
          const name = `[${index % slots}]`;
          return { index, request: decode(name, new DataView(slotBytes(index).buffer)) };
        }),
      };
    },
  };
}
