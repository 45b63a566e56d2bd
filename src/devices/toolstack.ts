/** What xl does with a domain that runs or has suspended itself: asks it for something, lets it go on. */
import type { DomainId } from '../base/branded';
import type { Log } from '../base/log';
import type { BackendContext } from '../hypervisor/backend';
import type { Resumption } from '../hypervisor/suspended';
import type { ConsoleDevice } from './console';
import type { GuestRequest } from './index';
import type { XenstoreDevice } from './xenstore';
import { domainPath } from './xenstore/paths';
import { XenbusState } from './xenbus';

export interface Toolstack {
  ask(domain: number, request: GuestRequest): void;
  resume(domain: number, how: Resumption): void;
}

/** docs/misc/xenstore-paths.pandoc: the guest acknowledges by writing nothing there. */
export const askNode = (domain: number): string => `${domainPath(domain)}/control/shutdown`;

export function createToolstack(
  context: BackendContext,
  xenstore: XenstoreDevice,
  console: ConsoleDevice,
  log: Log,
): Toolstack {
  const { server } = xenstore;

  /** Front ends are as on the first day; their back ends give up what they had and wait for them. */
  function renewFrontEnds(domain: number): void {
    const devices = `${domainPath(domain)}/device`;
    for (const type of server.list(devices)) {
      for (const id of server.list(`${devices}/${type}`)) {
        const state = `${devices}/${type}/${id}/state`;
        if (server.read(state) !== undefined) server.write(state, String(XenbusState.Initialising));
      }
    }
  }

  return {
    ask: (domain, request) => {
      server.write(askNode(domain), request);
    },
    resume(domain, how) {
      const id = domain as DomainId;
      try {
        context.resumeDomain(id, how, () => {
          renewFrontEnds(id);
          console.close(id);
          xenstore.close(id);
        });
      } catch (error) {
        log.error(error instanceof Error ? error.message : String(error));
        return;
      }
      if (how === 'cancelled') return;
      const connections = context.connections().find((c) => c.domain === id);
      if (connections === undefined) return;
      xenstore.open(connections);
      console.open(connections);
      server.write(askNode(id), '');
    },
  };
}
