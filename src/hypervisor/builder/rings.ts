/** Event channels and grants for console and xenstore; domain 0 is connected from the start. */
import { DOMID } from '../../abi/domains';
import { GNTTAB_RESERVED_CONSOLE, GNTTAB_RESERVED_XENSTORE, GTF } from '../../abi/grant';
import type { EventPort, Mfn } from '../../base/branded';
import { connectBackend } from '../backend-ports';
import type { Core } from '../core';
import { allocatePort } from '../events';
import { growGrantTable, writeGrant } from '../grantentries';
import type { Domain } from '../types';
import { BuildError } from './input';

export function connectRings(core: Core, domain: Domain, consoleFrame: Mfn, storeFrame: Mfn): void {
  const { state } = domain;
  const channel = (): EventPort => {
    const remotePort = state.ports.length as EventPort;
    const own = connectBackend(core.backend, { remote: domain.id, remotePort });
    return allocatePort(core, domain, { kind: 'interdomain', remote: DOMID.DOM0, remotePort: own });
  };
  state.storePort = channel();
  state.consolePort = channel();
  state.consoleFrame = consoleFrame;
  state.storeFrame = storeFrame;
  const why = growGrantTable(core, domain, 1);
  if (why !== undefined) throw new BuildError(why);
  writeGrant(core, domain, GNTTAB_RESERVED_CONSOLE, DOMID.DOM0, consoleFrame, GTF.permit_access);
  writeGrant(core, domain, GNTTAB_RESERVED_XENSTORE, DOMID.DOM0, storeFrame, GTF.permit_access);
}
