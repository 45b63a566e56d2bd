/**
 * A domain's connection to xenstore: the ring page and its event channel (docs/misc/xenstore-ring.txt). Bytes in
 * make requests, messages make bytes out; nothing the guest writes there can do more than end its connection.
 */
import { GNTTAB_RESERVED_XENSTORE } from '../../abi/grant';
import { eventPort, type DomainId, type Mfn } from '../../base/branded';
import { latin1 } from '../../base/bytes';
import type { Log } from '../../base/log';
import type { BackendContext, BackendPort, DomainConnections } from '../../hypervisor/backend';
import { mapRing, unmapRing, ringPut, ringTake, type RingFault, type RingPage } from '../byte-ring';
import type { Client, Message, XenstoreCore } from './server';
import {
  quota,
  requestRing,
  responseRing,
  XENSTORE_CONNECTION,
  XENSTORE_ERROR,
  XENSTORE_PAYLOAD_MAX,
  XENSTORE_SERVER_FEATURE,
  xenstore_domain_interface,
  XS,
  xsd_sockmsg,
} from './wire';

const { offset } = xenstore_domain_interface;
const HEADER = xsd_sockmsg.size;

export interface ChannelState {
  readonly domain: number;
  /** Its ring, and our end of its channel. */
  readonly frame: Mfn;
  readonly port: BackendPort;
  /** Bytes of a request that is not whole yet. */
  readonly partial: Uint8Array;
  /** Bytes of the first message in the queue that are in the ring already. */
  readonly sent: number;
  readonly ignored: boolean;
}

export interface Channel {
  readonly domain: number;
  readonly client: Client;
  /** Looks at the ring: takes requests, has them processed, puts out what there is. */
  service(): void;
  /** Puts out what there is. */
  flush(): void;
  /** Ends the connection; the next begins with `open`. */
  close(): void;
  open(port: BackendPort): void;
  save(): ChannelState;
  restore(state: ChannelState): void;
}

function encode(message: Message): Uint8Array {
  const bytes = new Uint8Array(HEADER + message.payload.length);
  const { type, req_id, tx_id, payload } = message;
  xsd_sockmsg.write(new DataView(bytes.buffer), 0, { type, req_id, tx_id, len: payload.length });
  for (let i = 0; i < payload.length; i++) bytes[HEADER + i] = payload.charCodeAt(i);
  return bytes;
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

const NOTHING = new Uint8Array(0);
/** No frame of any machine: nothing there until a ring is. */
const NO_FRAME = -1 as Mfn;

/** @param connections absent for a domain that is there already: ring and channel come with `restore` */
export function createChannel(
  context: BackendContext,
  server: XenstoreCore,
  domain: DomainId,
  connections: Pick<DomainConnections, 'storePort'> | undefined,
  log: Log,
): Channel {
  let page: RingPage = { context, frame: NO_FRAME };
  let storePort: BackendPort = eventPort(0);
  let listener: { dispose(): void } | undefined;
  const client = server.introduce(domain);
  let partial: Uint8Array = NOTHING;
  let sent = 0;
  /** After an error: the connection is dead until the guest asks for another. */
  let ignored = false;

  function use(frame: Mfn, port: BackendPort): void {
    page = { context, frame };
    if (port === storePort) return;
    storePort = port;
    listener?.dispose();
    listener = context.onEvent(port, service);
  }

  /** A new ring: what the server can do is written into it. */
  function open(port: BackendPort): void {
    const { frame } = mapRing(context, domain, GNTTAB_RESERVED_XENSTORE);
    use(frame, port);
    context.writeU32(
      frame,
      offset.server_features,
      XENSTORE_SERVER_FEATURE.RECONNECTION | XENSTORE_SERVER_FEATURE.ERROR,
    );
    context.writeU32(frame, offset.connection, XENSTORE_CONNECTION.CONNECTED);
    context.writeU32(frame, offset.error, XENSTORE_ERROR.NONE);
  }

  function forget(): void {
    server.reset(client);
    partial = NOTHING;
    sent = 0;
  }

  function fail(code: number, why: string): void {
    log.warn(`d${domain}: ${why}; its connection to xenstore ends`);
    forget();
    ignored = true;
    if (context.frame(page.frame) !== undefined) context.writeU32(page.frame, offset.error, code);
  }

  function failRing(ring: string, fault: RingFault): void {
    if (fault === 'frame') fail(XENSTORE_ERROR.COMM, 'its xenstore page is gone');
    else fail(XENSTORE_ERROR.RINGIDX, `the indices of its xenstore ${ring} ring are impossible`);
  }

  const alive = (): boolean => !ignored;
  const consumed = (): number | undefined => context.frame(page.frame)?.view.getUint32(offset.req_cons, true);

  /** @returns whether bytes went out */
  function drain(): boolean {
    let moved = false;
    for (let message = client.queue[0]; message !== undefined; message = client.queue[0]) {
      const bytes = encode(message);
      const put = ringPut(page, responseRing, bytes.subarray(sent));
      if (typeof put === 'string') {
        failRing('response', put);
        break;
      }
      moved ||= put > 0;
      sent += put;
      if (sent < bytes.length) break;
      sent = 0;
      server.sent(client);
    }
    return moved;
  }

  /** A client that does not take its answers is not asked for more questions. */
  const mayAsk = (): boolean =>
    client.memory < quota.memory &&
    client.queue.reduce((n, m) => (m.type === XS.WATCH_EVENT ? n : n + 1), 0) < quota.outstanding;

  /** Takes one request, or the part of it that is there. @returns whether there may be another */
  function takeRequest(): boolean {
    const header = (): number => new DataView(partial.buffer, partial.byteOffset).getUint32(12, true);
    const wanted = partial.length < HEADER ? HEADER : HEADER + header();
    const taken = ringTake(page, requestRing, wanted - partial.length);
    if (typeof taken === 'string') {
      failRing('request', taken);
      return false;
    }
    partial = partial.length === 0 ? taken : join(partial, taken);
    if (partial.length < HEADER) return false;
    if (header() > XENSTORE_PAYLOAD_MAX) {
      fail(XENSTORE_ERROR.PROTO, `it sent a request of ${header()} bytes`);
      return false;
    }
    if (partial.length < HEADER + header()) return taken.length > 0;
    const whole = partial;
    partial = NOTHING;
    const { type, req_id, tx_id } = xsd_sockmsg.read(new DataView(whole.buffer, whole.byteOffset), 0);
    server.process(client, { type, req_id, tx_id }, latin1(whole.subarray(HEADER)));
    return true;
  }

  function service(): void {
    const { frame } = page;
    const view = context.frame(frame)?.view;
    if (view?.getUint32(offset.connection, true) === XENSTORE_CONNECTION.RECONNECT) {
      forget();
      ignored = false;
      for (const index of [offset.req_cons, offset.req_prod, offset.rsp_cons, offset.rsp_prod]) {
        context.writeU32(frame, index, 0);
      }
      context.writeU32(frame, offset.error, XENSTORE_ERROR.NONE);
      context.writeU32(frame, offset.connection, XENSTORE_CONNECTION.CONNECTED);
      context.notify(storePort);
      return;
    }
    const before = consumed();
    flush();
    // The ring holds 1024 bytes and nobody fills it meanwhile: this ends.
    while (alive() && mayAsk() && takeRequest()) flush();
    // Room in the ring is news, too.
    if (alive() && consumed() !== before) context.notify(storePort);
  }

  function flush(): void {
    if (alive() && drain()) context.notify(storePort);
  }

  if (connections !== undefined) open(connections.storePort);

  return {
    domain,
    client,
    service,
    flush,
    close() {
      forget();
      ignored = true;
      unmapRing(page, domain, GNTTAB_RESERVED_XENSTORE);
      context.close(storePort);
    },
    open(port) {
      ignored = false;
      open(port);
    },
    save: () => ({ domain, frame: page.frame, port: storePort, partial, sent, ignored }),
    restore(state) {
      use(state.frame, state.port);
      ({ partial, sent, ignored } = state);
    },
  };
}
