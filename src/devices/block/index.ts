/**
 * The block back end (vbd): a disk's handshake over xenstore, its ring and its store. blkif.h is the protocol;
 * where it leaves room we do as Linux's back end does, since that is what front ends are tested against.
 */
import { eventPort, grantRef, type DomainId } from '../../base/branded';
import type { Log } from '../../base/log';
import type { BackendContext, BackendPort, DomainConnections, GrantMapping } from '../../hypervisor/backend';
import { decimal, XenbusState } from '../xenbus';
import { guestOwned, readOnly } from '../xenstore/domain-tree';
import { domainPath } from '../xenstore/paths';
import { MAY } from '../xenstore/permissions';
import type { XenstoreCore } from '../xenstore/server';
import { MAX_INDIRECT_SEGMENTS, MAX_RING_PAGE_ORDER, SECTOR_SIZE, VDISK } from './blkif';
import { grantPool, type GrantPool } from './grants';
import { overlayStore, type OverlayState, type OverlayStore } from './overlay';
import { execute } from './requests';
import { requestRing, type RequestRing, type RingIndices } from './ring';
import type { BlockStore } from './store';
import { deviceNumber } from './vdev';

/** What becomes of what the guest writes. */
export type DiskAccess = 'read-only' | 'overlay' | 'write-through';

export interface Disk {
  /** Its name in the guest: xvda, xvdb1, … */
  readonly vdev: string;
  /** What it is called for people: the image's path. */
  readonly name: string;
  readonly store: BlockStore;
  readonly access: DiskAccess;
  readonly cdrom: boolean;
}

interface ConnectionState {
  readonly pages: readonly GrantMapping[];
  readonly port: BackendPort;
  readonly indices: RingIndices;
  /** The front end keeps its grants from request to request. */
  readonly persist: boolean;
  readonly persistent: readonly GrantMapping[];
  /** The guest wrote nonsense into the ring: nothing more is taken from it. */
  readonly broken: boolean;
}

export interface DiskState {
  readonly domain: number;
  readonly vdev: string;
  readonly connection: ConnectionState | undefined;
  /** Absent for a read-only disk. */
  readonly overlay: OverlayState | undefined;
}

interface Connection {
  readonly pages: readonly GrantMapping[];
  readonly port: BackendPort;
  readonly persist: boolean;
  readonly ring: RequestRing;
  readonly grants: GrantPool;
  broken: boolean;
}

interface Instance {
  readonly domain: DomainId;
  readonly vdev: string;
  release(): void;
  save(): DiskState;
  restore(state: DiskState): void;
}

export interface BlockDevice {
  attach(connections: DomainConnections): void;
  detach(domain: DomainId): void;
  save(): readonly DiskState[];
  restore(states: readonly DiskState[]): void;
}

const ABI = 'x86_64-abi';

function createInstance(
  context: BackendContext,
  server: XenstoreCore,
  domain: DomainId,
  disk: Disk,
  log: Log,
): Instance {
  const { vdev, access, cdrom } = disk;
  const number = deviceNumber(vdev);
  const front = `${domainPath(domain)}/device/vbd/${number}`;
  const back = `${domainPath(0)}/backend/vbd/${domain}/${number}`;
  const overlay: OverlayStore | undefined =
    access === 'read-only'
      ? undefined
      : overlayStore(disk.store, { writeThrough: access === 'write-through' });
  const store: BlockStore & { discard?(sector: number, count: number): void } = overlay ?? {
    ...disk.store,
    readOnly: true,
    flush: () => undefined,
  };
  let connection: Connection | undefined;
  let listener: { dispose(): void } | undefined;

  const state = (): number | undefined => decimal(server.read(`${back}/state`));
  const enter = (next: XenbusState): void => {
    if (state() !== next) server.write(`${back}/state`, String(next));
  };
  const tell = (nodes: Readonly<Record<string, string | number>>): void => {
    for (const [name, value] of Object.entries(nodes)) server.write(`${back}/${name}`, String(value));
  };

  function use(next: Connection | undefined): void {
    listener?.dispose();
    connection = next;
    listener = next === undefined ? undefined : context.onEvent(next.port, () => serve(next));
  }

  function release(): void {
    if (connection === undefined) return;
    const { pages, port, grants } = connection;
    use(undefined);
    try {
      store.flush();
    } catch (error) {
      log.error(`d${domain} ${vdev}: ${String(error)}`);
    }
    grants.release();
    for (const page of pages) context.unmapGrant(page);
    context.close(port);
  }

  /** Every request that is there, each to its end. */
  function serve(own: Connection): void {
    if (own.broken) return;
    const { ring, grants, port } = own;
    const target = {
      context,
      store,
      grants,
      refused: (reason: string) => log.debug(`d${domain} ${vdev}: ${reason}`),
    };
    let notify = false;
    do {
      for (let slot = ring.next(); slot !== undefined; slot = ring.next()) {
        if (slot === 'overflow') {
          own.broken = true;
          log.warn(
            `d${domain} ${vdev}: the ring claims more requests than it holds; it is not served any more`,
          );
          break;
        }
        ring.respond(execute(target, slot));
      }
      notify = ring.publish() || notify;
    } while (!own.broken && ring.arm());
    if (notify) context.notify(port);
  }

  /** Maps the ring's pages. @returns why that cannot be done */
  function mapPages(): GrantMapping[] | string {
    const order = server.read(`${front}/ring-page-order`);
    const pagesOrder = order === undefined ? 0 : decimal(order);
    if (pagesOrder === undefined || pagesOrder > MAX_RING_PAGE_ORDER)
      return `ring-page-order ${String(order)} is not a number up to ${MAX_RING_PAGE_ORDER}`;
    const names =
      order === undefined ? ['ring-ref'] : Array.from({ length: 2 ** pagesOrder }, (_, i) => `ring-ref${i}`);
    const pages: GrantMapping[] = [];
    for (const name of names) {
      const ref = decimal(server.read(`${front}/${name}`));
      const granted = ref === undefined ? undefined : context.mapGrant(domain, grantRef(ref), true);
      if (granted?.ok === true) {
        pages.push(granted.mapping);
        continue;
      }
      for (const page of pages) context.unmapGrant(page);
      return granted === undefined
        ? `${name} is not a number`
        : `${name}: grant ${String(ref)}: ${granted.reason}`;
    }
    return pages;
  }

  /** @returns the connection, or why there is none */
  function connect(): Connection | string {
    const port = decimal(server.read(`${front}/event-channel`));
    if (port === undefined) return 'event-channel is not a number';
    const protocol = server.read(`${front}/protocol`) ?? ABI;
    if (protocol !== ABI) return `protocol ${JSON.stringify(protocol)} is not ${ABI}`;
    const queues = server.read(`${front}/multi-queue-num-queues`) ?? '1';
    if (queues !== '1') return `${JSON.stringify(queues)} queues; one is offered`;
    const pages = mapPages();
    if (typeof pages === 'string') return pages;
    const own = context.bindInterdomain(domain, eventPort(port));
    if (own === undefined) {
      for (const page of pages) context.unmapGrant(page);
      return `port ${port} is not unbound for domain 0`;
    }
    const persist = server.read(`${front}/feature-persistent`) === '1';
    return {
      pages,
      port: own,
      persist,
      ring: requestRing(context, pages),
      grants: grantPool(context, domain, persist),
      broken: false,
    };
  }

  function close(): void {
    release();
    if (state() !== XenbusState.Closed) {
      enter(XenbusState.Closing);
      enter(XenbusState.Closed);
    }
  }

  function begin(): void {
    if (connection !== undefined) return;
    const own = connect();
    if (typeof own === 'string') {
      log.warn(`d${domain} ${vdev}: cannot connect: ${own}`);
      close();
      return;
    }
    use(own);
    tell({
      sectors: store.sectors,
      info: (cdrom ? VDISK.CDROM : 0) | (store.readOnly ? VDISK.READONLY : 0),
      'sector-size': SECTOR_SIZE,
      'physical-sector-size': SECTOR_SIZE,
    });
    enter(XenbusState.Connected);
    // Requests may be there already.
    serve(own);
  }

  function prepare(): void {
    release();
    tell({
      'feature-flush-cache': 1,
      'feature-barrier': 1,
      'feature-persistent': 1,
      'feature-max-indirect-segments': MAX_INDIRECT_SEGMENTS,
      'max-ring-page-order': MAX_RING_PAGE_ORDER,
      ...(overlay === undefined
        ? {}
        : {
            'feature-discard': 1,
            'discard-granularity': SECTOR_SIZE,
            'discard-alignment': 0,
            'discard-secure': 0,
          }),
    });
    enter(XenbusState.InitWait);
  }

  /** What each state of the front end asks of us; Closed, none and nonsense: to close. */
  const reactions: Readonly<Record<number, () => void>> = {
    // A front end that begins, perhaps again after another was there.
    [XenbusState.Initialising]: prepare,
    [XenbusState.InitWait]: () => undefined,
    [XenbusState.Initialised]: begin,
    // Some go there by themselves.
    [XenbusState.Connected]: begin,
    [XenbusState.Closing]: () => {
      release();
      enter(XenbusState.Closing);
    },
  };
  const follow = (): void => {
    const theirs = decimal(server.read(`${front}/state`));
    (reactions[theirs ?? XenbusState.Closed] ?? close)();
  };

  const owned = [...guestOwned(domain), { domain: 0, may: MAY.READ }];
  const told = readOnly(domain);
  // What xl writes (libxl_disk.c's nodes, as xenstore-ls shows them).
  const fronts: Readonly<Record<string, string>> = {
    '': '',
    '/backend': back,
    '/backend-id': '0',
    '/state': String(XenbusState.Initialising),
    '/virtual-device': String(number),
    '/device-type': cdrom ? 'cdrom' : 'disk',
  };
  const backs: Readonly<Record<string, string>> = {
    '': '',
    '/frontend': front,
    '/frontend-id': String(domain),
    '/online': '1',
    '/removable': cdrom ? '1' : '0',
    '/bootable': '1',
    '/state': String(XenbusState.Initialising),
    '/dev': vdev,
    '/type': 'qdisk',
    '/mode': store.readOnly ? 'r' : 'w',
    '/device-type': cdrom ? 'cdrom' : 'disk',
    '/discard-enable': store.readOnly ? '0' : '1',
  };
  for (const [name, value] of Object.entries(fronts)) server.make(`${front}${name}`, value, owned);
  for (const [name, value] of Object.entries(backs)) server.make(`${back}${name}`, value, told);
  server.watch(`${front}/state`, follow);
  follow();

  return {
    domain,
    vdev,
    release: close,
    save: () => ({
      domain,
      vdev,
      connection: connection && {
        pages: connection.pages,
        port: connection.port,
        indices: connection.ring.indices(),
        persist: connection.persist,
        persistent: connection.grants.persistent(),
        broken: connection.broken,
      },
      overlay: overlay?.save(),
    }),
    restore({ connection: saved, overlay: written }) {
      use(
        saved && {
          pages: saved.pages,
          port: saved.port,
          persist: saved.persist,
          ring: requestRing(context, saved.pages, saved.indices),
          grants: grantPool(context, domain, saved.persist, saved.persistent),
          broken: saved.broken,
        },
      );
      try {
        if (written !== undefined) overlay?.restore(written);
      } catch (error) {
        log.error(`d${domain} ${vdev}: the image does not follow to the mark: ${String(error)}`);
      }
    },
  };
}

/** @param disksOf the disks a new domain comes with */
export function createBlock(
  context: BackendContext,
  server: XenstoreCore,
  disksOf: (connections: DomainConnections) => readonly Disk[],
  log: Log,
): BlockDevice {
  const instances: Instance[] = [];
  return {
    attach(connections) {
      for (const disk of disksOf(connections))
        instances.push(createInstance(context, server, connections.domain, disk, log));
    },
    detach(domain) {
      for (const instance of instances) if (instance.domain === domain) instance.release();
    },
    save: () => instances.map((i) => i.save()),
    restore(states) {
      for (const instance of instances) {
        const state = states.find((s) => s.domain === instance.domain && s.vdev === instance.vdev);
        if (state !== undefined) instance.restore(state);
      }
    },
  };
}
