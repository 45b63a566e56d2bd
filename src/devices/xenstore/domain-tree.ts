/**
 * What stands in xenstore about a domain before it starts: what xl writes for a PV guest (observed with
 * xenstore-ls -p on Xen 4.17; docs/misc/xenstore-paths.pandoc says what the paths mean).
 */
import type { DomainConnections } from '../../hypervisor/backend';
import { domainPath } from './paths';
import { MAY, NOBODY, type Permission } from './permissions';
import type { XenstoreCore } from './server';

/** xl draws one at random; here it is the domain's number, as XENVER_guest_handle has it, the same on every run. */
export const domainUuid = (domain: number): string =>
  `00000000-0000-0000-0000-${domain.toString(16).padStart(12, '0')}`;

/** Nodes that only domain 0 writes and the guest reads; and those that are the guest's own. */
export const readOnly = (domain: number): Permission[] => [...NOBODY, { domain, may: MAY.READ }];
export const guestOwned = (domain: number): Permission[] => [{ domain, may: 0 }];

/** Nodes of the guest's own, empty to begin with. */
const ownNodes = [
  'device/suspend/event-channel',
  'control/shutdown',
  'control/feature-poweroff',
  'control/feature-reboot',
  'control/feature-suspend',
  'control/sysrq',
  'data',
  'drivers',
  'feature',
  'attr',
  'error',
];

/** Domain 0's own corner, as xen-init-dom0 writes it. */
export function writeHostTree(server: XenstoreCore): void {
  server.write('/local/domain/0/name', 'Domain-0');
  server.write('/local/domain/0/domid', '0');
}

/** Where a domain that begins anew has its rings. */
export function writeRings(server: XenstoreCore, connections: DomainConnections): void {
  const base = domainPath(connections.domain);
  server.write(`${base}/store/port`, String(connections.guestStorePort));
  server.write(`${base}/store/ring-ref`, String(connections.storeFrame));
  server.write(`${base}/console/port`, String(connections.guestConsolePort));
  server.write(`${base}/console/ring-ref`, String(connections.consoleFrame));
}

export function writeDomainTree(server: XenstoreCore, connections: DomainConnections): void {
  const { domain, name, memoryKiB, vcpus } = connections;
  const base = domainPath(domain);
  const uuid = domainUuid(domain);
  const vm = `/vm/${uuid}`;
  const consoleBackend = `${domainPath(0)}/backend/console/${domain}/0`;
  const mayRead = readOnly(domain);
  const own = guestOwned(domain);

  const told: Record<string, string> = {
    [base]: '',
    [vm]: '',
    [`${base}/vm`]: vm,
    [`${base}/name`]: name,
    [`${base}/cpu`]: '',
    [`${base}/memory`]: '',
    [`${base}/device`]: '',
    [`${base}/control`]: '',
    [`${base}/control/platform-feature-multiprocessor-suspend`]: '1',
    [`${base}/control/platform-feature-xs_reset_watches`]: '1',
    [`${vm}/uuid`]: uuid,
    [`${vm}/name`]: name,
    [`${vm}/image`]: '',
    [`${vm}/image/ostype`]: 'linux',
    [`${base}/memory/static-max`]: String(memoryKiB),
    [`${base}/memory/target`]: String(memoryKiB),
    [`${base}/memory/videoram`]: '-1',
    [`${base}/domid`]: String(domain),
    [`${base}/store`]: '',
    [`${base}/store/port`]: String(connections.guestStorePort),
    [`${base}/store/ring-ref`]: String(connections.storeFrame),
    [`${base}/console`]: '',
    [`${base}/console/backend`]: consoleBackend,
    [`${base}/console/backend-id`]: '0',
    [`${base}/console/limit`]: '1048576',
    [`${base}/console/type`]: 'xenconsoled',
    [`${base}/console/output`]: 'pty',
    // No pseudo-terminal stands behind it.
    [`${base}/console/tty`]: '',
    [`${base}/console/port`]: String(connections.guestConsolePort),
    [`${base}/console/ring-ref`]: String(connections.consoleFrame),
    [consoleBackend]: '',
    [`${consoleBackend}/frontend`]: `${base}/console`,
    [`${consoleBackend}/frontend-id`]: String(domain),
    [`${consoleBackend}/online`]: '1',
    [`${consoleBackend}/state`]: '1',
    [`${consoleBackend}/protocol`]: 'vt100',
  };
  for (let cpu = 0; cpu < vcpus; cpu++) {
    told[`${base}/cpu/${cpu}`] = '';
    told[`${base}/cpu/${cpu}/availability`] = 'online';
  }
  for (const [path, value] of Object.entries(told)) server.make(path, value, mayRead);
  for (const node of ownNodes) {
    // Its parents, where they are missing, are for reading.
    server.make(`${base}/${node}`, '', own);
  }
  server.make(`/libxl/${domain}/type`, 'pv', NOBODY);
}
