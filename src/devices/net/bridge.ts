/**
 * A switch between interfaces of domains: it learns behind which port an address is (IEEE 802.1D), and sends
 * elsewhere only what is for everybody or for somebody it does not know.
 */
import { isGroup, macAt, ETHERNET_HEADER, type Frame } from './frame';

export interface BridgePort {
  /** Names it among the bridge's ports, also in saved state. */
  readonly name: string;
  /** A frame reaches whoever is behind the port. */
  deliver(frame: Frame): void;
}

export interface Learned {
  readonly mac: string;
  readonly port: string;
  /** When it was last heard, in ns. */
  readonly at: bigint;
}

export interface Bridge {
  readonly name: string;
  attach(port: BridgePort): void;
  /** A frame comes in at a port. */
  send(from: BridgePort, frame: Frame): void;
  /** Addresses and where they are, the one heard longest ago first. */
  table(): readonly Learned[];
  ports(): readonly string[];
  restore(table: readonly Learned[]): void;
}

/** What Linux's bridge takes by default: 300 s. */
const AGE = 300_000_000_000n;
/** Addresses that are remembered; a guest that makes up more pushes out the oldest. */
const MOST_LEARNED = 1024;

export function createBridge(name: string, now: () => bigint): Bridge {
  const ports = new Map<string, BridgePort>();
  const table = new Map<string, Learned>();

  function learn(mac: string, port: string): void {
    if (isGroup(mac)) return;
    table.delete(mac);
    table.set(mac, { mac, port, at: now() });
    const [oldest] = table.keys();
    if (table.size > MOST_LEARNED && oldest !== undefined) table.delete(oldest);
  }

  function find(mac: string): BridgePort | undefined {
    const known = table.get(mac);
    return known === undefined || now() - known.at > AGE ? undefined : ports.get(known.port);
  }

  return {
    name,
    attach(port) {
      ports.set(port.name, port);
    },
    send(from, frame) {
      const { bytes } = frame;
      if (bytes.length < ETHERNET_HEADER) return;
      learn(macAt(bytes, 6), from.name);
      const to = find(macAt(bytes, 0));
      if (to !== undefined) {
        if (to !== from) to.deliver(frame);
        return;
      }
      for (const port of ports.values()) if (port !== from) port.deliver(frame);
    },
    table: () => [...table.values()],
    ports: () => [...ports.keys()],
    restore(learned) {
      table.clear();
      for (const entry of learned) table.set(entry.mac, entry);
    },
  };
}
