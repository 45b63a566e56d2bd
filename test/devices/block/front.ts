// A front end of the block protocol for tests to play, on a fake hypervisor.
import { mfn, type Mfn } from '../../../src/base/branded';
import { createDevices, type BackendSet, type Disk } from '../../../src/devices';
import {
  blkif_request,
  blkif_request_discard,
  blkif_request_indirect,
  blkif_request_segment,
  blkif_response,
  SLOT_SIZE,
} from '../../../src/devices/block/blkif';
import { ringSlots, sring } from '../../../src/devices/ring';
import { XS } from '../../../src/devices/xenstore/wire';
import {
  collectLog,
  createFakeBackend,
  createGuest,
  type FakeBackend,
  type Guest,
} from '../../support/fake-backend';

export const NUMBER = 51712;
export const FRONT = `device/vbd/${NUMBER}`;
export const BACK = `/local/domain/0/backend/vbd/1/${NUMBER}`;
const PORT = 3;
const RING_REF = 8;
const RING_FRAME = 200;
const DATA_REF = 64;
const DATA_FRAME = 1000;

type Segment = readonly [ref: number, first: number, last: number];

export interface Front {
  readonly backend: FakeBackend;
  readonly devices: BackendSet;
  readonly lines: string[];
  readonly guest: Guest;
  /** The ring's pages as one. */
  readonly header: DataView;
  readonly state: () => string;
  readonly node: (name: string) => string;
  readonly set: (name: string, value: string) => void;
  /** Grants `pages` for the ring and says so. @returns the back end's state */
  readonly connect: (pages?: number) => string;
  /** Grant reference of the i-th data page. */
  readonly ref: (i: number) => number;
  readonly page: (i: number) => Uint8Array;
  readonly put: (slot: Uint8Array) => void;
  readonly kick: () => void;
  /** Responses since the last look: id, operation, status. */
  readonly responses: () => [bigint, number, number][];
  /** One request and its answer's status. */
  readonly ask: (slot: Uint8Array) => number;
}

export function start(disk: Omit<Disk, 'vdev' | 'name'>): Front {
  const backend = createFakeBackend();
  const { log: sink, lines } = collectLog();
  const devices = createDevices(backend, sink, { disks: () => [{ vdev: 'xvda', name: 'test', ...disk }] });
  backend.addDomain(1);
  const guest = createGuest(backend, 1);
  backend.unbound.add(`1:${PORT}`);
  for (let i = 0; i < 16; i++) {
    backend.frames.set(DATA_FRAME + i, new Uint8Array(4096));
    backend.grants.set(`1:${DATA_REF + i}`, { mfn: mfn(DATA_FRAME + i) });
  }
  let pages: Uint8Array[] = [];
  let produced = 0;
  let consumed = 0;

  const ringFrame = (i: number): Mfn => mfn(RING_FRAME + i);
  const node = (name: string): string => guest.ask(XS.READ, `${BACK}/${name}\0`);
  const set = (name: string, value: string): void => void guest.ask(XS.WRITE, `${FRONT}/${name}\0${value}`);
  const state = (): string => node('state');
  const headerOf = (): DataView => new DataView((pages[0] ?? new Uint8Array(4096)).buffer);

  /** Copies between the ring, whose pages are apart, and `bytes`. */
  function ringBytes(at: number, bytes: Uint8Array, into: boolean): void {
    for (let i = 0; i < bytes.length; i++) {
      const page = pages[Math.floor((at + i) / 4096)] ?? new Uint8Array(4096);
      if (into) page[(at + i) % 4096] = bytes[i] ?? 0;
      else bytes[i] = page[(at + i) % 4096] ?? 0;
    }
  }
  const slotAt = (i: number): number => sring.size + (i % ringSlots(pages.length, SLOT_SIZE)) * SLOT_SIZE;

  const front: Front = {
    backend,
    devices,
    lines,
    guest,
    get header() {
      return headerOf();
    },
    state,
    node,
    set,
    connect(count = 1) {
      pages = Array.from({ length: count }, () => new Uint8Array(4096));
      pages.forEach((page, i) => {
        // In falling order, so that nothing works that takes them to be in a row.
        backend.frames.set(ringFrame(count - i), page);
        backend.grants.set(`1:${RING_REF + i}`, { mfn: ringFrame(count - i) });
        set(count === 1 ? 'ring-ref' : `ring-ref${i}`, String(RING_REF + i));
      });
      if (count > 1) set('ring-page-order', String(Math.log2(count)));
      headerOf().setUint32(sring.offset.req_event, 1, true);
      headerOf().setUint32(sring.offset.rsp_event, 1, true);
      produced = 0;
      consumed = 0;
      set('event-channel', String(PORT));
      set('protocol', 'x86_64-abi');
      set('state', '3');
      return state();
    },
    ref: (i) => DATA_REF + i,
    page: (i) => backend.frames.get(DATA_FRAME + i) ?? new Uint8Array(0),
    put(slot) {
      ringBytes(slotAt(produced), slot, true);
      produced = (produced + 1) >>> 0;
      headerOf().setUint32(sring.offset.req_prod, produced, true);
    },
    kick: () => backend.kick(1, PORT),
    responses() {
      const all: [bigint, number, number][] = [];
      for (
        ;
        consumed !== headerOf().getUint32(sring.offset.rsp_prod, true);
        consumed = (consumed + 1) >>> 0
      ) {
        const bytes = new Uint8Array(blkif_response.size);
        ringBytes(slotAt(consumed), bytes, false);
        const { id, operation, status } = blkif_response.read(new DataView(bytes.buffer), 0);
        all.push([id, operation, status]);
      }
      headerOf().setUint32(sring.offset.rsp_event, (consumed + 1) >>> 0, true);
      return all;
    },
    ask(slot) {
      front.put(slot);
      front.kick();
      const [answer, ...more] = front.responses();
      if (answer === undefined || more.length > 0) throw new Error('not one answer');
      return answer[2];
    },
  };
  return front;
}

function slotOf(fill: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(SLOT_SIZE);
  fill(new DataView(bytes.buffer));
  return bytes;
}

const segment = ([gref, first_sect, last_sect]: Segment): {
  gref: number;
  first_sect: number;
  last_sect: number;
} => ({ gref, first_sect, last_sect });

export const request = (
  operation: number,
  sector: number | bigint,
  segments: readonly Segment[],
  { count = segments.length, id = 7n } = {},
): Uint8Array =>
  slotOf((view) =>
    blkif_request.write(view, 0, {
      operation,
      nr_segments: count,
      handle: 0,
      id,
      sector_number: BigInt(sector),
      seg: segments.map(segment),
    }),
  );

export const discard = (sector: number | bigint, count: number | bigint, flag = 0): Uint8Array =>
  slotOf((view) =>
    blkif_request_discard.write(view, 0, {
      operation: 5,
      flag,
      handle: 0,
      id: 9n,
      sector_number: BigInt(sector),
      nr_sectors: BigInt(count),
    }),
  );

export const indirect = (
  operation: number,
  sector: number,
  count: number,
  refs: readonly number[],
): Uint8Array =>
  slotOf((view) =>
    blkif_request_indirect.write(view, 0, {
      operation: 6,
      indirect_op: operation,
      nr_segments: count,
      id: 11n,
      sector_number: BigInt(sector),
      handle: 0,
      indirect_grefs: [...refs],
    }),
  );

/** Fills a page with the descriptors of an indirect request. */
export function describeSegments(page: Uint8Array, segments: readonly Segment[]): void {
  const view = new DataView(page.buffer, page.byteOffset);
  segments.forEach((s, i) => blkif_request_segment.write(view, i * blkif_request_segment.size, segment(s)));
}
