/** Domain 0's back ends: what the guests find at the other end of their rings. */
import type { Disposable } from '../base/disposable';
import type { Log } from '../base/log';
import type { BackendContext, DomainConnections } from '../hypervisor/backend';
import { createBlock, type Disk, type DiskInput, type DiskState, type DiskView } from './block';
import { createConsole, type ConsoleBackend, type ConsoleState, type ConsoleView } from './console';
import { createEcho, type EchoState } from './echo';
import type { Resumption } from '../hypervisor/suspended';
import { createToolstack } from './toolstack';
import { createXenstore, type XenstoreState } from './xenstore';
import { createNet, type NetState, type NetView, type VifConfig } from './net';
import type { NetworkInput, NetworkOutput } from './net/host';
import type { SplitView } from './xenbus';
import type { XenstoreServer } from './xenstore/server';

export type { Disk, DiskInput } from './block';
export { deviceNumber } from './block/vdev';
export { isQcow2, qcow2Store } from './block/qcow2';
export { emptyStore, memoryFile, rawStore, type BlockFile, type BlockStore } from './block/store';
export type { ConsoleBackend } from './console';
export type { VifConfig } from './net';
export type { NetworkInput, NetworkOutput } from './net/host';
export { canonical as canonicalPath } from './xenstore/paths';
export type { XenstoreEntry, XenstoreServer } from './xenstore/server';

export interface DevicesState {
  readonly console: readonly ConsoleState[];
  readonly xenstore: XenstoreState;
  readonly echo: readonly EchoState[];
  readonly block: readonly DiskState[];
  readonly net: NetState;
}

/** State for back ends of domains that start again: `fresh`, but for what was written to the disks. */
export const rebootedDevices = (fresh: DevicesState, before: DevicesState): DevicesState => ({
  ...fresh,
  block: fresh.block.map((disk) => {
    const { overlay, sectors } =
      before.block.find((b) => b.domain === disk.domain && b.vdev === disk.vdev) ?? disk;
    return { ...disk, overlay, sectors };
  }),
});

export interface DevicesView {
  readonly console: readonly ConsoleView[];
  readonly echo: readonly SplitView[];
  readonly block: readonly DiskView[];
  readonly net: NetView;
}

/** What reaches the machine from outside. */
export type DeviceInput =
  | {
      readonly kind: 'console';
      readonly domain: number;
      /** Which of the domain's consoles. */
      readonly console: number;
      readonly data: Uint8Array;
    }
  | ({ readonly kind: 'network' } & NetworkInput)
  | ({ readonly kind: 'disk' } & DiskInput)
  /** The toolstack asks the guest for it, by its node control/shutdown. */
  | { readonly kind: 'ask'; readonly domain: number; readonly request: GuestRequest }
  /** Somebody writes a node of xenstore, as domain 0, or removes it. */
  | { readonly kind: 'store'; readonly path: string; readonly value: string | undefined }
  /** A suspended domain goes on. */
  | { readonly kind: 'resume'; readonly domain: number; readonly how: Resumption };

/** docs/misc/xenstore-paths.pandoc, control/shutdown. */
export type GuestRequest = 'poweroff' | 'reboot' | 'halt' | 'suspend';
export type { Resumption };

export interface DeviceOptions {
  /** The disks that a new domain comes with. */
  readonly disks?: (connections: DomainConnections) => readonly Disk[];
  /** Names of the consoles that it has beside the first. */
  readonly channels?: (connections: DomainConnections) => readonly string[];
  /** The network interfaces that it comes with. */
  readonly vifs?: (connections: DomainConnections) => readonly VifConfig[];
}

export interface BackendSet {
  readonly console: ConsoleBackend;
  readonly xenstore: XenstoreServer;
  input(input: DeviceInput): void;
  onNetwork(listener: (output: NetworkOutput) => void): Disposable;
  /** The split devices as they stand, for people. */
  inspect(): DevicesView;
  /**
   * The domains that are there, at which back ends are at work already: `restore` says with what.
   * @param next is told the place of each before it is begun with
   */
  adopt(next: (place: number) => void): void;
  /** Plain data under names. What is in it does not change any more. */
  save(): DevicesState;
  /** `state` is what {@link save} gave, with the same domains. */
  restore(state: unknown): void;
}

export function createDevices(
  context: BackendContext,
  log: Log,
  { disks = () => [], channels = () => [], vifs = () => [] }: DeviceOptions = {},
): BackendSet {
  const xenstore = createXenstore(context, log.child('xenstore'));
  const console = createConsole(context, xenstore.server, channels, log.child('console'));
  const echo = createEcho(context, xenstore.server, log.child('echo'));
  const block = createBlock(context, xenstore.server, disks, log.child('block'));
  const net = createNet(context, xenstore.server, vifs, log.child('net'));
  context.xenstore = xenstore.server;

  const attachSplit = (connections: DomainConnections): void => {
    echo.attach(connections);
    block.attach(connections);
    net.attach(connections);
  };
  const attach = (connections: DomainConnections): void => {
    xenstore.attach(connections);
    console.attach(connections);
    attachSplit(connections);
  };
  context.connections().forEach(attach);
  context.onDomain(attach);
  context.onShutdown((domain) => {
    console.detach(domain);
    echo.detach(domain);
    block.detach(domain);
    net.detach(domain);
    xenstore.detach(domain);
  });

  const toolstack = createToolstack(context, xenstore, console, log.child('toolstack'));
  const inputs: { readonly [K in DeviceInput['kind']]: (input: Extract<DeviceInput, { kind: K }>) => void } =
    {
      console: (input) => console.input(input.domain, input.data, input.console),
      network: (input) => net.input(input),
      disk: (input) => block.input(input),
      store: ({ path, value }) => {
        if (value === undefined) xenstore.server.remove(path);
        else xenstore.server.write(path, value);
      },
      ask: ({ domain, request }) => toolstack.ask(domain, request),
      resume: ({ domain, how }) => toolstack.resume(domain, how),
    };

  return {
    console,
    xenstore: xenstore.server,
    input(input) {
      inputs[input.kind](input as never);
    },
    onNetwork: (listener) => net.onOutput(listener),
    inspect: () => ({
      console: console.inspect(),
      echo: echo.inspect(),
      block: block.inspect(),
      net: net.inspect(),
    }),
    adopt(next) {
      context.connections().forEach((connections, place) => {
        next(place);
        xenstore.adopt(connections.domain);
        console.adopt(connections);
        // All that they do before a front end comes is to write into the store, which `restore` replaces.
        attachSplit(connections);
      });
    },
    save: () => ({
      console: console.save(),
      xenstore: xenstore.save(),
      echo: echo.save(),
      block: block.save(),
      net: net.save(),
    }),
    restore(given) {
      const state = given as DevicesState;
      xenstore.restore(state.xenstore);
      console.restore(state.console);
      echo.restore(state.echo);
      block.restore(state.block);
      net.restore(state.net);
    },
  };
}
