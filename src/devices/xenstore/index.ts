import type { DomainId } from '../../base/branded';
import type { Log } from '../../base/log';
import type { BackendContext, DomainConnections } from '../../hypervisor/backend';
import { createChannel, type Channel, type ChannelState } from './channel';
import { writeDomainTree, writeHostTree, writeRings } from './domain-tree';
import { createServer, type ServerState, type XenstoreCore } from './server';

export interface XenstoreState {
  readonly server: ServerState;
  readonly channels: readonly ChannelState[];
}

/** xenstored: the server, and a channel to each domain. */
export interface XenstoreDevice {
  readonly server: XenstoreCore;
  attach(connections: DomainConnections): void;
  /** A domain that is there already: its state comes with `restore`. */
  adopt(domain: DomainId): void;
  detach(domain: DomainId): void;
  /** A suspended domain's connection ends, and begins anew. */
  close(domain: DomainId): void;
  open(connections: DomainConnections): void;
  save(): XenstoreState;
  restore(state: XenstoreState): void;
}

export function createXenstore(context: BackendContext, log: Log): XenstoreDevice {
  const server = createServer(log, () => context.observer);
  const channels: Channel[] = [];
  server.onMessages(() => {
    for (const channel of channels) channel.flush();
  });
  writeHostTree(server);
  return {
    server,
    attach(connections) {
      writeDomainTree(server, connections);
      channels.push(createChannel(context, server, connections.domain, connections, log));
    },
    adopt(domain) {
      channels.push(createChannel(context, server, domain, undefined, log));
    },
    detach: () => server.released(),
    close(domain) {
      for (const channel of channels) if (channel.domain === domain) channel.close();
    },
    open(connections) {
      const { domain, storePort } = connections;
      writeRings(server, connections);
      for (const channel of channels) if (channel.domain === domain) channel.open(storePort);
    },
    save: () => ({ server: server.save(), channels: channels.map((c) => c.save()) }),
    restore(state) {
      server.restore(state.server);
      for (const channel of channels) {
        const saved = state.channels.find((c) => c.domain === channel.domain);
        if (saved !== undefined) channel.restore(saved);
      }
    },
  };
}
