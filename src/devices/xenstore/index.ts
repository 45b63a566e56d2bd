import type { DomainId } from '../../base/branded';
import type { Log } from '../../base/log';
import type { BackendContext, DomainConnections } from '../../hypervisor/backend';
import { createChannel, type Channel, type ChannelState } from './channel';
import { writeDomainTree, writeHostTree } from './domain-tree';
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
  save(): XenstoreState;
  restore(state: XenstoreState): void;
}

export function createXenstore(context: BackendContext, log: Log): XenstoreDevice {
  const server = createServer(log);
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
