/**
 * The network: interfaces of domains (vif.ts), the bridges that they are on (bridge.ts), and on each bridge a station
 * of the machine's own (gateway.ts). docs/decisions/network.md says why it is like this.
 */
import { Emitter, type Disposable } from '../../base/disposable';
import type { DomainId } from '../../base/branded';
import type { Log } from '../../base/log';
import type { BackendContext, DomainConnections } from '../../hypervisor/backend';
import type { XenstoreCore } from '../xenstore/server';
import { createBridge, type Bridge, type BridgePort, type Learned } from './bridge';
import { ipText, type Frame } from './frame';
import { createGateway, GATEWAY, type Gateway, type GatewayState } from './gateway';
import type { NetworkInput, NetworkOutput } from './host';
import { createVif, type Vif, type VifInstance, type VifState, type VifView } from './vif';

/** An interface as a configuration has it; what is left out is made up, the same on every run. */
export interface VifConfig {
  readonly mac?: string;
  readonly bridge?: string;
  readonly ip?: string;
}

export interface NetState {
  readonly vifs: readonly VifState[];
  readonly bridges: readonly {
    readonly name: string;
    readonly learned: readonly Learned[];
    readonly gateway: GatewayState;
  }[];
}

/** A bridge for people. */
export interface BridgeView {
  readonly name: string;
  readonly ports: readonly string[];
  readonly learned: readonly Learned[];
  readonly leases: readonly { readonly domain: number; readonly mac: string; readonly ip: string }[];
  /** Connections that the host has into guests. */
  readonly connections: readonly {
    readonly connection: number;
    readonly domain: number;
    readonly port: number;
    readonly phase: string;
    readonly fromHost: number;
    readonly fromGuest: number;
  }[];
}

export interface NetView {
  readonly vifs: readonly VifView[];
  readonly bridges: readonly BridgeView[];
}

export interface NetDevice {
  attach(connections: DomainConnections): void;
  detach(domain: DomainId): void;
  input(input: NetworkInput): void;
  onOutput(listener: (output: NetworkOutput) => void): Disposable;
  save(): NetState;
  restore(state: NetState): void;
  inspect(): NetView;
}

/** xl's, where none is named. */
const DEFAULT_BRIDGE = 'xenbr0';

/** In Xen's own range, as xl draws them; here the domain and the interface say which. */
export function macFor(domain: number, id: number): string {
  const parts = [(domain >> 8) & 0x7f, domain & 0xff, id & 0xff];
  return `00:16:3e:${parts.map((n) => n.toString(16).padStart(2, '0')).join(':')}`;
}

interface Segment {
  readonly bridge: Bridge;
  readonly gateway: Gateway;
}

/** @param vifsOf the interfaces that a new domain comes with */
export function createNet(
  context: BackendContext,
  server: XenstoreCore,
  vifsOf: (connections: DomainConnections) => readonly VifConfig[],
  log: Log,
): NetDevice {
  const vifs: VifInstance[] = [];
  const segments = new Map<string, Segment>();
  const output = new Emitter<NetworkOutput>();
  const timer = context.timer(() => {
    for (const { gateway } of segments.values()) gateway.expire();
    arm();
  });

  function arm(): void {
    let first: bigint | undefined;
    for (const { gateway } of segments.values()) {
      const at = gateway.deadline();
      if (at !== undefined && (first === undefined || at < first)) first = at;
    }
    timer.set(first);
  }

  function makeSegment(name: string): Segment {
    const bridge = createBridge(name, () => context.now());
    const port: BridgePort = {
      name: 'gateway',
      deliver(frame) {
        gateway.deliver(frame);
        arm();
      },
    };
    const gateway = createGateway({
      now: () => context.now(),
      send: (frame) => bridge.send(port, frame),
      output: (event) => output.fire(event),
    });
    bridge.attach(port);
    const made = { bridge, gateway };
    segments.set(name, made);
    return made;
  }

  function add(domain: DomainId, id: number, config: VifConfig): void {
    const name = config.bridge ?? DEFAULT_BRIDGE;
    const { bridge, gateway } = segments.get(name) ?? makeSegment(name);
    const mac = (config.mac ?? macFor(domain, id)).toLowerCase();
    const ip = ipText(gateway.lease(domain, mac, config.ip));
    const vif: Vif = { mac, bridge: name, ...(config.ip === undefined ? {} : { ip: config.ip }) };
    const port: BridgePort = {
      name: `vif${domain}.${id}`,
      deliver: (frame) => instance.deliver(frame),
    };
    const send = (frame: Frame): void => bridge.send(port, frame);
    const instance = createVif(context, server, domain, id, vif, send, log);
    bridge.attach(port);
    vifs.push(instance);
    log.debug(`d${domain} vif ${id}: ${mac} on ${name}, ${ip} by DHCP, gateway ${ipText(GATEWAY.ip)}`);
  }

  return {
    attach(connections) {
      vifsOf(connections).forEach((config, id) => add(connections.domain, id, config));
    },
    detach(domain) {
      for (const vif of vifs) if (vif.domain === domain) vif.end();
      for (const { gateway } of segments.values()) gateway.domainGone(domain);
      arm();
    },
    input(input) {
      const { connection, event } = input;
      const all = [...segments.values()];
      const segment =
        event === 'open'
          ? all.find(({ gateway }) => gateway.leases().some(({ domain }) => domain === input.domain))
          : all.find(({ gateway }) => gateway.has(connection));
      if (segment !== undefined) segment.gateway.input(input);
      else if (event === 'open') {
        const reason = `domain ${input.domain} has no network interface`;
        output.fire({ connection, event: 'closed', reason });
      } else if (event === 'data' || event === 'end')
        output.fire({ connection, event: 'closed', reason: 'the machine knows no such connection' });
      arm();
    },
    onOutput: (listener) => output.on(listener),
    save: () => ({
      vifs: vifs.map((vif) => vif.save()),
      bridges: [...segments].map(([name, { bridge, gateway }]) => ({
        name,
        learned: bridge.table(),
        gateway: gateway.save(),
      })),
    }),
    restore(state) {
      for (const vif of vifs) {
        const saved = state.vifs.find((s) => s.domain === vif.domain && s.id === vif.id);
        if (saved !== undefined) vif.restore(saved);
      }
      for (const [name, { bridge, gateway }] of segments) {
        const saved = state.bridges.find((s) => s.name === name);
        if (saved === undefined) continue;
        bridge.restore(saved.learned);
        gateway.restore(saved.gateway);
      }
      arm();
    },
    inspect: () => ({
      vifs: vifs.map((vif) => vif.view()),
      bridges: [...segments.values()].map(({ bridge, gateway }) => ({
        name: bridge.name,
        ports: bridge.ports(),
        learned: bridge.table(),
        leases: gateway.leases().map(({ domain, mac, ip }) => ({ domain, mac, ip: ipText(ip) })),
        connections: gateway.save().connections.map((c) => ({
          connection: c.connection,
          domain: c.domain,
          port: c.guestPort,
          phase: c.phase,
          fromHost: c.fromHost,
          fromGuest: c.fromGuest,
        })),
      })),
    }),
  };
}
