import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BLKIF_OP, blkif_request, blkif_response, SLOT_SIZE } from '../../../src/devices/block/blkif';
import { ringSlots, sring } from '../../../src/devices/ring';
import { memoryFile, rawStore, type BlockStore } from '../../../src/devices/block/store';
import { deviceNumber } from '../../../src/devices/block/vdev';
import { XS } from '../../../src/devices/xenstore/wire';
import { openDiskFile } from '../../../src/host/disk-file';
import { seeded } from '../../support/random';
import {
  BACK,
  describeSegments,
  discard,
  FRONT,
  indirect,
  NUMBER,
  request,
  start,
  type Front,
} from './front';

const { READ, WRITE, WRITE_BARRIER, FLUSH_DISKCACHE } = BLKIF_OP;
const OKAY = 0;
const ERROR = -1;
const EOPNOTSUPP = -2;
const SECTORS = 100;

/** Sector n is filled with n + 1. */
const image = (sectors = SECTORS): Uint8Array =>
  Uint8Array.from({ length: sectors * 512 }, (_, i) => Math.floor(i / 512) + 1);
const disk = (bytes = image()): { store: BlockStore; access: 'overlay'; cdrom: boolean } => ({
  store: rawStore(memoryFile(bytes)),
  access: 'overlay',
  cdrom: false,
});

function connected(given: Parameters<typeof start>[0] = disk(), pages = 1): Front {
  const front = start(given);
  assert.equal(front.connect(pages), '4', front.lines.join());
  return front;
}

/** The first byte of each sector of a page. */
const sectorsOf = (page: Uint8Array): number[] => Array.from({ length: 8 }, (_, i) => page[i * 512] ?? -1);

describe('devices: block back end', () => {
  it('has the layouts of blkif.h', () => {
    assert.deepEqual(blkif_request.offset, {
      operation: 0,
      nr_segments: 1,
      handle: 2,
      id: 8,
      sector_number: 16,
      seg: 24,
    });
    assert.deepEqual([blkif_request.size, blkif_response.size, sring.size], [112, 16, 64]);
    assert.deepEqual(
      [1, 2, 4, 8, 16].map((pages) => ringSlots(pages, SLOT_SIZE)),
      [32, 64, 128, 256, 512],
    );
  });

  it('numbers disks as xen-vbd-interface(7) does', () => {
    const numbers: readonly (readonly [string, number])[] = [
      ['xvda', 51712],
      ['xvda1', 51713],
      ['xvdb', 51728],
      ['xvdp15', 51967],
      ['xvdq', (1 << 28) | (16 << 8)],
      ['xvda16', (1 << 28) | 16],
      ['xvdaa', (1 << 28) | (26 << 8)],
      ['d0p1', 51713],
      ['hda', 768],
      ['hdb1', 833],
      ['hdc', 5632],
      ['sda', 2048],
      ['sdb3', 2067],
    ];
    for (const [name, number] of numbers) assert.equal(deviceNumber(name), number, name);
    for (const name of ['', 'xvd', 'hde', 'sdq', 'hda64', 'xvda256', 'vda', 'xvda/../..', 'XVDA'])
      assert.throws(() => deviceNumber(name), RangeError, name);
  });

  it('is announced, says what it can, and gives the disk’s properties once connected', () => {
    const front = start(disk());
    assert.equal(front.guest.ask(XS.READ, `${FRONT}/backend\0`), BACK);
    assert.equal(front.guest.ask(XS.READ, `${FRONT}/virtual-device\0`), String(NUMBER));
    assert.equal(front.guest.ask(XS.READ, `${FRONT}/device-type\0`), 'disk');
    assert.equal(front.state(), '2');
    const offered = ['flush-cache', 'barrier', 'persistent', 'discard'].map((f) =>
      front.node(`feature-${f}`),
    );
    assert.deepEqual(offered, ['1', '1', '1', '1']);
    assert.equal(front.node('max-ring-page-order'), '4');
    assert.equal(front.node('feature-max-indirect-segments'), '256');
    assert.equal(front.node('mode'), 'w');
    assert.equal(front.connect(), '4');
    const said = ['sectors', 'sector-size', 'info'].map((n) => front.node(n));
    assert.deepEqual(said, [String(SECTORS), '512', '0']);
    assert.equal(front.guest.ask(XS.WRITE, `${BACK}/sectors\x001`), '!EACCES');
  });

  it('reads into the sectors that were named, and no others', () => {
    const front = connected();
    assert.equal(front.ask(request(READ, 3, [[front.ref(0), 2, 4], [front.ref(1), 0, 7]])), OKAY); // prettier-ignore
    assert.deepEqual(sectorsOf(front.page(0)), [0, 0, 4, 5, 6, 0, 0, 0]);
    assert.deepEqual(sectorsOf(front.page(1)), [7, 8, 9, 10, 11, 12, 13, 14]);
    assert.equal(front.backend.mapped.length, 1, 'only the ring stays mapped');
  });

  it('writes into the overlay and leaves the image alone', () => {
    const bytes = image();
    const front = connected(disk(bytes));
    front.page(0).fill(0xaa);
    assert.equal(front.ask(request(WRITE, 6, [[front.ref(0), 0, 3]])), OKAY);
    assert.equal(front.ask(request(FLUSH_DISKCACHE, 0, [])), OKAY);
    assert.equal(front.ask(request(READ, 4, [[front.ref(1), 0, 7]])), OKAY);
    assert.deepEqual(sectorsOf(front.page(1)), [5, 6, 0xaa, 0xaa, 0xaa, 0xaa, 11, 12]);
    assert.deepEqual(bytes, image());
  });

  it('takes the disk’s last sector and none beyond', () => {
    const front = connected();
    assert.equal(front.ask(request(READ, SECTORS - 1, [[front.ref(0), 0, 0]])), OKAY);
    assert.equal(front.page(0)[0], SECTORS);
    for (const sector of [SECTORS, 2n ** 53n, 2n ** 64n - 1n]) {
      assert.equal(front.ask(request(READ, sector, [[front.ref(0), 0, 0]])), ERROR);
      assert.equal(front.ask(request(WRITE, sector, [[front.ref(0), 0, 0]])), ERROR);
    }
    assert.equal(front.ask(request(READ, SECTORS - 1, [[front.ref(0), 0, 1]])), ERROR);
  });

  it('passes writes, flushes and barriers through in their order when it is to', () => {
    const done: string[] = [];
    const bytes = image();
    const raw = rawStore(memoryFile(bytes, true));
    const store: BlockStore = {
      ...raw,
      write(sector, given) {
        done.push('write');
        raw.write(sector, given);
      },
      flush: () => void done.push('flush'),
    };
    const front = connected({ store, access: 'write-through', cdrom: false });
    front.page(0).fill(0xbb);
    assert.equal(front.ask(request(WRITE, 0, [[front.ref(0), 0, 0]])), OKAY);
    assert.equal(front.ask(request(WRITE_BARRIER, 1, [[front.ref(0), 0, 0]])), OKAY);
    assert.equal(front.ask(request(FLUSH_DISKCACHE, 0, [])), OKAY);
    assert.deepEqual(done, ['write', 'flush', 'write', 'flush', 'flush']);
    assert.deepEqual([bytes[0], bytes[512], bytes[1024]], [0xbb, 0xbb, 3]);
  });

  it('discards whole and partial blocks, but not out of bounds and not securely', () => {
    const front = connected();
    assert.equal(front.ask(discard(6, 12)), OKAY);
    for (const [page, sector, expected] of [
      [0, 0, [1, 2, 3, 4, 5, 6, 0, 0]],
      [1, 8, [0, 0, 0, 0, 0, 0, 0, 0]],
      [2, 16, [0, 0, 19, 20, 21, 22, 23, 24]],
    ] as const) {
      assert.equal(front.ask(request(READ, sector, [[front.ref(page), 0, 7]])), OKAY);
      assert.deepEqual(sectorsOf(front.page(page)), expected);
    }
    // What is written to a discarded block is that block's alone.
    front.page(3).fill(0xcc);
    assert.equal(front.ask(discard(24, 16)), OKAY);
    assert.equal(front.ask(request(WRITE, 24, [[front.ref(3), 0, 0]])), OKAY);
    assert.equal(front.ask(request(READ, 32, [[front.ref(4), 0, 7]])), OKAY);
    assert.deepEqual(sectorsOf(front.page(4)), [0, 0, 0, 0, 0, 0, 0, 0]);
    assert.equal(front.ask(discard(0, SECTORS + 1)), ERROR);
    assert.equal(front.ask(discard(2n ** 64n - 1n, 2n)), ERROR);
    assert.equal(front.ask(discard(0, 1, 1)), EOPNOTSUPP);
  });

  it('a read-only disk refuses to be changed and says so beforehand', () => {
    const front = connected({ ...disk(), access: 'read-only', cdrom: true });
    assert.equal(front.node('mode'), 'r');
    assert.equal(front.node('info'), '5');
    assert.equal(front.node('feature-discard'), '!ENOENT');
    assert.equal(front.ask(request(WRITE, 0, [[front.ref(0), 0, 0]])), ERROR);
    assert.equal(front.ask(request(WRITE_BARRIER, 0, [[front.ref(0), 0, 0]])), ERROR);
    assert.equal(front.ask(discard(0, 1)), ERROR);
    assert.equal(front.ask(request(READ, 0, [[front.ref(0), 0, 0]])), OKAY);
  });

  it('takes indirect requests and answers under the operation that was meant', () => {
    const front = connected();
    const table = front.page(15);
    describeSegments(
      table,
      Array.from({ length: 12 }, (_, i) => [front.ref(i), 0, 0] as const),
    );
    front.put(indirect(READ, 10, 12, [front.ref(15)]));
    front.kick();
    assert.deepEqual(front.responses(), [[11n, READ, OKAY]]);
    assert.deepEqual(
      Array.from({ length: 12 }, (_, i) => front.page(i)[0]),
      Array.from({ length: 12 }, (_, i) => 11 + i),
    );
    for (const [what, slot] of [
      ['no segment', indirect(READ, 0, 0, [front.ref(15)])],
      ['too many', indirect(READ, 0, 257, [front.ref(15)])],
      ['a flush', indirect(FLUSH_DISKCACHE, 0, 1, [front.ref(15)])],
      ['itself', indirect(BLKIF_OP.INDIRECT, 0, 1, [front.ref(15)])],
      ['no page', indirect(READ, 0, 1, [9999])],
    ] as const)
      assert.equal(front.ask(slot), ERROR, what);
  });

  it('keeps grants mapped for a front end that is persistent, and lets them go with it', () => {
    const front = start(disk());
    front.set('feature-persistent', '1');
    front.connect();
    for (let i = 0; i < 3; i++)
      assert.equal(front.ask(request(READ, i, [[front.ref(0), 0, 0], [front.ref(1), 1, 1]])), OKAY); // prettier-ignore
    assert.deepEqual(
      front.backend.mapped.map((m) => [m.ref, m.writable]),
      [[8, true], [front.ref(0), true], [front.ref(1), true]], // prettier-ignore
    );
    front.set('state', '6');
    assert.deepEqual(front.backend.mapped, []);
  });

  it('works over a ring of 16 pages, whose slots straddle them', () => {
    const front = connected(disk(), 16);
    for (let round = 0; round < 1100; round++) {
      const id = BigInt(round) << 40n;
      front.put(request(READ, round % SECTORS, [[front.ref(0), 7, 7]], { id }));
      front.kick();
      assert.deepEqual(front.responses(), [[id, READ, OKAY]]);
      assert.equal(front.page(0)[7 * 512], (round % SECTORS) + 1);
    }
  });

  it('answers all that is there at one event, and notifies only who asked', () => {
    const front = connected();
    const { offset } = sring;
    front.backend.notified = [];
    for (let i = 0; i < 32; i++) front.put(request(READ, i, [[front.ref(0), 0, 0]], { id: BigInt(i) }));
    front.kick();
    assert.deepEqual(front.backend.notified, ['1:3']);
    assert.deepEqual(
      front.responses().map(([id]) => Number(id)),
      Array.from({ length: 32 }, (_, i) => i),
    );
    assert.equal(front.header.getUint32(offset.req_event, true), 33);
    front.backend.notified = [];
    front.header.setUint32(offset.rsp_event, 40, true);
    front.put(request(READ, 0, [[front.ref(0), 0, 0]]));
    front.kick();
    assert.deepEqual(front.backend.notified, []);
  });

  const bad: readonly (readonly [string, (f: Front) => Uint8Array, number])[] = [
    ['an operation that is none', () => request(77, 0, [[64, 0, 0]]), EOPNOTSUPP],
    ['the reserved one', () => request(4, 0, [[64, 0, 0]]), EOPNOTSUPP],
    ['no segment', () => request(READ, 0, []), ERROR],
    ['12 segments', () => request(READ, 0, [[64, 0, 0]], { count: 12 }), ERROR],
    ['255 segments', () => request(WRITE, 0, [[64, 0, 0]], { count: 255 }), ERROR],
    ['a segment that ends before it begins', () => request(READ, 0, [[64, 5, 4]]), ERROR],
    ['a segment beyond its page', () => request(READ, 0, [[64, 0, 8]]), ERROR],
    ['a segment far beyond its page', () => request(WRITE, 0, [[64, 0, 255]]), ERROR],
    ['a grant that is none', () => request(READ, 0, [[64, 0, 0], [0xffff_ffff, 0, 0]]), ERROR], // prettier-ignore
    [
      'a read into a page granted for reading',
      (f) => {
        const grant = f.backend.grants.get('1:64');
        if (grant !== undefined) f.backend.grants.set('1:64', { ...grant, readOnly: true });
        return request(READ, 0, [[64, 0, 0]]);
      },
      ERROR,
    ],
  ];
  for (const [what, slot, expected] of bad) {
    it(`answers ${what} with ${expected}, having touched nothing`, () => {
      const front = connected();
      assert.equal(front.ask(slot(front)), expected);
      assert.deepEqual(sectorsOf(front.page(0)), [0, 0, 0, 0, 0, 0, 0, 0]);
      assert.equal(front.backend.mapped.length, 1);
      assert.equal(front.ask(request(READ, 0, [[front.ref(1), 0, 0]])), OKAY, 'and goes on');
    });
  }

  it('writes from a page granted for reading, persistent or not', () => {
    const front = start(disk());
    front.set('feature-persistent', '1');
    front.connect();
    const grant = front.backend.grants.get('1:64') ?? assert.fail();
    front.backend.grants.set('1:64', { ...grant, readOnly: true });
    front.page(0).fill(0xdd);
    assert.equal(front.ask(request(WRITE, 0, [[front.ref(0), 0, 0]])), OKAY);
    assert.equal(front.backend.mapped.length, 1);
  });

  it('stops serving a ring that claims more than it holds, until the front end begins anew', () => {
    for (const ahead of [33, 0x8000_0000, 0xffff_ffff]) {
      const front = connected();
      front.header.setUint32(sring.offset.req_prod, ahead, true);
      front.kick();
      assert.deepEqual(front.responses(), []);
      front.header.setUint32(sring.offset.req_prod, 1, true);
      front.kick();
      assert.deepEqual(front.responses(), []);
      assert.equal(front.lines.length, 1);
      assert.match(front.lines.join(), /more requests than it holds/);
      front.set('state', '1');
      assert.deepEqual(front.backend.mapped, []);
      front.backend.unbound.add('1:3');
      assert.equal(front.connect(), '4');
      assert.equal(front.ask(request(READ, 0, [[front.ref(0), 0, 0]])), OKAY);
    }
  });

  it('answers with an error what the host cannot do', () => {
    const broken = (): never => {
      throw new Error('EIO');
    };
    const store: BlockStore = {
      sectors: SECTORS,
      readOnly: false,
      read: broken,
      write: broken,
      flush: broken,
    };
    const front = connected({ store, access: 'write-through', cdrom: false });
    assert.equal(front.ask(request(READ, 0, [[front.ref(0), 0, 0]])), ERROR);
    assert.equal(front.ask(request(WRITE, 0, [[front.ref(0), 0, 0]])), ERROR);
    assert.equal(front.ask(request(FLUSH_DISKCACHE, 0, [])), ERROR);
    assert.equal(front.ask(request(READ, 0, [[front.ref(0), 0, 0]])), ERROR);
    // The user hears of it, once each.
    const said = front.lines.filter((line) => line.includes('EIO'));
    assert.equal(said.length, 3, front.lines.join());
    front.set('state', '6');
    assert.equal(front.state(), '6');
  });

  it('carries on where the host fails for a while, and acknowledges no flush before everything is there', () => {
    const bytes = image();
    const raw = rawStore(memoryFile(bytes, true));
    let failing = '';
    const durable = bytes.slice();
    let written: (() => void)[] = [];
    const store: BlockStore = {
      ...raw,
      write(sector, given) {
        if (failing === 'write') throw new Error('ENOSPC: no space left on device');
        raw.write(sector, given);
        const copy = given.slice();
        written.push(() => durable.set(copy, sector * 512));
      },
      flush() {
        // As Linux does after an error of the device: what could not be written is dropped, and not told of again.
        const kept = failing === 'flush' ? [] : written;
        written = [];
        if (failing === 'flush') throw new Error('EIO: i/o error, fsync');
        for (const write of kept) write();
      },
    };
    const front = connected({ store, access: 'write-through', cdrom: false });
    const write = (value: number, sector: number): number => {
      front.page(0).fill(value);
      return front.ask(request(WRITE, sector, [[front.ref(0), 0, 7]]));
    };
    const flush = (): number => front.ask(request(FLUSH_DISKCACHE, 0, []));

    assert.equal(write(0xa1, 0), OKAY);
    failing = 'write';
    assert.equal(write(0xa2, 8), ERROR);
    assert.equal(flush(), ERROR, 'a block is not in the file');
    failing = 'flush';
    assert.equal(write(0xa3, 16), OKAY);
    assert.equal(flush(), ERROR);
    failing = '';
    assert.equal(flush(), OKAY);
    assert.deepEqual(
      [0, 8, 16, 24].map((sector) => durable[sector * 512]),
      [0xa1, 0xa2, 0xa3, 25],
    );
    assert.deepEqual(durable, bytes);
  });

  const refusals: readonly (readonly [string, (f: Front) => void, number, RegExp])[] = [
    ['a ring grant that is none', (f) => f.set('ring-ref', '777'), 0, /ring-ref: grant 777/],
    ['a 32-bit front end', (f) => f.set('protocol', 'x86_32-abi'), 0, /x86_32-abi/],
    ['several queues', (f) => f.set('multi-queue-num-queues', '2'), 0, /queues/],
    ['a ring of 32 pages', (f) => f.set('ring-page-order', '5'), 0, /ring-page-order 5/],
    ['a page that is missing', (f) => f.set('ring-page-order', '1'), 0, /ring-ref0 is not a number/],
    ['a port that is not for us', (f) => f.backend.unbound.clear(), 0, /port 3 is not unbound/],
  ];
  for (const [what, prepare, , why] of refusals) {
    it(`closes for ${what}`, () => {
      const front = start(disk());
      front.backend.grants.set('1:8', { mfn: front.backend.grants.get('1:64')?.mfn ?? assert.fail() });
      front.set('ring-ref', '8');
      front.set('event-channel', '3');
      front.set('protocol', 'x86_64-abi');
      prepare(front);
      front.set('state', '3');
      assert.equal(front.state(), '6');
      assert.match(front.lines.join(), why);
      assert.deepEqual(front.backend.mapped, []);
    });
  }

  it('follows the front end to closing, closed and its domain’s end', () => {
    const front = connected();
    front.set('state', '5');
    assert.equal(front.state(), '5');
    assert.deepEqual(front.backend.mapped, []);
    front.set('state', '6');
    assert.equal(front.state(), '6');
    const gone = connected();
    gone.backend.shutDown(1);
    assert.deepEqual(gone.backend.mapped, []);
    const removed = connected();
    removed.guest.ask(XS.RM, `${FRONT}\0`);
    assert.deepEqual(removed.backend.mapped, []);
  });

  it('is unplugged once its front end lets go, and plugged again with what was written', () => {
    const front = connected();
    const input = (change: 'plug' | 'unplug'): void =>
      front.devices.input({ kind: 'disk', domain: 1, vdev: 'xvda', change });
    front.page(0).fill(0xaa);
    assert.equal(front.ask(request(WRITE, 0, [[front.ref(0), 0, 0]])), OKAY);
    input('unplug');
    assert.deepEqual([front.state(), front.node('online')], ['5', '0']);
    // Until then it works: the front end may have writes to finish.
    assert.equal(front.ask(request(READ, 0, [[front.ref(1), 0, 0]])), OKAY);
    assert.equal(front.devices.inspect().block[0]?.plugged, true);
    front.set('state', '5');
    assert.equal(front.state(), '5');
    front.set('state', '6');
    assert.equal(front.node('state'), '!EACCES');
    assert.equal(front.guest.ask(XS.READ, `${FRONT}/backend\0`), '!ENOENT');
    assert.deepEqual(front.backend.mapped, []);
    assert.equal(front.devices.inspect().block[0]?.plugged, false);
    const without = structuredClone(front.devices.save());

    input('unplug');
    input('plug');
    input('plug');
    assert.equal(front.state(), '2');
    assert.equal(front.node('online'), '1');
    front.backend.unbound.add('1:3');
    assert.equal(front.connect(), '4');
    assert.equal(front.ask(request(READ, 0, [[front.ref(2), 0, 1]])), OKAY);
    assert.deepEqual(sectorsOf(front.page(2)).slice(0, 2), [0xaa, 2]);

    // Whether it is there goes with the machine's state.
    front.devices.restore(without);
    assert.equal(front.devices.inspect().block[0]?.plugged, false);
    input('plug');
    assert.equal(front.state(), '2');
    // Nobody is there yet who could let go.
    input('unplug');
    assert.equal(front.node('state'), '!EACCES');
    front.backend.shutDown(1);
    assert.equal(front.devices.xenstore.read(`${BACK}/state`), undefined);
  });

  it('grows while it is used, and says so by its state', () => {
    const front = connected();
    const resize = (sectors: number): void =>
      front.devices.input({ kind: 'disk', domain: 1, vdev: 'xvda', change: 'resize', sectors });
    front.guest.ask(XS.WATCH, `${BACK}/state\0t\0`);
    front.guest.events();
    const before = structuredClone(front.devices.save());
    assert.equal(front.ask(request(WRITE, SECTORS, [[front.ref(0), 0, 7]])), ERROR);
    resize(SECTORS + 8);
    assert.deepEqual(front.guest.events(), [`${BACK}/state|t`]);
    assert.deepEqual([front.state(), front.node('sectors')], ['4', String(SECTORS + 8)]);
    front.page(0).fill(0xaa);
    assert.equal(front.ask(request(WRITE, SECTORS, [[front.ref(0), 0, 6]])), OKAY);
    assert.equal(front.ask(request(READ, SECTORS, [[front.ref(1), 0, 7]])), OKAY);
    assert.deepEqual(sectorsOf(front.page(1)), [0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0]);
    assert.equal(front.ask(request(READ, SECTORS + 8, [[front.ref(1), 0, 0]])), ERROR);
    // Never smaller, and a read-only one not at all.
    resize(SECTORS);
    assert.equal(front.node('sectors'), String(SECTORS + 8));
    assert.match(front.lines.join(), /not resized to 100 sectors: it has 108/);
    front.devices.restore(before);
    assert.equal(front.devices.inspect().block[0]?.sectors, SECTORS);
    const fixed = connected({ ...disk(), access: 'read-only' });
    fixed.devices.input({ kind: 'disk', domain: 1, vdev: 'xvda', change: 'resize', sectors: 200 });
    assert.equal(fixed.node('sectors'), String(SECTORS));
    assert.match(fixed.lines.join(), /read-only/);
  });

  it('grows into its file where it is written through', () => {
    const folder = mkdtempSync(join(tmpdir(), 'grow-'));
    try {
      const path = join(folder, 'disk');
      writeFileSync(path, image());
      const file = openDiskFile(path, true);
      const front = connected({ store: rawStore(file), access: 'write-through', cdrom: false });
      front.devices.input({ kind: 'disk', domain: 1, vdev: 'xvda', change: 'resize', sectors: 200 });
      front.page(0).fill(0xaa);
      assert.equal(front.ask(request(WRITE, 150, [[front.ref(0), 0, 0]])), OKAY);
      assert.equal(front.ask(request(READ, 149, [[front.ref(1), 0, 7]])), OKAY);
      assert.deepEqual(sectorsOf(front.page(1)), [0, 0xaa, 0, 0, 0, 0, 0, 0]);
      const now = readFileSync(path);
      assert.equal(now[150 * 512], 0xaa);
      assert.deepEqual(now.subarray(0, SECTORS * 512), Buffer.from(image()));
      file.close();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('goes back and forth between saved states: the ring’s indices, and what was written', () => {
    const front = connected();
    const read = (): number | undefined => {
      assert.equal(front.ask(request(READ, 0, [[front.ref(0), 0, 0]])), OKAY);
      return front.page(0)[0];
    };
    const write = (value: number): void => {
      front.page(1).fill(value);
      assert.equal(front.ask(request(WRITE, 0, [[front.ref(1), 0, 0]])), OKAY);
    };
    write(0x11);
    const ring = front.backend.frames.get(201) ?? assert.fail();
    const earlier = {
      state: front.devices.save(),
      ring: ring.slice(),
      text: JSON.stringify(front.devices.save()),
    };
    write(0x22);
    assert.equal(read(), 0x22);
    const later = { state: front.devices.save(), ring: ring.slice() };
    assert.equal(JSON.stringify(earlier.state), earlier.text, 'what was saved does not change any more');
    front.devices.restore(earlier.state);
    assert.deepEqual(front.devices.save().block, earlier.state.block);
    // As the machine restores its part; the test's front end goes on counting, so only look at the disk.
    front.devices.restore(later.state);
    ring.set(later.ring);
    assert.equal(read(), 0x22);
    assert.equal(front.devices.save().block[0]?.connection?.indices.taken, 4);
  });

  it('survives random rings, grants and nodes, and lets everything go in the end', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = seeded(seed);
      const image = new Uint8Array(SECTORS * 512).fill(1);
      const front = start(disk(image));
      if (random.below(2) === 0) front.set('feature-persistent', '1');
      const pages = 2 ** random.below(3);
      assert.equal(front.connect(pages), '4');
      const byte = (): number => random.below(256);
      for (let step = 0; step < 150; step++) {
        const action = random.below(12);
        const ref = front.ref(random.below(20));
        const sector = random.below(4) === 0 ? random.below(2 ** 31) : random.below(SECTORS);
        if (action < 4) {
          const segments = Array.from(
            { length: random.below(12) },
            () => [ref, random.below(9), random.below(9)] as const,
          );
          front.put(request(random.below(8), sector, segments, { count: segments.length + random.below(2) }));
        } else if (action === 4) front.put(indirect(random.below(3), sector, random.below(300), [ref, ref]));
        else if (action === 5) front.put(discard(sector, random.below(200), random.below(2)));
        else if (action === 6) front.put(Uint8Array.from({ length: 112 }, byte));
        else if (action === 7) {
          const page = front.page(random.below(16));
          for (let i = 0; i < 64; i++) page[random.below(4096)] = byte();
        } else if (action === 8 && random.below(8) === 0) {
          front.header.setUint32(4 * random.below(4), random.below(2 ** 31), true);
        } else if (action === 9 && random.below(8) === 0) {
          front.set('state', String(random.below(8)));
        } else front.kick();
      }
      front.kick();
      assert.ok(!front.lines.some((line) => line.startsWith('error')), front.lines.join());
      assert.ok(
        image.every((b) => b === 1),
        'the image is as it was',
      );
      front.set('state', '6');
      assert.deepEqual(front.backend.mapped, []);
      assert.equal(front.state(), '6');
    }
  });
});
