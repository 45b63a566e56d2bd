// A front end of the network protocol for tests to play, on a fake hypervisor.
import { mfn } from '../../../src/base/branded';
import { createDevices, type BackendSet, type VifConfig } from '../../../src/devices';
import { viewOf } from '../../../src/devices/net/frame';
import {
  netif_extra_gso,
  netif_rx_request,
  netif_rx_response,
  netif_tx_request,
  netif_tx_response,
  NETRXF,
  NETTXF,
  RX_SLOT,
  TX_SLOT,
} from '../../../src/devices/net/netif';
import { ringSlots, sring } from '../../../src/devices/ring';
import { XS } from '../../../src/devices/xenstore/wire';
import {
  collectLog,
  createFakeBackend,
  createGuest,
  type FakeBackend,
  type Guest,
} from '../../support/fake-backend';

export interface NetBench {
  readonly backend: FakeBackend;
  readonly devices: BackendSet;
  readonly lines: string[];
}

/** Domains 1, 2, … with these interfaces. */
export function startNet(...domains: readonly (readonly VifConfig[])[]): NetBench {
  const backend = createFakeBackend();
  const { log, lines } = collectLog();
  const devices = createDevices(backend, log, { vifs: ({ domain }) => domains[domain - 1] ?? [] });
  domains.forEach((_, i) => backend.addDomain(i + 1));
  return { backend, devices, lines };
}

/** What a guest was given. */
export interface Received {
  readonly bytes: Uint8Array;
  readonly flags: number;
  readonly gso?: number;
  readonly slots: number;
}

export interface TxSlot {
  readonly ref?: number;
  readonly offset?: number;
  readonly flags?: number;
  readonly size: number;
}

const PAGE = 4096;
const DATA_REF = 100;
const PAGES = 64;

/** The i-th interface of a domain. */
export class NetFront {
  readonly guest: Guest;
  readonly path: string;
  readonly back: string;
  readonly txPort: number;
  readonly rxPort: number;
  private readonly base: number;
  private tx = new Uint8Array(PAGE);
  private rx = new Uint8Array(PAGE);
  private produced = 0;
  private consumed = 0;
  private offered = 0;
  private taken = 0;
  /** By slot of the receive ring: the page that was offered in it. */
  private pages = new Map<number, number>();
  private nextPage = 0;

  constructor(
    readonly bench: NetBench,
    readonly domain: number,
    readonly id = 0,
  ) {
    this.guest = createGuest(bench.backend, domain);
    this.path = `device/vif/${id}`;
    this.back = `/local/domain/0/backend/vif/${domain}/${id}`;
    this.base = 10_000 * domain + 1000 * id;
    this.txPort = 20 + id * 2;
    this.rxPort = 21 + id * 2;
    for (let i = 0; i < PAGES; i++) this.grant(DATA_REF + i, this.base + 100 + i);
  }

  private grant(ref: number, frame: number, page = new Uint8Array(PAGE)): void {
    this.bench.backend.frames.set(frame, page);
    this.bench.backend.grants.set(`${this.domain}:${ref + 200 * this.id}`, { mfn: mfn(frame) });
  }
  ref(page: number): number {
    return DATA_REF + page + 200 * this.id;
  }
  page(i: number): Uint8Array {
    return this.bench.backend.frames.get(this.base + 100 + i) ?? new Uint8Array(0);
  }

  set(name: string, value: string | number): string {
    return this.guest.ask(XS.WRITE, `${this.path}/${name}\0${value}`);
  }
  node(name: string): string {
    return this.guest.ask(XS.READ, `${this.back}/${name}\0`);
  }
  get state(): string {
    return this.node('state');
  }
  get txHeader(): DataView {
    return viewOf(this.tx);
  }
  get rxHeader(): DataView {
    return viewOf(this.rx);
  }

  /** As netfront does; `nodes` beside the rings', and instead of them. @returns the back end's state */
  connect(nodes: Readonly<Record<string, string | number>> = {}, split = false): string {
    this.tx = new Uint8Array(PAGE);
    this.rx = new Uint8Array(PAGE);
    for (const page of [this.tx, this.rx]) {
      viewOf(page).setUint32(sring.offset.req_event, 1, true);
      viewOf(page).setUint32(sring.offset.rsp_event, 1, true);
    }
    this.produced = this.consumed = this.offered = this.taken = 0;
    this.pages.clear();
    this.grant(8, this.base + 8, this.tx);
    this.grant(9, this.base + 9, this.rx);
    for (const port of [this.txPort, this.rxPort]) this.bench.backend.unbound.add(`${this.domain}:${port}`);
    const all = {
      'tx-ring-ref': 8 + 200 * this.id,
      'rx-ring-ref': 9 + 200 * this.id,
      ...(split
        ? { 'event-channel-tx': this.txPort, 'event-channel-rx': this.rxPort }
        : { 'event-channel': this.txPort }),
      'request-rx-copy': 1,
      'feature-rx-notify': 1,
      ...nodes,
    };
    for (const [name, value] of Object.entries(all)) this.set(name, value);
    this.set('state', 4);
    return this.state;
  }

  kick(port = this.txPort): void {
    this.bench.backend.kick(this.domain, port);
  }

  private txAt(index: number): number {
    return sring.size + (index % ringSlots(1, TX_SLOT)) * TX_SLOT;
  }
  /** A slot as it is into the transmit ring, without telling. */
  putSlot(bytes: Uint8Array): void {
    this.tx.set(bytes, this.txAt(this.produced));
    this.produced = (this.produced + 1) >>> 0;
    this.txHeader.setUint32(sring.offset.req_prod, this.produced, true);
  }
  put({ ref = this.ref(0), offset = 0, flags = 0, size }: TxSlot): void {
    const slot = new Uint8Array(TX_SLOT);
    netif_tx_request.write(viewOf(slot), 0, { gref: ref, offset, flags, id: this.produced & 0xffff, size });
    this.putSlot(slot);
  }
  putGso(size: number, type = 1): void {
    const slot = new Uint8Array(TX_SLOT);
    netif_extra_gso.write(viewOf(slot), 0, {
      type: 1,
      flags: 0,
      size,
      gso_type: type,
      _pad: 0,
      features: 0,
    });
    this.putSlot(slot);
  }

  /** A packet from the first pages. @returns the statuses of its slots */
  send(bytes: Uint8Array, flags = 0, gso?: { size: number; type?: number }): number[] {
    const count = Math.max(1, Math.ceil(bytes.length / PAGE));
    for (let i = 0; i < count; i++) {
      const part = bytes.subarray(i * PAGE, (i + 1) * PAGE);
      this.page(i).set(part);
      this.put({
        ref: this.ref(i),
        size: i === 0 ? bytes.length : part.length,
        flags:
          (i === 0 ? flags | (gso === undefined ? 0 : NETTXF.extra_info) : 0) |
          (i < count - 1 ? NETTXF.more_data : 0),
      });
      if (i === 0 && gso !== undefined) this.putGso(gso.size, gso.type);
    }
    this.kick();
    return this.statuses();
  }

  /** Of the transmit ring's responses since the last look. */
  statuses(): number[] {
    const all: number[] = [];
    while (this.consumed !== this.txHeader.getUint32(sring.offset.rsp_prod, true)) {
      all.push(netif_tx_response.read(this.txHeader, this.txAt(this.consumed)).status);
      this.consumed = (this.consumed + 1) >>> 0;
    }
    this.txHeader.setUint32(sring.offset.rsp_event, this.consumed + 1, true);
    return all;
  }

  private rxAt(index: number): number {
    return sring.size + (index % ringSlots(1, RX_SLOT)) * RX_SLOT;
  }
  /** Offers so many pages to receive into; pages 32 and up, in turn. */
  offer(count: number, kick = true): void {
    for (let i = 0; i < count; i++) {
      const page = 32 + (this.nextPage++ % (PAGES - 32));
      this.pages.set(this.offered, page);
      netif_rx_request.write(this.rxHeader, this.rxAt(this.offered), {
        id: this.offered & 0xffff,
        pad: 0,
        gref: this.ref(page),
      });
      this.offered = (this.offered + 1) >>> 0;
    }
    this.rxHeader.setUint32(sring.offset.req_prod, this.offered, true);
    if (kick) this.kick(this.txPort);
  }

  /** The next slot of the receive ring's responses: where it is, and the page that was offered in it. */
  private nextResponse(): { at: number; page: Uint8Array } {
    const at = this.rxAt(this.taken);
    const page = this.page(this.pages.get(this.taken) ?? 0);
    this.taken = (this.taken + 1) >>> 0;
    return { at, page };
  }

  /** Whole packets that were received since the last look. */
  received(): Received[] {
    const all: Received[] = [];
    while (this.taken !== this.rxHeader.getUint32(sring.offset.rsp_prod, true)) {
      const parts: number[] = [];
      let slots = 0;
      let first: number | undefined;
      let gso: number | undefined;
      for (let more = true; more;) {
        const { at, page } = this.nextResponse();
        const { offset, flags, status } = netif_rx_response.read(this.rxHeader, at);
        if (status < 0) throw new Error(`a receive response of ${status}`);
        parts.push(...page.subarray(offset, offset + status));
        first ??= flags;
        slots++;
        if ((flags & NETRXF.extra_info) !== 0) {
          gso = netif_extra_gso.read(this.rxHeader, this.nextResponse().at).size;
          slots++;
        }
        more = (flags & NETRXF.more_data) !== 0;
      }
      all.push({
        bytes: Uint8Array.from(parts),
        flags: first ?? 0,
        slots,
        ...(gso === undefined ? {} : { gso }),
      });
    }
    this.rxHeader.setUint32(sring.offset.rsp_event, this.taken + 1, true);
    return all;
  }

  /** Connected, with pages to receive into. */
  static up(
    bench: NetBench,
    domain: number,
    nodes: Readonly<Record<string, string | number>> = {},
    pages = 30,
  ): NetFront {
    const front = new NetFront(bench, domain);
    if (front.connect(nodes) !== '4') throw new Error(`not connected: ${bench.lines.join()}`);
    front.offer(pages);
    return front;
  }
}
