/**
 * The block back end (vbd): a disk's handshake over xenstore, its ring and its store. blkif.h is the protocol;
 * where it leaves room we do as Linux's back end does, since that is what front ends are tested against.
 */
import type { DomainId } from '../../base/branded';
import type { Log } from '../../base/log';
import type { BackendContext, DomainConnections, GrantMapping } from '../../hypervisor/backend';
import {
  decoderOf,
  requestRing,
  type RequestRing,
  type RingIndices,
  type RingView,
  type SlotDecoder,
} from '../ring';
import {
  decimal,
  refuse,
  splitBackend,
  XenbusState,
  type FrontEnd,
  type Link,
  type SplitView,
} from '../xenbus';
import type { XenstoreCore } from '../xenstore/server';
import {
  BLKIF_OP,
  blkif_request,
  blkif_request_discard,
  blkif_request_indirect,
  blkif_response,
  MAX_INDIRECT_SEGMENTS,
  MAX_RING_PAGE_ORDER,
  SECTOR_SIZE,
  SLOT_SIZE,
  VDISK,
} from './blkif';
import { grantPool, type GrantPool } from './grants';
import { overlayStore, type OverlayState, type OverlayStore } from './overlay';
import { execute } from './requests';
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

/** What happens to a disk while its domain runs. */
export type DiskInput = { readonly domain: number; readonly vdev: string } & (
  | { readonly change: 'unplug' }
  | { readonly change: 'plug' }
  /** 512 bytes each; a disk only grows. */
  | { readonly change: 'resize'; readonly sectors: number }
);

interface ConnectionState {
  readonly link: Link;
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
  /** Its size by now. */
  readonly sectors: number;
  readonly connection: ConnectionState | undefined;
  /** Absent for a read-only disk. */
  readonly overlay: OverlayState | undefined;
}

interface Connection {
  readonly persist: boolean;
  readonly ring: RequestRing;
  readonly grants: GrantPool;
  broken: boolean;
}

interface Instance {
  readonly domain: DomainId;
  readonly vdev: string;
  end(): void;
  input(input: DiskInput): void;
  save(): DiskState;
  restore(state: DiskState): void;
  view(): DiskView;
}

/** A disk for people. */
export interface DiskView extends SplitView {
  readonly vdev: string;
  readonly image: string;
  readonly access: DiskAccess;
  readonly sectors: number;
  readonly plugged: boolean;
  readonly rings: readonly RingView[];
}

export interface BlockDevice {
  attach(connections: DomainConnections): void;
  detach(domain: DomainId): void;
  input(input: DiskInput): void;
  save(): readonly DiskState[];
  restore(states: readonly DiskState[]): void;
  inspect(): readonly DiskView[];
}

const ABI = 'x86_64-abi';

const decoders: Readonly<Record<number, SlotDecoder>> = {
  [BLKIF_OP.DISCARD]: decoderOf(blkif_request_discard),
  [BLKIF_OP.INDIRECT]: decoderOf(blkif_request_indirect),
};
const directRequest = decoderOf(blkif_request);
/** The operation is the slot's first byte, whichever kind of request it is. */
const decodeRequest: SlotDecoder = (name, slot) => (decoders[slot.getUint8(0)] ?? directRequest)(name, slot);
const operations: Readonly<Record<number, string>> = {
  [BLKIF_OP.READ]: 'read',
  [BLKIF_OP.WRITE]: 'write',
  [BLKIF_OP.WRITE_BARRIER]: 'write',
  [BLKIF_OP.FLUSH_DISKCACHE]: 'flush',
  [BLKIF_OP.DISCARD]: 'discard',
};
/** What a request asks for, and where; nothing of it is checked. */
function requestIn(slot: Uint8Array): [request: string, details: Readonly<Record<string, bigint>>] {
  const view = new DataView(slot.buffer, slot.byteOffset, slot.byteLength);
  const [operation = 0, inner = 0] = slot;
  const indirect = operation === BLKIF_OP.INDIRECT;
  const { offset } = indirect ? blkif_request_indirect : blkif_request;
  return [
    operations[indirect ? inner : operation] ?? 'unknown',
    { sector: view.getBigUint64(offset.sector_number, true) },
  ];
}
/** Different ones in the log about a disk whose image fails. */
const MOST_COMPLAINTS = 16;

function createInstance(
  context: BackendContext,
  server: XenstoreCore,
  domain: DomainId,
  disk: Disk,
  log: Log,
): Instance {
  const { vdev, access, cdrom } = disk;
  const number = deviceNumber(vdev);
  const overlay: OverlayStore | undefined =
    access === 'read-only'
      ? undefined
      : overlayStore(disk.store, { writeThrough: access === 'write-through' });
  const store: BlockStore & { discard?(sector: number, count: number): void } = overlay ?? {
    ...disk.store,
    readOnly: true,
    flush: () => undefined,
  };

  function release({ grants }: Connection): void {
    try {
      store.flush();
    } catch (error) {
      log.error(`d${domain} ${vdev}: ${String(error)}`);
    }
    grants.release();
  }

  const complaints = new Set<string>();
  /** Each once, and not without end: a guest can try as often as it likes. */
  function complain(reason: string): void {
    if (complaints.size >= MOST_COMPLAINTS || complaints.has(reason)) return;
    complaints.add(reason);
    log.warn(`d${domain} ${vdev}: ${disk.name}: ${reason}`);
  }

  /** Every request that is there, each to its end. */
  function serve(own: Connection): void {
    if (own.broken) return;
    const { ring, grants } = own;
    const target = {
      context,
      store,
      grants,
      refused: (reason: string) => log.debug(`d${domain} ${vdev}: ${reason}`),
      failed: complain,
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
        context.observer?.ring(domain, `vbd/${number}`, ...requestIn(slot));
        const response = new Uint8Array(blkif_response.size);
        blkif_response.write(new DataView(response.buffer), 0, execute(target, slot));
        ring.respond(response);
      }
      notify = ring.publish() || notify;
    } while (!own.broken && ring.arm());
    if (notify) for (const port of backend.link()?.ports ?? []) context.notify(port);
  }

  function mapPages(front: FrontEnd): GrantMapping[] {
    const order = front.read('ring-page-order');
    const pagesOrder = order === undefined ? 0 : decimal(order);
    if (pagesOrder === undefined || pagesOrder > MAX_RING_PAGE_ORDER)
      throw refuse(`ring-page-order ${String(order)} is not a number up to ${MAX_RING_PAGE_ORDER}`);
    return order === undefined
      ? [front.page('ring-ref')]
      : Array.from({ length: 2 ** pagesOrder }, (_, i) => front.page(`ring-ref${i}`));
  }

  function connect(front: FrontEnd): Connection {
    const protocol = front.read('protocol') ?? ABI;
    if (protocol !== ABI) throw refuse(`protocol ${JSON.stringify(protocol)} is not ${ABI}`);
    const queues = front.read('multi-queue-num-queues') ?? '1';
    if (queues !== '1') throw refuse(`${JSON.stringify(queues)} queues; one is offered`);
    const pages = mapPages(front);
    front.port('event-channel');
    const persist = front.read('feature-persistent') === '1';
    return {
      persist,
      ring: requestRing(context, pages, SLOT_SIZE),
      grants: grantPool(context, domain, persist),
      broken: false,
    };
  }

  const backend = splitBackend<Connection>(
    context,
    server,
    {
      domain,
      type: 'vbd',
      id: number,
      label: vdev,
      // What xl writes (libxl_disk.c's nodes, as xenstore-ls shows them).
      front: { 'virtual-device': number, 'device-type': cdrom ? 'cdrom' : 'disk' },
      back: {
        removable: cdrom ? 1 : 0,
        bootable: 1,
        dev: vdev,
        type: 'qdisk',
        mode: store.readOnly ? 'r' : 'w',
        'device-type': cdrom ? 'cdrom' : 'disk',
        'discard-enable': store.readOnly ? 0 : 1,
      },
      offer: () => ({
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
      }),
      // Some go to Connected by themselves.
      ready: [XenbusState.Initialised, XenbusState.Connected],
      connect,
      details: () => ({
        sectors: store.sectors,
        info: (cdrom ? VDISK.CDROM : 0) | (store.readOnly ? VDISK.READONLY : 0),
        'sector-size': SECTOR_SIZE,
        'physical-sector-size': SECTOR_SIZE,
      }),
      serve,
      release,
    },
    log,
  );

  function resize(sectors: number): void {
    if (overlay === undefined || sectors < store.sectors) {
      const why = overlay === undefined ? 'it is read-only' : `it has ${store.sectors} and only grows`;
      log.warn(`d${domain} ${vdev}: not resized to ${sectors} sectors: ${why}`);
      return;
    }
    overlay.grow(sectors);
    if (backend.connection() === undefined) return;
    backend.tell({ sectors });
    backend.nudge();
  }

  return {
    domain,
    vdev,
    end: () => backend.end(),
    input(input) {
      if (input.change === 'resize') resize(input.sectors);
      else backend[input.change]();
    },
    save() {
      const connection = backend.connection();
      const link = backend.link();
      return {
        domain,
        vdev,
        sectors: store.sectors,
        connection: connection &&
          link && {
            link,
            indices: connection.ring.indices(),
            persist: connection.persist,
            persistent: connection.grants.persistent(),
            broken: connection.broken,
          },
        overlay: overlay?.save(),
      };
    },
    view: () => ({
      ...backend.view(),
      vdev,
      image: disk.name,
      access,
      sectors: store.sectors,
      plugged: backend.plugged(),
      rings: [backend.connection()?.ring.view(decodeRequest)].filter((ring) => ring !== undefined),
    }),
    restore({ connection: saved, overlay: written, sectors }) {
      overlay?.grow(sectors);
      if (saved === undefined) backend.restore(undefined);
      else
        backend.restore(saved.link, ({ pages }) => ({
          persist: saved.persist,
          ring: requestRing(context, pages, SLOT_SIZE, saved.indices),
          grants: grantPool(context, domain, saved.persist, saved.persistent),
          broken: saved.broken,
        }));
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
      for (const instance of instances) if (instance.domain === domain) instance.end();
    },
    input(input) {
      instances.find((i) => i.domain === input.domain && i.vdev === input.vdev)?.input(input);
    },
    save: () => instances.map((i) => i.save()),
    inspect: () => instances.map((i) => i.view()),
    restore(states) {
      for (const instance of instances) {
        const state = states.find((s) => s.domain === instance.domain && s.vdev === instance.vdev);
        if (state !== undefined) instance.restore(state);
      }
    },
  };
}
