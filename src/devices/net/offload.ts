/**
 * What a network card does for a guest that leaves it to one: checksums of TCP and UDP, and packets of up to 64 KiB
 * cut into segments. Here it is done only where a frame reaches somebody who did not say that he can do without.
 */
import { checksum16, packetIn, PROTOCOL, pseudoHeader, viewOf, type Frame, type Packet } from './frame';

const CHECKSUM_AT: Readonly<Record<number, number>> = { [PROTOCOL.TCP]: 16, [PROTOCOL.UDP]: 6 };
const TCP_FLAG = { FIN: 0x01, PSH: 0x08, CWR: 0x80 } as const;

/** Puts the checksum of TCP or UDP into `bytes`. */
function fill(bytes: Uint8Array, packet: Packet): void {
  const field = CHECKSUM_AT[packet.protocol];
  if (field === undefined || packet.fragment || packet.payload + field + 2 > packet.end) return;
  const view = viewOf(bytes);
  view.setUint16(packet.payload + field, 0);
  const sum = checksum16(bytes, packet.payload, packet.end, pseudoHeader(bytes, packet));
  // In UDP, zero says that there is none (RFC 768).
  view.setUint16(packet.payload + field, sum === 0 && packet.protocol === PROTOCOL.UDP ? 0xffff : sum);
}

/** The frame with its checksum, if that was left out. */
export function complete(frame: Frame): Frame {
  if (frame.checksum !== 'blank') return frame;
  const bytes = frame.bytes.slice();
  const packet = packetIn(bytes);
  if (packet !== undefined) fill(bytes, packet);
  return { bytes, checksum: 'valid' };
}

/** Whether the checksum of TCP or UDP is right; packets of anything else have none. */
export function isIntact(bytes: Uint8Array, packet: Packet): boolean {
  const field = CHECKSUM_AT[packet.protocol];
  if (field === undefined) return true;
  if (packet.payload + field + 2 > packet.end) return false;
  const given = viewOf(bytes).getUint16(packet.payload + field);
  if (given === 0 && packet.protocol === PROTOCOL.UDP && packet.version === 4) return true;
  return checksum16(bytes, packet.payload, packet.end, pseudoHeader(bytes, packet)) === 0;
}

/** The segments of a frame that is to be cut, each with its checksums; of any other, itself. Nothing for nonsense. */
export function segments(frame: Frame): Frame[] {
  const { bytes, gso } = frame;
  if (gso === undefined) return [frame];
  const packet = packetIn(bytes);
  if (packet?.protocol !== PROTOCOL.TCP || packet.fragment || packet.payload + 20 > packet.end) return [];
  const view = viewOf(bytes);
  const data = packet.payload + (view.getUint8(packet.payload + 12) >> 4) * 4;
  if (data < packet.payload + 20 || data > packet.end) return [];
  const all: Frame[] = [];
  for (let at = data; at < packet.end || at === data; at += gso) {
    const size = Math.min(gso, packet.end - at);
    const own = new Uint8Array(data + size);
    own.set(bytes.subarray(0, data));
    own.set(bytes.subarray(at, at + size), data);
    all.push(segment(own, packet, at - data, all.length, at + gso >= packet.end));
    if (size === 0) break;
  }
  return all;
}

/** Makes `bytes`, with the headers of the whole, the segment `index` of it. */
function segment(bytes: Uint8Array, whole: Packet, offset: number, index: number, last: boolean): Frame {
  const view = viewOf(bytes);
  const { version, ip, payload } = whole;
  if (version === 4) {
    view.setUint16(ip + 2, bytes.length - ip);
    view.setUint16(ip + 4, view.getUint16(ip + 4) + index);
    view.setUint16(ip + 10, 0);
    view.setUint16(ip + 10, checksum16(bytes, ip, payload));
  } else view.setUint16(ip + 4, bytes.length - ip - 40);
  view.setUint32(payload + 4, view.getUint32(payload + 4) + offset);
  let flags = view.getUint8(payload + 13);
  // The end is the last segment's to tell; that the window was reduced, the first one's (RFC 3168 §6.1.2).
  if (!last) flags &= ~(TCP_FLAG.FIN | TCP_FLAG.PSH);
  if (index > 0) flags &= ~TCP_FLAG.CWR;
  view.setUint8(payload + 13, flags);
  fill(bytes, { ...whole, end: bytes.length });
  return { bytes, checksum: 'valid' };
}
