import assert from 'node:assert/strict';
import { mfn } from '../../src/base/branded';
import { echo_page } from '../../src/devices/echo';
import { XS } from '../../src/devices/xenstore/wire';
import { bytesOf, createBench, createGuest, type Bench, type Guest } from '../support/fake-backend';

const { offset } = echo_page;
const PAGE = mfn(99);
const BACK = '/local/domain/0/backend/echo/1/0';

interface Front extends Bench {
  readonly guest: Guest;
  readonly page: Uint8Array;
  readonly view: DataView;
  readonly state: () => string;
  readonly connect: () => string;
}

function start(): Front {
  const bench = createBench();
  bench.backend.addDomain(1);
  const { backend } = bench;
  const page = new Uint8Array(4096);
  backend.frames.set(PAGE, page);
  backend.grants.set('1:8', { mfn: PAGE });
  backend.unbound.add('1:3');
  const guest = createGuest(backend, 1);
  const state = (): string => guest.ask(XS.READ, `${BACK}/state\0`);
  return {
    ...bench,
    guest,
    page,
    view: new DataView(page.buffer),
    state,
    connect() {
      guest.ask(XS.WRITE, 'device/echo/0/ring-ref\x008');
      guest.ask(XS.WRITE, 'device/echo/0/event-channel\x003');
      guest.ask(XS.WRITE, 'device/echo/0/state\x003');
      return state();
    },
  };
}

const textAt = (page: Uint8Array, from: number, length: number): string =>
  String.fromCharCode(...page.subarray(from, from + length));

describe('devices: echo back end', () => {
  it('has the page of the sample’s README', () => {
    assert.deepEqual(
      [offset.req_seq, offset.rsp_seq, offset.length, offset.greeting, offset.data, echo_page.size],
      [0, 4, 8, 0x10, 0x100, 4096],
    );
  });

  it('is announced to the guest, which may write its own part', () => {
    const { guest, state } = start();
    assert.equal(guest.ask(XS.READ, 'device/echo/0/backend\0'), BACK);
    assert.equal(guest.ask(XS.READ, 'device/echo/0/backend-id\0'), '0');
    assert.equal(guest.ask(XS.READ, 'device/echo/0/state\0'), '1');
    assert.equal(guest.ask(XS.READ, `${BACK}/frontend\0`), '/local/domain/1/device/echo/0');
    assert.equal(guest.ask(XS.READ, `${BACK}/frontend-id\0`), '1');
    assert.equal(state(), '2');
    assert.equal(guest.ask(XS.WRITE, `${BACK}/state\x004`), '!EACCES');
  });

  it('greets, answers, and lets go', () => {
    const { guest, backend, page, view, connect, state } = start();
    guest.ask(XS.WATCH, `${BACK}/state\0back\0`);
    assert.equal(connect(), '4');
    assert.deepEqual(guest.events(), [`${BACK}/state|back`, `${BACK}/state|back`]);
    assert.equal(textAt(page, offset.greeting, 24), 'hello from the back end\0');
    guest.ask(XS.WRITE, 'device/echo/0/state\x004');
    for (const [n, [asked, answered]] of (
      [
        ['hello from the front end', 'HELLO FROM THE FRONT END'],
        ['', ''],
        ['az AZ `{ \xe4\xff', 'AZ AZ `{ \xe4\xff'],
      ] as const
    ).entries()) {
      page.set(bytesOf(asked), offset.data);
      view.setUint32(offset.length, asked.length, true);
      view.setUint32(offset.req_seq, n + 1, true);
      backend.notified = [];
      backend.kick(1, 3);
      assert.equal(view.getUint32(offset.rsp_seq, true), n + 1);
      assert.equal(textAt(page, offset.data, asked.length), answered);
      assert.equal(view.getUint32(offset.length, true), asked.length);
      assert.deepEqual(backend.notified, ['1:3']);
    }
    backend.notified = [];
    backend.kick(1, 3);
    assert.deepEqual(backend.notified, []);
    guest.ask(XS.WRITE, 'device/echo/0/state\x005');
    assert.equal(state(), '6');
    assert.deepEqual(backend.mapped, []);
    assert.equal(
      [...backend.ends().values()].some((e) => e.remotePort === 3),
      false,
    );
    guest.ask(XS.WRITE, 'device/echo/0/state\x006');
    assert.equal(state(), '6');
  });

  it('takes a length beyond the page as the longest, and keeps within it', () => {
    for (const length of [3840, 0xffff_ffff]) {
      const { backend, page, view, connect } = start();
      connect();
      page.fill(0x61, offset.data);
      view.setUint32(offset.length, length, true);
      view.setUint32(offset.req_seq, 0xffff_ffff, true);
      backend.kick(1, 3);
      assert.equal(view.getUint32(offset.rsp_seq, true), 0xffff_ffff);
      assert.equal(view.getUint32(offset.length, true), 3839);
      assert.deepEqual([page[4094], page[4095]], [0x41, 0x61]);
    }
  });

  const refusals: readonly (readonly [string, (f: Front) => void, RegExp])[] = [
    ['a grant that is none', (f) => f.backend.grants.clear(), /grant 8: no entry 8/],
    ['a grant for reading', (f) => f.backend.grants.set('1:8', { mfn: PAGE, readOnly: true }), /read-only/],
    ['a port that is not for us', (f) => f.backend.unbound.clear(), /port 3 is not unbound/],
  ];
  for (const [what, prepare, why] of refusals) {
    it(`closes for ${what}`, () => {
      const front = start();
      prepare(front);
      front.guest.ask(XS.WATCH, `${BACK}/state\0back\0`);
      assert.equal(front.connect(), '6');
      assert.match(front.lines.join(), why);
      assert.deepEqual(front.backend.mapped, []);
    });
  }

  for (const [key, value] of [
    ['ring-ref', ''],
    ['ring-ref', '-1'],
    ['ring-ref', '99999999999'],
    ['event-channel', 'three'],
    ['event-channel', '4294967296'],
  ] as const) {
    it(`closes for ${key} ${JSON.stringify(value)}`, () => {
      const { guest, backend, state, lines } = start();
      guest.ask(XS.WRITE, 'device/echo/0/ring-ref\x008');
      guest.ask(XS.WRITE, 'device/echo/0/event-channel\x003');
      guest.ask(XS.WRITE, `device/echo/0/${key}\0${value}`);
      guest.ask(XS.WRITE, 'device/echo/0/state\x003');
      assert.equal(state(), '6');
      assert.match(lines.join(), new RegExp(`${key} is not a number`));
      assert.deepEqual(backend.mapped, []);
    });
  }

  it('lets go when the front end vanishes, says nonsense, begins anew, or its domain ends', () => {
    const endings: (readonly [(f: Front) => void, string])[] = [
      [(f) => f.guest.ask(XS.RM, 'device/echo/0\0'), '6'],
      [(f) => f.guest.ask(XS.WRITE, 'device/echo/0/state\0zzz'), '6'],
      [(f) => f.guest.ask(XS.WRITE, 'device/echo/0/state\x001'), '2'],
      [(f) => f.backend.shutDown(1), '6'],
    ];
    for (const [end, expected] of endings) {
      const front = start();
      assert.equal(front.connect(), '4');
      assert.equal(front.backend.mapped.length, 1);
      end(front);
      assert.deepEqual(front.backend.mapped, []);
      assert.equal(front.state(), expected);
    }
  });

  it('connects again after it was closed', () => {
    const { guest, backend, connect } = start();
    connect();
    guest.ask(XS.WRITE, 'device/echo/0/state\x006');
    guest.ask(XS.WRITE, 'device/echo/0/state\x001');
    backend.unbound.add('1:3');
    assert.equal(connect(), '4');
  });

  it('goes back and forth between saved states with its listener and its mapping', () => {
    const { guest, devices, backend, view, connect, state } = start();
    const before = structuredClone(devices.save());
    connect();
    const connected = structuredClone(devices.save());
    const [mapping] = backend.mapped;
    guest.ask(XS.WRITE, 'device/echo/0/state\x005');
    const ask = (n: number): number => {
      view.setUint32(offset.req_seq, n, true);
      backend.kick(1, 3);
      return view.getUint32(offset.rsp_seq, true);
    };
    // As the hypervisor restores its own part: the port and the mapping are there again.
    devices.restore(connected);
    assert.ok(mapping !== undefined);
    backend.mapped.push({ ...mapping, mfn: PAGE });
    assert.deepEqual(devices.save(), connected);
    const port = connected.echo[0]?.link?.ports[0];
    assert.ok(port !== undefined);
    (backend.ends() as Map<number, unknown>).set(port, { domain: 1, remotePort: 3 });
    assert.equal(ask(5), 5);
    devices.restore(before);
    assert.equal(ask(6), 5);
    devices.restore(connected);
    assert.equal(ask(7), 7);
    view.setUint32(0, 0, true);
    assert.deepEqual(devices.save().echo[0]?.answered, 7);
    guest.page.fill(0, 2048, 2064);
    guest.ask(XS.WRITE, 'device/echo/0/state\x005');
    assert.equal(state(), '6');
    assert.deepEqual(backend.mapped, []);
  });
});
