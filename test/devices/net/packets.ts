// Packets as guests make them, written apart from the code under test.
const be16 = (n: number): number[] => [(n >>> 8) & 255, n & 255];
const be32 = (n: number): number[] => [...be16(n >>> 16), ...be16(n & 0xffff)];
export const mac = (text: string): number[] => text.split(':').map((part) => parseInt(part, 16));
export const ip = (text: string): number[] => text.split('.').map(Number);

/** RFC 1071, the slow way. */
export function internetChecksum(bytes: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += (bytes[i] ?? 0) * 256 + (bytes[i + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return 0xffff - sum;
}

export const ethernet = (to: string, from: string, type: number, payload: readonly number[]): Uint8Array =>
  Uint8Array.from([...mac(to), ...mac(from), ...be16(type), ...payload]);

export interface Ip {
  readonly from: string;
  readonly to: string;
  readonly protocol: number;
  readonly id?: number;
  readonly fragment?: number;
}

export function ipv4({ from, to, protocol, id = 7, fragment = 0 }: Ip, payload: readonly number[]): number[] {
  const header = [
    0x45, 0, ...be16(20 + payload.length), ...be16(id), ...be16(fragment), 64, protocol, 0, 0, ...ip(from), ...ip(to),
  ]; // prettier-ignore
  header.splice(10, 2, ...be16(internetChecksum(header)));
  return [...header, ...payload];
}

export function icmpEcho(id: number, seq: number, data: readonly number[]): number[] {
  const message = [8, 0, 0, 0, ...be16(id), ...be16(seq), ...data];
  message.splice(2, 2, ...be16(internetChecksum(message)));
  return message;
}

/** What TCP and UDP sum before themselves. */
export const pseudo = (
  from: readonly number[],
  to: readonly number[],
  protocol: number,
  length: number,
): number[] =>
  from.length === 4
    ? [...from, ...to, 0, protocol, ...be16(length)]
    : [...from, ...to, ...be32(length), 0, 0, 0, protocol];

export interface Tcp {
  readonly from: number;
  readonly to: number;
  readonly seq: number;
  readonly ack?: number;
  readonly flags: number;
  readonly window?: number;
  readonly options?: readonly number[];
}

/** Without a checksum. */
export const tcp = (
  { from, to, seq, ack = 0, flags, window = 65535, options = [] }: Tcp,
  data: readonly number[] = [],
): number[] => [
  ...be16(from), ...be16(to), ...be32(seq), ...be32(ack), (20 + options.length) << 2, flags, ...be16(window), 0, 0, 0, 0,
  ...options, ...data,
]; // prettier-ignore

export function withChecksum(
  segment: readonly number[],
  at: number,
  from: readonly number[],
  to: readonly number[],
  protocol: number,
): number[] {
  const out = [...segment];
  out.splice(at, 2, 0, 0);
  out.splice(at, 2, ...be16(internetChecksum([...pseudo(from, to, protocol, segment.length), ...out])));
  return out;
}

export const udp = (from: number, to: number, data: readonly number[]): number[] => [
  ...be16(from),
  ...be16(to),
  ...be16(8 + data.length),
  0,
  0,
  ...data,
];

export const arp = (op: 1 | 2, from: { mac: string; ip: string }, to: { mac: string; ip: string }): number[] => [
  0, 1, 8, 0, 6, 4, 0, op, ...mac(from.mac), ...ip(from.ip), ...mac(to.mac), ...ip(to.ip),
]; // prettier-ignore

export { be16, be32 };
