/** As much of a DHCP server (RFC 2131, options RFC 2132) as makes `udhcpc` and its like content: addresses for good. */
import { viewOf } from './frame';

export const DHCP_PORT = { SERVER: 67, CLIENT: 68 } as const;
const MESSAGE = { DISCOVER: 1, OFFER: 2, REQUEST: 3, ACK: 5, NAK: 6, INFORM: 8 } as const;
const OPTION = { MASK: 1, ROUTER: 3, ADDRESS: 50, LEASE: 51, TYPE: 53, SERVER: 54, END: 255 } as const;
const COOKIE = 0x63825363;
const OPTIONS_AT = 240;
const LEASE_SECONDS = 86_400;
/** The least that clients of the protocol before it expect (RFC 1542 §2.1). */
const LEAST_LENGTH = 300;

export interface DhcpNetwork {
  readonly gateway: number;
  readonly mask: number;
  /** The address of whoever has this hardware address. */
  addressOf(mac: string): number | undefined;
}

function optionsOf(message: Uint8Array): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  for (let at = OPTIONS_AT; at < message.length && message[at] !== OPTION.END;) {
    const code = message[at] ?? 0;
    // Zero is padding, without a length.
    const length = code === 0 ? -1 : (message[at + 1] ?? 0);
    if (code !== 0) options.set(code, message.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return options;
}

const addressIn = (option: Uint8Array | undefined): number | undefined =>
  option?.length === 4 ? viewOf(option).getUint32(0) : undefined;

/** @returns the answer's type for a request; undefined: none is due */
function answerTo(
  type: number | undefined,
  options: ReadonlyMap<number, Uint8Array>,
  given: number,
  current: number,
  gateway: number,
): number | undefined {
  if (type === MESSAGE.DISCOVER) return MESSAGE.OFFER;
  if (type === MESSAGE.INFORM) return MESSAGE.ACK;
  if (type !== MESSAGE.REQUEST) return undefined;
  const server = addressIn(options.get(OPTION.SERVER));
  if (server !== undefined && server !== gateway) return undefined;
  const wanted = addressIn(options.get(OPTION.ADDRESS)) ?? current;
  return wanted === given ? MESSAGE.ACK : MESSAGE.NAK;
}

/** The answer to a client's message, and whether it must go to everybody. */
export function dhcpAnswer(
  message: Uint8Array,
  mac: string,
  network: DhcpNetwork,
): { readonly data: Uint8Array; readonly broadcast: boolean } | undefined {
  if (message.length < OPTIONS_AT) return undefined;
  const asked = viewOf(message);
  if (asked.getUint8(0) !== 1 || asked.getUint32(236) !== COOKIE) return undefined;
  const options = optionsOf(message);
  const given = network.addressOf(mac);
  if (given === undefined) return undefined;
  const type = options.get(OPTION.TYPE)?.[0];
  const answer = answerTo(type, options, given, asked.getUint32(12), network.gateway);
  if (answer === undefined) return undefined;

  const data = new Uint8Array(LEAST_LENGTH);
  const view = viewOf(data);
  // Kind of hardware, transaction, flags, relay and hardware address are the client's.
  data.set(message.subarray(0, 44));
  view.setUint8(0, 2);
  view.setUint32(12, answer === MESSAGE.ACK && type === MESSAGE.INFORM ? asked.getUint32(12) : 0);
  view.setUint32(16, answer === MESSAGE.NAK || type === MESSAGE.INFORM ? 0 : given);
  view.setUint32(20, network.gateway);
  view.setUint32(236, COOKIE);
  let at = OPTIONS_AT;
  const put = (code: number, size: 1 | 4, value: number): void => {
    view.setUint8(at, code);
    view.setUint8(at + 1, size);
    if (size === 1) view.setUint8(at + 2, value);
    else view.setUint32(at + 2, value);
    at += 2 + size;
  };
  put(OPTION.TYPE, 1, answer);
  put(OPTION.SERVER, 4, network.gateway);
  if (answer !== MESSAGE.NAK) {
    if (type !== MESSAGE.INFORM) put(OPTION.LEASE, 4, LEASE_SECONDS);
    put(OPTION.MASK, 4, network.mask);
    put(OPTION.ROUTER, 4, network.gateway);
  }
  view.setUint8(at, OPTION.END);
  return { data, broadcast: answer === MESSAGE.NAK || (asked.getUint16(10) & 0x8000) !== 0 };
}
