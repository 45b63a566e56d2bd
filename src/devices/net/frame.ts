/** Ethernet frames inside the machine, and what has to be found in them. All numbers on the wire are big-endian. */

export interface Frame {
  /** From the destination address on, without preamble and check sequence. */
  readonly bytes: Uint8Array;
  /** Of TCP or UDP: left for later, known to be right, or as it may be. */
  readonly checksum: 'blank' | 'valid' | 'unknown';
  /** A TCP packet longer than what goes over a wire: bytes of payload in each segment that is to be made of it. */
  readonly gso?: number;
}

export const ETHERNET_HEADER = 14;
/** The longest frame on a wire of 1500 bytes, with a VLAN tag. */
export const LONGEST_FRAME = 1518;
export const ETHERTYPE = { IPV4: 0x0800, ARP: 0x0806, VLAN: 0x8100, IPV6: 0x86dd } as const;
export const PROTOCOL = { ICMP: 1, TCP: 6, UDP: 17 } as const;

export const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const hexByte = (byte: number): string => byte.toString(16).padStart(2, '0');
/** `at` is where six bytes of address begin. */
export const macAt = (bytes: Uint8Array, at: number): string =>
  Array.from(bytes.subarray(at, at + 6), hexByte).join(':');
export const macBytes = (mac: string): number[] => mac.split(':').map((part) => Number.parseInt(part, 16));
export const BROADCAST = 'ff:ff:ff:ff:ff:ff';
/** To a group of stations, or all. */
export const isGroup = (mac: string): boolean => (Number.parseInt(mac.slice(0, 2), 16) & 1) !== 0;

export const ipText = (ip: number): string => [24, 16, 8, 0].map((shift) => (ip >>> shift) & 0xff).join('.');
/** An IPv4 address as a number, or undefined. */
export function ipNumber(text: string): number | undefined {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number);
  if (parts === undefined || parts.some((part) => part > 255)) return undefined;
  return parts.reduce((sum, part) => sum * 256 + part, 0);
}

/** The ones' complement sum of RFC 1071 over [from, to), not yet complemented. */
export function sum16(bytes: Uint8Array, from: number, to: number, start = 0): number {
  let sum = start;
  let at = from;
  for (; at + 1 < to; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  if (at < to) sum += (bytes[at] ?? 0) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum;
}
export const checksum16 = (bytes: Uint8Array, from: number, to: number, start = 0): number =>
  ~sum16(bytes, from, to, start) & 0xffff;

/** Where a frame's IP packet and what it carries lie. */
export interface Packet {
  readonly version: 4 | 6;
  /** Bytes into the frame. */
  readonly ip: number;
  readonly payload: number;
  readonly end: number;
  readonly protocol: number;
  /** A part of a packet that was cut up: there may be no header of the protocol's in it. */
  readonly fragment: boolean;
}

/** Headers of IPv6 that may stand before what is carried, and say where the next begins (RFC 8200 §4.1). */
const V6_OPTIONS: ReadonlySet<number> = new Set([0, 43, 60]);
const V6_FRAGMENT = 44;

/** The IP packet in a frame; undefined where there is none that is whole. */
export function packetIn(bytes: Uint8Array): Packet | undefined {
  if (bytes.length < ETHERNET_HEADER) return undefined;
  const view = viewOf(bytes);
  let ip = ETHERNET_HEADER;
  let type = view.getUint16(12);
  if (type === ETHERTYPE.VLAN && bytes.length >= 18) {
    type = view.getUint16(16);
    ip = 18;
  }
  if (type === ETHERTYPE.IPV4) return packetV4(view, ip);
  return type === ETHERTYPE.IPV6 ? packetV6(view, ip) : undefined;
}

function packetV4(view: DataView, ip: number): Packet | undefined {
  if (view.byteLength < ip + 20) return undefined;
  const first = view.getUint8(ip);
  const header = (first & 15) * 4;
  const end = ip + view.getUint16(ip + 2);
  if (first >> 4 !== 4 || header < 20 || ip + header > end || end > view.byteLength) return undefined;
  return {
    version: 4,
    ip,
    payload: ip + header,
    end,
    protocol: view.getUint8(ip + 9),
    fragment: (view.getUint16(ip + 6) & 0x3fff) !== 0,
  };
}

function packetV6(view: DataView, ip: number): Packet | undefined {
  if (view.byteLength < ip + 40 || view.getUint8(ip) >> 4 !== 6) return undefined;
  const end = ip + 40 + view.getUint16(ip + 4);
  if (end > view.byteLength) return undefined;
  let payload = ip + 40;
  let protocol = view.getUint8(ip + 6);
  let fragment = false;
  while (V6_OPTIONS.has(protocol) || protocol === V6_FRAGMENT) {
    if (payload + 8 > end) return undefined;
    fragment ||= protocol === V6_FRAGMENT;
    const length = protocol === V6_FRAGMENT ? 8 : 8 + view.getUint8(payload + 1) * 8;
    protocol = view.getUint8(payload);
    payload += length;
    if (payload > end) return undefined;
  }
  return { version: 6, ip, payload, end, protocol, fragment };
}

/** The sum over what TCP and UDP take from the IP header (RFC 9293 §3.1, RFC 8200 §8.1). */
export function pseudoHeader(bytes: Uint8Array, { version, ip, protocol, payload, end }: Packet): number {
  const addresses = version === 4 ? [ip + 12, ip + 20] : [ip + 8, ip + 40];
  return sum16(bytes, addresses[0] ?? 0, addresses[1] ?? 0, protocol + (end - payload));
}
