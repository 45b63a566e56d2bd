/** What a guest receives: frames put into the pages that it offers in its receive ring. */
import { grantRef, type DomainId } from '../../base/branded';
import type { BackendContext } from '../../hypervisor/backend';
import type { RequestRing } from '../ring';
import { packetIn, viewOf, type Frame } from './frame';
import {
  EXTRA_TYPE,
  GSO_TYPE,
  netif_extra_gso,
  NETIF_RSP,
  netif_rx_request,
  netif_rx_response,
  NETRXF,
} from './netif';
import { Fatal } from './transmit';

export interface Receiver {
  readonly context: BackendContext;
  readonly domain: DomainId;
  readonly ring: RequestRing;
  /** Told why a part of a packet did not reach the guest. */
  readonly dropped: (reason: string) => void;
  readonly given: (frame: Frame) => void;
}

const PAGE = 4096;
const FLAGS: Readonly<Record<Frame['checksum'], number>> = {
  blank: NETRXF.csum_blank | NETRXF.data_validated,
  valid: NETRXF.data_validated,
  unknown: 0,
};

export const slotsFor = ({ bytes, gso }: Frame): number =>
  Math.ceil(bytes.length / PAGE) + (gso === undefined ? 0 : 1);

function nextRequest({ ring }: Receiver): { id: number; gref: number } {
  const slot = ring.next();
  // The number of requests was looked at before; what is not there any more was taken back.
  if (slot === undefined || slot === 'overflow') throw new Fatal('the receive ring loses its requests');
  return netif_rx_request.read(viewOf(slot), 0);
}

/** Writes `bytes` to the page granted. @returns the response's status */
function fill({ context, domain, dropped }: Receiver, gref: number, bytes: Uint8Array): number {
  const granted = context.mapGrant(domain, grantRef(gref), true);
  if (!granted.ok) {
    dropped(`grant ${gref}: ${granted.reason}`);
    return NETIF_RSP.ERROR;
  }
  context.write(granted.mapping.mfn, 0, bytes);
  context.unmapGrant(granted.mapping);
  return bytes.length;
}

function give(to: Receiver, frame: Frame): void {
  const { bytes, gso, checksum } = frame;
  for (let at = 0; at < bytes.length; at += PAGE) {
    const { id, gref } = nextRequest(to);
    const part = bytes.subarray(at, at + PAGE);
    const more = at + PAGE < bytes.length ? NETRXF.more_data : 0;
    const extra = at === 0 && gso !== undefined ? NETRXF.extra_info : 0;
    const response = new Uint8Array(netif_rx_response.size);
    netif_rx_response.write(viewOf(response), 0, {
      id,
      offset: 0,
      flags: (at === 0 ? FLAGS[checksum] : 0) | more | extra,
      status: fill(to, gref, part),
    });
    to.ring.respond(response);
    if (extra !== 0) giveExtra(to, frame);
  }
}

/** Extra information lies in the slot of a request of its own, whose page the guest takes back unused. */
function giveExtra(to: Receiver, { bytes, gso = 0 }: Frame): void {
  nextRequest(to);
  const slot = new Uint8Array(netif_extra_gso.size);
  const v6 = packetIn(bytes)?.version === 6;
  netif_extra_gso.write(viewOf(slot), 0, {
    type: EXTRA_TYPE.GSO,
    flags: 0,
    size: gso,
    gso_type: v6 ? GSO_TYPE.TCPV6 : GSO_TYPE.TCPV4,
    _pad: 0,
    features: 0,
  });
  to.ring.respond(slot);
}

/**
 * Gives the frames at the head of `queue` for which there are pages. @returns whether the guest wants to hear of it
 * @throws Fatal
 */
export function receiveAll(to: Receiver, queue: Frame[]): boolean {
  const { ring } = to;
  for (let armed = false; ;) {
    const [frame] = queue;
    const free = ring.waiting();
    if (free === 'overflow') throw new Fatal('the receive ring claims more requests than it holds');
    if (frame !== undefined && free >= slotsFor(frame)) {
      queue.shift();
      give(to, frame);
      to.given(frame);
      continue;
    }
    if (armed) break;
    // The pages that are missing may have come while we looked.
    ring.arm();
    armed = true;
  }
  return ring.publish();
}
