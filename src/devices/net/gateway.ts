/**
 * The machine's own station on a bridge: it answers ARP and pings, gives addresses by DHCP, and carries connections
 * that the host opened to a guest's port. Nothing leads from a guest to the host or beyond; who asks for that is told.
 */
import { dhcpAnswer, DHCP_PORT } from './dhcp';
import {
  BROADCAST,
  checksum16,
  ETHERNET_HEADER,
  ETHERTYPE,
  ipNumber,
  isGroup,
  macAt,
  packetIn,
  PROTOCOL,
  viewOf,
  type Frame,
  type Packet,
} from './frame';
import type { NetworkInput, NetworkOutput } from './host';
import { isIntact } from './offload';
import { arpReply, icmp, ipv4, udp, type Station } from './packets';
import { createTcp, type TcpState } from './tcp';

/** 10.0.2.2 in 10.0.2.0/24, as other machines' built-in networks have it; their hardware address, too. */
const NETWORK = 0x0a00_0200;
const MASK = 0xffff_ff00;
export const GATEWAY: Station = { mac: '52:55:0a:00:02:02', ip: NETWORK + 2 };
const FIRST_GUEST = 15;
/** For hardware addresses that no configuration names. */
const FIRST_OTHER = 128;
const LAST_HOST = 254;

const ICMP = { ECHO_REPLY: 0, UNREACHABLE: 3, ECHO: 8 } as const;
const UNREACHABLE = { PORT: 3, PROHIBITED: 13 } as const;

/** An interface on the gateway's bridge, and the address that it is given. */
export interface Lease extends Station {
  readonly domain: number;
}

export interface GatewayState {
  /** Hardware addresses by address, as they were heard; and the addresses given to those that nobody knew. */
  readonly heard: readonly (readonly [ip: number, mac: string])[];
  readonly given: readonly (readonly [mac: string, ip: number])[];
  readonly connections: readonly TcpState[];
}

export interface Gateway {
  /** An interface of the machine's own; `ip` is what the configuration says. */
  lease(domain: number, mac: string, ip: string | undefined): number;
  leases(): readonly Lease[];
  deliver(frame: Frame): void;
  input(input: NetworkInput): void;
  has(connection: number): boolean;
  domainGone(domain: number): void;
  expire(): void;
  deadline(): bigint | undefined;
  save(): GatewayState;
  restore(state: GatewayState): void;
}

export interface GatewayHost {
  readonly now: () => bigint;
  readonly send: (frame: Frame) => void;
  readonly output: (event: NetworkOutput) => void;
}

export function createGateway(host: GatewayHost): Gateway {
  const leases: Lease[] = [];
  const heard = new Map<number, string>();
  const given = new Map<string, number>();

  const taken = (ip: number): boolean =>
    leases.some((l) => l.ip === ip) || [...given.values()].includes(ip) || ip === GATEWAY.ip;
  function free(from: number): number | undefined {
    for (let n = from; n <= LAST_HOST; n++) if (!taken(NETWORK + n)) return NETWORK + n;
    return undefined;
  }
  function addressOf(mac: string): number | undefined {
    const known = leases.find((l) => l.mac === mac)?.ip ?? given.get(mac);
    if (known !== undefined) return known;
    const ip = free(FIRST_OTHER);
    if (ip !== undefined) given.set(mac, ip);
    return ip;
  }
  /** Where to send what is for an address: as it was heard, else as it was configured. */
  const stationAt = (ip: number): Station | undefined => {
    const mac = heard.get(ip) ?? leases.find((l) => l.ip === ip)?.mac;
    return mac === undefined ? undefined : { ip, mac };
  };

  const send = (to: Station, protocol: number, payload: Uint8Array, checksumAt?: number): void =>
    host.send(ipv4(GATEWAY, to, protocol, payload, checksumAt));

  const tcp = createTcp({
    own: GATEWAY,
    now: host.now,
    send: (to, segment) => send(stationAt(to.ip) ?? to, PROTOCOL.TCP, segment, 16),
    output: host.output,
  });

  function hear(ip: number, mac: string): void {
    if ((ip & MASK) >>> 0 === NETWORK && ip !== GATEWAY.ip && !isGroup(mac)) heard.set(ip, mac);
  }

  function arp(bytes: Uint8Array): void {
    if (bytes.length < ETHERNET_HEADER + 28) return;
    const view = viewOf(bytes);
    // Ethernet and IPv4, or something that we do not speak (RFC 826).
    if (view.getUint32(14) !== 0x0001_0800 || view.getUint16(18) !== 0x0604) return;
    const from = { mac: macAt(bytes, 22), ip: view.getUint32(28) };
    hear(from.ip, from.mac);
    if (view.getUint16(20) === 1 && view.getUint32(38) === GATEWAY.ip) host.send(arpReply(GATEWAY, from));
  }

  /** Says that a packet goes no further, with its beginning (RFC 792). */
  function unreachable(bytes: Uint8Array, { ip, payload, end }: Packet, from: Station, code: number): void {
    const rest = new Uint8Array(4 + Math.min(end, payload + 8) - ip);
    rest.set(bytes.subarray(ip, Math.min(end, payload + 8)), 4);
    send(from, PROTOCOL.ICMP, icmp(ICMP.UNREACHABLE, code, rest));
  }

  function ping(bytes: Uint8Array, { payload, end }: Packet, from: Station): void {
    if (end - payload < 8 || bytes[payload] !== ICMP.ECHO || checksum16(bytes, payload, end) !== 0) return;
    send(from, PROTOCOL.ICMP, icmp(ICMP.ECHO_REPLY, 0, bytes.slice(payload + 4, end)));
  }

  function datagram(bytes: Uint8Array, packet: Packet, from: Station): void {
    const { payload, end } = packet;
    if (end - payload < 8) return;
    const view = viewOf(bytes);
    if (view.getUint16(payload + 2) === DHCP_PORT.SERVER) dhcp(bytes.subarray(payload + 8, end), from.mac);
    else if (view.getUint32(packet.ip + 16) === GATEWAY.ip)
      unreachable(bytes, packet, from, UNREACHABLE.PORT);
  }

  function dhcp(message: Uint8Array, mac: string): void {
    const answer = dhcpAnswer(message, mac, { gateway: GATEWAY.ip, mask: MASK >>> 0, addressOf });
    if (answer === undefined) return;
    // The client has no address to be reached by yet.
    const to = { ip: 0xffff_ffff, mac: answer.broadcast ? BROADCAST : mac };
    send(to, PROTOCOL.UDP, udp(DHCP_PORT.SERVER, DHCP_PORT.CLIENT, answer.data), 6);
  }

  const protocols: Readonly<Record<number, (bytes: Uint8Array, packet: Packet, from: Station) => void>> = {
    [PROTOCOL.ICMP]: ping,
    [PROTOCOL.UDP]: datagram,
    [PROTOCOL.TCP]: (bytes, { payload, end }, from) => tcp.receive(from, bytes.subarray(payload, end)),
  };

  function packet(frame: Frame): void {
    const { bytes, checksum } = frame;
    const found = packetIn(bytes);
    // What was cut up on the way is not put together again here.
    if (found?.version !== 4 || found.fragment) return;
    const view = viewOf(bytes);
    if (checksum16(bytes, found.ip, found.payload) !== 0) return;
    if (checksum === 'unknown' && !isIntact(bytes, found)) return;
    const from = { mac: macAt(bytes, 6), ip: view.getUint32(found.ip + 12) };
    hear(from.ip, from.mac);
    const to = view.getUint32(found.ip + 16);
    const broadcast = to === 0xffff_ffff || to === NETWORK + 255;
    if (to === GATEWAY.ip || (broadcast && found.protocol === PROTOCOL.UDP))
      protocols[found.protocol]?.(bytes, found, from);
    else if (!broadcast && macAt(bytes, 0) === GATEWAY.mac)
      unreachable(bytes, found, from, UNREACHABLE.PROHIBITED);
  }

  const inputs: Readonly<Record<NetworkInput['event'], (input: NetworkInput) => void>> = {
    open(input) {
      if (input.event !== 'open') return;
      const { connection, domain, port } = input;
      const lease = leases.find((l) => l.domain === domain);
      if (lease !== undefined) tcp.open(connection, domain, { ip: lease.ip, mac: lease.mac }, port);
    },
    data(input) {
      if (input.event === 'data') tcp.data(input.connection, input.at, input.data);
    },
    end: ({ connection }) => tcp.end(connection),
    abort: ({ connection }) => tcp.abort(connection),
    taken(input) {
      if (input.event === 'taken') tcp.taken(input.connection, input.bytes);
    },
  };

  return {
    lease(domain, mac, wanted) {
      const ip = (wanted === undefined ? undefined : fixed(wanted)) ?? free(FIRST_GUEST);
      if (ip === undefined) throw new RangeError('there are more interfaces than addresses in 10.0.2.0/24');
      leases.push({ domain, mac, ip });
      return ip;
    },
    leases: () => leases,
    deliver(frame) {
      const { bytes } = frame;
      if (bytes.length < ETHERNET_HEADER) return;
      const to = macAt(bytes, 0);
      if (to !== GATEWAY.mac && !isGroup(to)) return;
      if (viewOf(bytes).getUint16(12) === ETHERTYPE.ARP) arp(bytes);
      else packet(frame);
    },
    input: (input) => inputs[input.event](input),
    has: (connection) => tcp.has(connection),
    domainGone: (domain) => tcp.drop(domain, 'the domain has ended'),
    expire: () => tcp.expire(),
    deadline: () => tcp.deadline(),
    save: () => ({ heard: [...heard], given: [...given], connections: tcp.save() }),
    restore(state) {
      heard.clear();
      for (const [ip, mac] of state.heard) heard.set(ip, mac);
      given.clear();
      for (const [mac, ip] of state.given) given.set(mac, ip);
      tcp.restore(state.connections);
    },
  };
}

/** The address that a configuration asks for, if it is one of the network's. */
function fixed(text: string): number | undefined {
  const ip = ipNumber(text);
  return ip !== undefined && (ip & MASK) >>> 0 === NETWORK && ip !== GATEWAY.ip ? ip : undefined;
}
