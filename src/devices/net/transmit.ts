/**
 * What a guest sends: requests of the transmit ring put together to frames, each slot answered. Where a front end does
 * what no front end does, the connection is over; a packet that merely cannot be sent is answered with an error.
 * Which is which is as Linux's back end has it.
 */
import type { ValueOf } from '../../abi/layout';
import { grantRef, type DomainId } from '../../base/branded';
import type { BackendContext } from '../../hypervisor/backend';
import type { RequestRing } from '../ring';
import { ETHERNET_HEADER, macAt, viewOf, type Frame } from './frame';
import {
  EXTRA_FLAG_MORE,
  EXTRA_TYPE,
  GSO_TYPE,
  netif_extra_gso,
  netif_extra_mcast,
  NETIF_RSP,
  netif_tx_request,
  netif_tx_response,
  NETTXF,
  SLOTS_MIN,
} from './netif';

export interface Transmitter {
  readonly context: BackendContext;
  readonly domain: DomainId;
  readonly ring: RequestRing;
  send(frame: Frame): void;
  /** A multicast address is to be let through, or no longer. @returns whether there was room for it */
  multicast(mac: string, add: boolean): boolean;
  /** Told why a packet was not sent. */
  dropped(reason: string): void;
}

/** The front end cannot be believed any more; says why. */
export class Fatal extends Error {}

type Request = ValueOf<typeof netif_tx_request>;
interface Extras {
  readonly slots: number;
  readonly byType: ReadonlyMap<number, Uint8Array>;
}

const PAGE = 4096;
/** Beyond this, slots of one packet are no mistake any more (Linux's `fatal_skb_slots`). */
const FATAL_SLOTS = 20;

function nextSlot({ ring }: Transmitter, missing: string): Uint8Array {
  const slot = ring.next();
  if (slot === 'overflow') throw new Fatal('the transmit ring claims more requests than it holds');
  if (slot === undefined) throw new Fatal(missing);
  return slot;
}

function takeExtras(from: Transmitter, { flags }: Request): Extras {
  const byType = new Map<number, Uint8Array>();
  let slots = 0;
  let more = (flags & NETTXF.extra_info) !== 0;
  while (more) {
    const slot = nextSlot(from, 'the extra information that a packet announces is missing');
    const { type, flags: extraFlags } = netif_extra_gso.read(viewOf(slot), 0);
    if (type === 0 || type > EXTRA_TYPE.HASH) throw new Fatal(`extra information of type ${type}`);
    slots++;
    byType.set(type, slot);
    more = (extraFlags & EXTRA_FLAG_MORE) !== 0;
  }
  return { slots, byType };
}

/** The requests of one packet, the first's size made its own. `problem`: why they make none. */
function takeParts(from: Transmitter, first: Request): { parts: Request[]; problem: string | undefined } {
  const parts: Request[] = [];
  let problem: string | undefined;
  let own = first.size;
  let more = (first.flags & NETTXF.more_data) !== 0;
  while (more) {
    if (parts.length >= FATAL_SLOTS) throw new Fatal(`a packet of more than ${FATAL_SLOTS} slots`);
    const part = netif_tx_request.read(viewOf(nextSlot(from, 'a packet whose slots end before it does')), 0);
    if (parts.length >= SLOTS_MIN) problem ??= `a packet of more than ${SLOTS_MIN + 1} slots`;
    if (part.size > own) problem ??= `a slot of ${part.size} bytes, when ${own} remain of the packet`;
    else own -= part.size;
    if (part.offset + part.size > PAGE)
      throw new Fatal(`a slot of ${part.size} bytes at ${part.offset} crosses its page`);
    parts.push(part);
    more = (part.flags & NETTXF.more_data) !== 0;
  }
  return { parts: [{ ...first, size: own }, ...parts], problem };
}

function gsoOf({ byType }: Extras): number | undefined {
  const slot = byType.get(EXTRA_TYPE.GSO);
  if (slot === undefined) return undefined;
  const { size, gso_type } = netif_extra_gso.read(viewOf(slot), 0);
  if (size === 0) throw new Fatal('segments of no bytes');
  if (gso_type !== GSO_TYPE.TCPV4 && gso_type !== GSO_TYPE.TCPV6)
    throw new Fatal(`segmentation of type ${gso_type}`);
  return size;
}

/** @returns the packet's bytes, or why they cannot be had */
function gather({ context, domain }: Transmitter, parts: readonly Request[]): Uint8Array | string {
  const bytes = new Uint8Array(parts.reduce((sum, { size }) => sum + size, 0));
  let at = 0;
  for (const { gref, offset, size } of parts) {
    const granted = context.mapGrant(domain, grantRef(gref), false);
    if (!granted.ok) return `grant ${gref}: ${granted.reason}`;
    const frame = context.frame(granted.mapping.mfn);
    if (frame !== undefined) bytes.set(frame.bytes.subarray(offset, offset + size), at);
    context.unmapGrant(granted.mapping);
    at += size;
  }
  return bytes;
}

function respond({ ring }: Transmitter, id: number, status: number): void {
  const bytes = new Uint8Array(netif_tx_response.size);
  netif_tx_response.write(viewOf(bytes), 0, { id, status });
  ring.respond(bytes);
}

/** Answers the slots of a packet in their order: its first request, the extra information, the others. */
function answer(from: Transmitter, parts: readonly Request[], extras: Extras, status: number): void {
  parts.forEach(({ id }, i) => {
    respond(from, id, status);
    if (i === 0) for (let n = 0; n < extras.slots; n++) respond(from, 0, NETIF_RSP.NULL);
  });
}

/** @returns the answer's status */
function takePacket(from: Transmitter, parts: readonly Request[], gso: number | undefined): number {
  const [first] = parts;
  const bytes = gather(from, parts);
  if (first === undefined || typeof bytes === 'string') {
    from.dropped(String(bytes));
    return NETIF_RSP.ERROR;
  }
  const { flags } = first;
  const checksum =
    gso !== undefined || (flags & NETTXF.csum_blank) !== 0
      ? 'blank'
      : (flags & NETTXF.data_validated) !== 0
        ? 'valid'
        : 'unknown';
  from.send({ bytes, checksum, ...(gso === undefined ? {} : { gso }) });
  return NETIF_RSP.OKAY;
}

function changeList(from: Transmitter, { byType }: Extras): number | undefined {
  for (const type of [EXTRA_TYPE.MCAST_ADD, EXTRA_TYPE.MCAST_DEL]) {
    const slot = byType.get(type);
    if (slot === undefined) continue;
    const mac = macAt(slot, netif_extra_mcast.offset.addr);
    return from.multicast(mac, type === EXTRA_TYPE.MCAST_ADD) ? NETIF_RSP.OKAY : NETIF_RSP.ERROR;
  }
  return undefined;
}

/** One packet, or one change of the multicast list. */
function takeOne(from: Transmitter, slot: Uint8Array): void {
  const first = netif_tx_request.read(viewOf(slot), 0);
  const extras = takeExtras(from, first);
  const changed = changeList(from, extras);
  if (changed !== undefined) {
    answer(from, [first], extras, changed);
    return;
  }
  const { parts, problem } = takeParts(from, first);
  const [own] = parts;
  const short = first.size < ETHERNET_HEADER ? `a packet of ${first.size} bytes` : undefined;
  const why = problem ?? short;
  if (why !== undefined) {
    from.dropped(why);
    answer(from, parts, extras, NETIF_RSP.ERROR);
    return;
  }
  if (own !== undefined && own.offset + own.size > PAGE)
    throw new Fatal(`a slot of ${own.size} bytes at ${own.offset} crosses its page`);
  answer(from, parts, extras, takePacket(from, parts, gsoOf(extras)));
}

/**
 * Takes everything that is in the transmit ring. @returns whether the guest wants to hear of it
 * @throws Fatal
 */
export function transmitAll(from: Transmitter): boolean {
  const { ring } = from;
  let notify = false;
  do {
    for (let slot = ring.next(); slot !== undefined; slot = ring.next()) {
      if (slot === 'overflow') throw new Fatal('the transmit ring claims more requests than it holds');
      takeOne(from, slot);
    }
    notify = ring.publish() || notify;
  } while (ring.arm());
  return notify;
}
