/**
 * The network back end (vif): an interface's handshake over xenstore, its two rings, and what its front end takes.
 * netif.h is the protocol; where it leaves room we do as Linux's back end does.
 */
import type { DomainId } from '../../base/branded';
import type { Log } from '../../base/log';
import type { BackendContext, BackendPort, BackendTimer } from '../../hypervisor/backend';
import { decoderOf, requestRing, type RequestRing, type RingIndices, type RingView } from '../ring';
import {
  refuse,
  splitBackend,
  XenbusState,
  type FrontEnd,
  type Link,
  type SplitBackend,
  type SplitView,
} from '../xenbus';
import type { XenstoreCore } from '../xenstore/server';
import { BROADCAST, isGroup, LONGEST_FRAME, macAt, packetIn, type Frame } from './frame';
import { MCAST_MAX, netif_rx_request, netif_tx_request, RX_SLOT, TX_SLOT } from './netif';
import { complete, segments } from './offload';
import { receiveAll } from './receive';
import { Fatal, transmitAll } from './transmit';

export interface Vif {
  readonly mac: string;
  readonly bridge: string;
  /** What the domain's configuration says that its address is. */
  readonly ip?: string;
}

/** What a front end takes of a packet that is not finished (netif.h). */
interface Takes {
  readonly sg: boolean;
  readonly gsoV4: boolean;
  readonly gsoV6: boolean;
  readonly blankV4: boolean;
  readonly blankV6: boolean;
  /** It says when there are new pages in its receive ring. */
  readonly rxNotify: boolean;
  /** Only those multicasts that it asked for. */
  readonly filter: boolean;
}

export interface VifState {
  readonly domain: number;
  readonly id: number;
  readonly connection:
    | {
        readonly link: Link;
        readonly transmit: RingIndices;
        readonly receive: RingIndices;
        readonly takes: Takes;
        readonly multicast: readonly string[];
        /** Frames that wait for pages. */
        readonly queue: readonly Frame[];
        readonly pollAt: bigint | undefined;
      }
    | undefined;
  readonly counters: Counters;
}

/** Frames, from the guest's point of view. */
interface Counters {
  readonly sent: number;
  readonly received: number;
  readonly dropped: number;
}

/** An interface for people. */
export interface VifView extends SplitView {
  readonly mac: string;
  readonly bridge: string;
  readonly counters: Counters;
  /** Frames that wait for pages of the guest's. */
  readonly queued: number;
  /** Transmit and receive. */
  readonly rings: readonly RingView[];
}

interface Connection {
  readonly transmit: RequestRing;
  readonly receive: RequestRing;
  readonly txPort: BackendPort;
  readonly rxPort: BackendPort;
  readonly takes: Takes;
  readonly multicast: Set<string>;
  readonly queue: Frame[];
  pollAt: bigint | undefined;
}

export interface VifInstance {
  readonly domain: DomainId;
  readonly id: number;
  deliver(frame: Frame): void;
  end(): void;
  save(): VifState;
  restore(state: VifState): void;
  view(): VifView;
}

/** Frames that wait for a guest's pages; what comes beyond that is lost, as on a wire. */
const MOST_QUEUED = 512;
/** How often the receive ring of a front end is looked at that does not say when there is something in it. */
const POLL = 30_000_000n;

export function createVif(
  context: BackendContext,
  server: XenstoreCore,
  domain: DomainId,
  id: number,
  vif: Vif,
  send: (frame: Frame) => void,
  log: Log,
): VifInstance {
  let counters: Counters = { sent: 0, received: 0, dropped: 0 };
  const count = (what: keyof Counters): void => {
    counters = { ...counters, [what]: counters[what] + 1 };
  };
  const dropped = (reason: string): void => {
    count('dropped');
    log.debug(`d${domain} vif ${id}: ${reason}`);
  };

  /** Runs what may find out that the front end cannot be believed. */
  function guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof Fatal)) throw error;
      backend.fail(error.message);
    }
  }

  function takeFromGuest({ transmit, txPort, multicast }: Connection): void {
    const notify = transmitAll({
      context,
      domain,
      ring: transmit,
      send(frame) {
        count('sent');
        context.observer?.ring(domain, `vif/${id}`, 'tx', { length: BigInt(frame.bytes.length) });
        send(frame);
      },
      multicast(mac, add) {
        if (!add) {
          multicast.delete(mac);
          return true;
        }
        if (!multicast.has(mac) && multicast.size >= MCAST_MAX) return false;
        multicast.add(mac);
        return true;
      },
      dropped,
    });
    // A frame may have come back to this very guest and closed it.
    if (notify && backend.connection() !== undefined) context.notify(txPort);
  }

  function giveToGuest(own: Connection): void {
    const before = own.queue.length;
    const notify = receiveAll(
      {
        context,
        domain,
        ring: own.receive,
        dropped,
        given: ({ bytes }) =>
          context.observer?.ring(domain, `vif/${id}`, 'rx', { length: BigInt(bytes.length) }),
      },
      own.queue,
    );
    for (let n = own.queue.length; n < before; n++) count('received');
    own.pollAt = own.queue.length > 0 && !own.takes.rxNotify ? context.now() + POLL : undefined;
    timer.set(own.pollAt);
    if (notify) context.notify(own.rxPort);
  }

  const timer: BackendTimer = context.timer(() => {
    const own = backend.connection();
    if (own !== undefined) guarded(() => giveToGuest(own));
  });

  /** The frame as this front end takes it. */
  function adapted(frame: Frame, { sg, gsoV4, gsoV6, blankV4, blankV6 }: Takes): Frame[] {
    const v6 = packetIn(frame.bytes)?.version === 6;
    const whole = frame.gso === undefined || (sg && (v6 ? gsoV6 : gsoV4));
    return (whole ? [frame] : segments(frame)).map((one) =>
      one.gso !== undefined || (v6 ? blankV6 : blankV4) ? one : complete(one),
    );
  }

  function deliver(frame: Frame): void {
    const own = backend.connection();
    if (own === undefined) return;
    const { takes, multicast, queue } = own;
    const to = macAt(frame.bytes, 0);
    if (takes.filter && isGroup(to) && to !== BROADCAST && !multicast.has(to)) return;
    for (const one of adapted(frame, takes)) {
      if (!takes.sg && one.bytes.length > LONGEST_FRAME) dropped(`${one.bytes.length} bytes are too long`);
      else if (queue.length >= MOST_QUEUED) dropped('the guest does not take its packets');
      else queue.push(one);
    }
    guarded(() => giveToGuest(own));
  }

  function connect(front: FrontEnd): Connection {
    const flag = (name: string): boolean => (front.read(name) ?? '0') !== '0';
    if (!flag('request-rx-copy')) throw refuse('request-rx-copy is not set; pages are not flipped');
    const queues = front.read('multi-queue-num-queues') ?? '1';
    if (queues !== '1') throw refuse(`${JSON.stringify(queues)} queues; one is offered`);
    const transmit = requestRing(context, [front.page('tx-ring-ref')], TX_SLOT);
    const receive = requestRing(context, [front.page('rx-ring-ref')], RX_SLOT);
    const split = front.read('event-channel-tx') !== undefined;
    const txPort = front.port(split ? 'event-channel-tx' : 'event-channel');
    const rxPort = split ? front.port('event-channel-rx') : txPort;
    return {
      transmit,
      receive,
      txPort,
      rxPort,
      takes: {
        sg: flag('feature-sg'),
        gsoV4: flag('feature-gso-tcpv4'),
        gsoV6: flag('feature-gso-tcpv6'),
        blankV4: !flag('feature-no-csum-offload'),
        blankV6: flag('feature-ipv6-csum-offload'),
        rxNotify: flag('feature-rx-notify'),
        filter: flag('request-multicast-control'),
      },
      multicast: new Set(),
      queue: [],
      pollAt: undefined,
    };
  }

  const backend: SplitBackend<Connection> = splitBackend<Connection>(
    context,
    server,
    {
      domain,
      type: 'vif',
      id,
      label: `vif ${id}`,
      // What xl and its hotplug script write.
      front: { handle: id, mac: vif.mac },
      back: {
        script: '/etc/xen/scripts/vif-bridge',
        mac: vif.mac,
        bridge: vif.bridge,
        ...(vif.ip === undefined ? {} : { ip: vif.ip }),
        handle: id,
        type: 'vif',
        'hotplug-status': 'connected',
      },
      // No feature-ctrl-ring: there is no hashing to be set up where there is one queue.
      offer: () => ({
        'feature-sg': 1,
        'feature-gso-tcpv4': 1,
        'feature-gso-tcpv6': 1,
        'feature-ipv6-csum-offload': 1,
        'feature-rx-copy': 1,
        'feature-rx-flip': 0,
        'feature-multicast-control': 1,
        'feature-split-event-channels': 1,
        'multi-queue-max-queues': 1,
      }),
      // At Initialised, Linux's back end waits still.
      ready: [XenbusState.Connected],
      connect,
      serve: (own) =>
        guarded(() => {
          takeFromGuest(own);
          if (backend.connection() === own) giveToGuest(own);
        }),
      release: () => timer.set(undefined),
    },
    log,
  );

  return {
    domain,
    id,
    deliver,
    end: () => backend.end(),
    save() {
      const own = backend.connection();
      const link = backend.link();
      return {
        domain,
        id,
        connection: own &&
          link && {
            link,
            transmit: own.transmit.indices(),
            receive: own.receive.indices(),
            takes: own.takes,
            multicast: [...own.multicast],
            queue: [...own.queue],
            pollAt: own.pollAt,
          },
        counters,
      };
    },
    restore({ connection: saved, counters: counted }) {
      counters = counted;
      timer.set(saved?.pollAt);
      if (saved === undefined) {
        backend.restore(undefined);
        return;
      }
      backend.restore(saved.link, ({ pages, ports: [txPort, rxPort] }) => {
        if (txPort === undefined) throw new Error('a saved interface has a port');
        return {
          transmit: requestRing(context, pages.slice(0, 1), TX_SLOT, saved.transmit),
          receive: requestRing(context, pages.slice(1), RX_SLOT, saved.receive),
          txPort,
          rxPort: rxPort ?? txPort,
          takes: saved.takes,
          multicast: new Set(saved.multicast),
          queue: [...saved.queue],
          pollAt: saved.pollAt,
        };
      });
    },
    view() {
      const own = backend.connection();
      return {
        ...backend.view(),
        mac: vif.mac,
        bridge: vif.bridge,
        counters,
        queued: own?.queue.length ?? 0,
        rings:
          own === undefined
            ? []
            : [own.transmit.view(decoderOf(netif_tx_request)), own.receive.view(decoderOf(netif_rx_request))],
      };
    },
  };
}
