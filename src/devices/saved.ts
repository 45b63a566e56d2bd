/**
 * What the back ends' state is, name by name: what a saved machine's file is held to. A change here, or in what a
 * name means, is a new DEVICES_VERSION.
 */
import {
  bool,
  bytes,
  count,
  i64,
  kindOf,
  list,
  maybe,
  oneOf,
  optional,
  pair,
  record,
  text,
  u16,
  u32,
  u8,
  type Schema,
} from '../base/schema';
import type { GrantMapping } from '../hypervisor/backend';
import type { DiskState } from './block';
import type { OverlayState } from './block/overlay';
import type { ConsoleState } from './console';
import type { EchoState } from './echo';
import type { DevicesState } from './index';
import type { NetState } from './net';
import type { Learned } from './net/bridge';
import type { Frame } from './net/frame';
import type { GatewayState } from './net/gateway';
import type { TcpState } from './net/tcp';
import type { VifState } from './net/vif';
import type { RingIndices } from './ring';
import type { Link } from './xenbus';
import type { XenstoreState } from './xenstore';
import type { ChannelState } from './xenstore/channel';
import type { Permission } from './xenstore/permissions';
import type { Watch } from './xenstore/requests';
import type { ClientState, Message, ServerState } from './xenstore/server';
import type { Accessed, Node, StoreState } from './xenstore/store';

export const DEVICES_VERSION = 2;

const mapping = record<GrantMapping>({ domain: u16, ref: u32, mfn: u32, writable: bool });

const link = record<Link>({ pages: list(mapping), ports: list(u32) });

const node = record<Node>({
  value: text,
  permissions: list(record<Permission>({ domain: u16, may: u8, ignored: optional(oneOf<true>(true)) })),
  children: list(text),
  generation: count,
});

const accessed = record<Accessed>({
  base: maybe(node),
  current: maybe(node),
  modified: bool,
  fire: maybe(oneOf('exact', 'above')),
});

const client = record<ClientState>({
  domain: u16,
  memory: count,
  watches: list(record<Watch>({ path: text, token: text, relative: bool })),
  nextTransaction: u32,
  queue: list(record<Message>({ type: u32, req_id: u32, tx_id: u32, payload: text })),
  transactions: list(
    record<ClientState['transactions'][number]>({
      id: u32,
      accessed: list(pair(text, accessed)),
      owned: list(
        pair(
          u16,
          kindOf<number>('a number', (v) => Number.isSafeInteger(v)),
        ),
      ),
      created: bool,
      failed: bool,
      memory: count,
    }),
  ),
});

const xenstore = record<XenstoreState>({
  server: record<ServerState>({
    store: record<StoreState>({ generation: count, nodes: list(pair(text, node)) }),
    clients: list(client),
  }),
  channels: list(
    record<ChannelState>({
      domain: u16,
      frame: u32,
      port: u32,
      partial: bytes(),
      sent: count,
      ignored: bool,
    }),
  ),
});

const indices = record<RingIndices>({ taken: u32, given: u32 });

const BLOCK = 4096;
const disk = record<DiskState>({
  domain: u16,
  vdev: text,
  sectors: count,
  connection: maybe(
    record<NonNullable<DiskState['connection']>>({
      link,
      indices,
      persist: bool,
      persistent: list(mapping),
      broken: bool,
    }),
  ),
  overlay: maybe(record<OverlayState>({ root: list(maybe(list(maybe(bytes(BLOCK)), 512))), blocks: count })),
});

const station = { mac: text, ip: u32 };
type Takes = NonNullable<VifState['connection']>['takes'];

const net = record<NetState>({
  vifs: list(
    record<VifState>({
      domain: u16,
      id: count,
      connection: maybe(
        record<NonNullable<VifState['connection']>>({
          link,
          transmit: indices,
          receive: indices,
          takes: record<Takes>({
            sg: bool,
            gsoV4: bool,
            gsoV6: bool,
            blankV4: bool,
            blankV6: bool,
            rxNotify: bool,
            filter: bool,
          }),
          multicast: list(text),
          queue: list(
            record<Frame>({
              bytes: bytes(),
              checksum: oneOf('blank', 'valid', 'unknown'),
              gso: optional(u16),
            }),
          ),
          pollAt: maybe(i64),
        }),
      ),
      counters: record<VifState['counters']>({ sent: count, received: count, dropped: count }),
    }),
  ),
  bridges: list(
    record<NetState['bridges'][number]>({
      name: text,
      learned: list(record<Learned>({ mac: text, port: text, at: i64 })),
      gateway: record<GatewayState>({
        heard: list(pair(u32, text)),
        given: list(pair(text, u32)),
        connections: list(
          record<TcpState>({
            connection: count,
            domain: u16,
            guest: record<TcpState['guest']>(station),
            guestPort: u16,
            ownPort: u16,
            phase: oneOf('connecting', 'open'),
            unacked: u32,
            next: u32,
            highest: u32,
            window: u16,
            mss: u16,
            unsent: bytes(),
            fromHost: count,
            acknowledged: count,
            hostEnded: bool,
            expected: u32,
            fromGuest: count,
            taken: count,
            guestEnded: bool,
            tries: count,
            duplicates: count,
            due: maybe(i64),
          }),
        ),
      }),
    }),
  ),
});

export const devicesSchema: Schema<DevicesState> = record<DevicesState>({
  console: list(
    record<ConsoleState>({
      domain: u16,
      console: count,
      waiting: bytes(),
      wire: maybe(record<NonNullable<ConsoleState['wire']>>({ frame: u32, port: u32 })),
      link: maybe(link),
    }),
  ),
  xenstore,
  echo: list(record<EchoState>({ domain: u16, link: maybe(link), answered: u32 })),
  block: list(disk),
  net,
});
