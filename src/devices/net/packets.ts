/** Frames that the gateway makes. */
import { checksum16, ETHERNET_HEADER, ETHERTYPE, macBytes, pseudoHeader, viewOf, type Frame } from './frame';

export interface Station {
  readonly mac: string;
  readonly ip: number;
}

const IP_HEADER = 20;
/** Bytes before what an IPv4 packet of ours carries. */
export const HEADERS = ETHERNET_HEADER + IP_HEADER;
const TTL = 64;
const DONT_FRAGMENT = 0x4000;

function ethernet(length: number, from: string, to: string, type: number): Uint8Array {
  const bytes = new Uint8Array(ETHERNET_HEADER + length);
  bytes.set(macBytes(to));
  bytes.set(macBytes(from), 6);
  viewOf(bytes).setUint16(12, type);
  return bytes;
}

/** The answer to a request for `from`'s address (RFC 826). */
export function arpReply(from: Station, to: Station): Frame {
  const bytes = ethernet(28, from.mac, to.mac, ETHERTYPE.ARP);
  const view = viewOf(bytes);
  view.setUint16(14, 1);
  view.setUint16(16, ETHERTYPE.IPV4);
  view.setUint8(18, 6);
  view.setUint8(19, 4);
  view.setUint16(20, 2);
  bytes.set(macBytes(from.mac), 22);
  view.setUint32(28, from.ip);
  bytes.set(macBytes(to.mac), 32);
  view.setUint32(38, to.ip);
  return { bytes, checksum: 'valid' };
}

/** An IPv4 packet; `payload` already has the checksum of its own protocol, or gets it from `checksumAt`. */
export function ipv4(
  from: Station,
  to: Station,
  protocol: number,
  payload: Uint8Array,
  checksumAt?: number,
): Frame {
  const bytes = ethernet(IP_HEADER + payload.length, from.mac, to.mac, ETHERTYPE.IPV4);
  const view = viewOf(bytes);
  const ip = ETHERNET_HEADER;
  view.setUint8(ip, 0x45);
  view.setUint16(ip + 2, IP_HEADER + payload.length);
  view.setUint16(ip + 6, DONT_FRAGMENT);
  view.setUint8(ip + 8, TTL);
  view.setUint8(ip + 9, protocol);
  view.setUint32(ip + 12, from.ip);
  view.setUint32(ip + 16, to.ip);
  view.setUint16(ip + 10, checksum16(bytes, ip, HEADERS));
  bytes.set(payload, HEADERS);
  if (checksumAt !== undefined) {
    const packet = {
      version: 4,
      ip,
      payload: HEADERS,
      end: bytes.length,
      protocol,
      fragment: false,
    } as const;
    const sum = checksum16(bytes, HEADERS, bytes.length, pseudoHeader(bytes, packet));
    view.setUint16(HEADERS + checksumAt, sum === 0 ? 0xffff : sum);
  }
  return { bytes, checksum: 'valid' };
}

/** An ICMP message (RFC 792): `rest` is what follows the checksum. */
export function icmp(type: number, code: number, rest: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + rest.length);
  bytes[0] = type;
  bytes[1] = code;
  bytes.set(rest, 4);
  viewOf(bytes).setUint16(2, checksum16(bytes, 0, bytes.length));
  return bytes;
}

/** A UDP datagram, its checksum still to be made (at 6). */
export function udp(from: number, to: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(8 + data.length);
  const view = viewOf(bytes);
  view.setUint16(0, from);
  view.setUint16(2, to);
  view.setUint16(4, bytes.length);
  bytes.set(data, 8);
  return bytes;
}
