import assert from 'node:assert/strict';
import { XENSTORE_ERROR, xenstore_domain_interface, XS } from '../../../src/devices/xenstore/wire';
import { bytesOf, createBench, createGuest, type Bench, type Guest } from '../../support/fake-backend';

const { offset } = xenstore_domain_interface;

function start(): Bench & { guest: Guest } {
  const bench = createBench();
  bench.backend.addDomain(1);
  bench.backend.notified = [];
  return { ...bench, guest: createGuest(bench.backend, 1) };
}

const header = (type: number, id: number, length: number): Uint8Array => {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  [type, id, 0, length].forEach((v, i) => view.setUint32(i * 4, v, true));
  return bytes;
};

describe('devices: xenstore ring', () => {
  it('has the layout of io/xs_wire.h and offers its features', () => {
    const { guest } = start();
    assert.deepEqual(
      [offset.rsp, offset.req_cons, offset.req_prod, offset.rsp_cons, offset.rsp_prod],
      [1024, 2048, 2052, 2056, 2060],
    );
    assert.deepEqual([offset.server_features, offset.connection, offset.error], [2064, 2068, 2072]);
    assert.equal(guest.view.getUint32(offset.server_features, true), 3);
  });

  it('works from any index, through the wrap of ring and number', () => {
    const { guest } = start();
    for (const i of [offset.req_cons, offset.req_prod]) guest.view.setUint32(i, 0xffff_ff01, true);
    for (const i of [offset.rsp_cons, offset.rsp_prod]) guest.view.setUint32(i, 0xffff_fff7, true);
    for (let i = 0; i < 200; i++) {
      assert.equal(guest.ask(XS.WRITE, `data/key\0${'v'.repeat(i * 7)}`), 'OK\0');
      assert.equal(guest.ask(XS.READ, 'data/key\0'), 'v'.repeat(i * 7));
    }
    assert.ok(guest.view.getUint32(offset.req_cons, true) < 0x8000_0000);
  });

  it('takes a request byte by byte, and many at once', () => {
    const { guest } = start();
    const payload = bytesOf('domid\0');
    const one = Uint8Array.from([...header(XS.READ, 7, payload.length), ...payload]);
    for (const byte of one) assert.equal(guest.push(Uint8Array.of(byte)), 1);
    assert.deepEqual(guest.receive(), [{ type: XS.READ, req_id: 7, tx_id: 0, payload: '1' }]);
    const many = Uint8Array.from({ length: 10 }, (_, i) => i).reduce<number[]>(
      (all, i) => [...all, ...header(XS.READ, i, payload.length), ...payload],
      [],
    );
    guest.push(Uint8Array.from(many));
    assert.deepEqual(
      guest.receive().map((r) => r.req_id),
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    );
  });

  it('takes and gives payloads of 4096 bytes', () => {
    const { guest, devices } = start();
    devices.xenstore.write('/local/domain/1/cpu/big', 'x'.repeat(4096));
    assert.equal(guest.ask(XS.READ, 'cpu/big\0'), 'x'.repeat(4096));
    assert.equal(guest.ask(XS.WRITE, `data/a\0${'y'.repeat(4096 - 7)}`), '!ENOSPC');
    devices.xenstore.write('/local/domain/1/cpu/big', 'x'.repeat(4097));
    assert.equal(guest.ask(XS.READ, 'cpu/big\0'), '!E2BIG');
  });

  it('reads no further requests while 20 answers wait', () => {
    const { guest, devices } = start();
    devices.xenstore.write('/local/domain/1/cpu/big', 'x'.repeat(500));
    const payload = bytesOf('cpu/big\0');
    const one = [...header(XS.READ, 1, payload.length), ...payload];
    const ask = Uint8Array.from(Array.from({ length: 40 }, () => one).flat());
    assert.equal(ask.length, 960);
    guest.push(ask);
    const taken = guest.view.getUint32(offset.req_cons, true);
    // One answer is in the ring, part of another, 19 more wait.
    assert.equal(taken, one.length * 21);
    assert.equal(guest.receive().length, 40);
    assert.equal(guest.view.getUint32(offset.req_cons, true), 960);
  });

  it('notifies when it took or gave something, and only then', () => {
    const { guest, backend } = start();
    guest.kick();
    assert.deepEqual(backend.notified, []);
    guest.push(header(XS.READ, 1, 6));
    assert.deepEqual(backend.notified, ['1:1']);
  });

  const shift = (g: Guest, index: number, by: number): void =>
    g.view.setUint32(index, g.view.getUint32(index, true) + by, true);
  const dead: readonly (readonly [string, (g: Guest) => void, number])[] = [
    ['a producer too far ahead', (g) => shift(g, offset.req_prod, 1025), XENSTORE_ERROR.RINGIDX],
    ['a producer behind', (g) => shift(g, offset.req_prod, -1), XENSTORE_ERROR.RINGIDX],
    ['a payload of 4097', (g) => void g.push(header(XS.READ, 1, 4097)), XENSTORE_ERROR.PROTO],
    ['a payload of 4 GiB', (g) => void g.push(header(XS.READ, 1, 0xffff_ffff)), XENSTORE_ERROR.PROTO],
    [
      'a response consumer ahead',
      (g) => {
        g.view.setUint32(offset.rsp_cons, g.view.getUint32(offset.rsp_prod, true) + 1, true);
        g.push(Uint8Array.from([...header(XS.READ, 1, 6), ...bytesOf('domid\0')]));
      },
      XENSTORE_ERROR.RINGIDX,
    ],
  ];
  for (const [what, forge, code] of dead) {
    it(`ends the connection for ${what}, and begins a new one when asked`, () => {
      const { guest, devices, lines } = start();
      guest.ask(XS.WATCH, 'data\0t\0');
      guest.ask(XS.TRANSACTION_START, '\0');
      forge(guest);
      guest.kick();
      assert.equal(guest.view.getUint32(offset.error, true), code);
      assert.equal(lines.length, 1);
      assert.deepEqual([devices.xenstore.watches(), devices.xenstore.transactions()], [[], []]);
      const before = guest.page.slice();
      guest.kick();
      devices.xenstore.write('/local/domain/1/data/x', 'y');
      assert.deepEqual(guest.page, before);

      guest.view.setUint32(offset.connection, 1, true);
      guest.kick();
      assert.equal(guest.view.getUint32(offset.connection, true), 0);
      assert.equal(guest.view.getUint32(offset.error, true), 0);
      assert.equal(guest.ask(XS.READ, 'data/x\0'), 'y');
    });
  }

  it('a reconnection in the middle of a request forgets its beginning', () => {
    const { guest } = start();
    guest.push(header(XS.WRITE, 1, 100));
    guest.view.setUint32(offset.connection, 1, true);
    guest.kick();
    assert.equal(guest.ask(XS.READ, 'domid\0'), '1');
  });

  it('goes on from a saved state exactly where it was', () => {
    const { guest, devices, backend } = start();
    guest.ask(XS.WATCH, 'data\0t\0');
    guest.events();
    const tx = Number.parseInt(guest.ask(XS.TRANSACTION_START, '\0'), 10);
    guest.ask(XS.WRITE, 'data/in-tx\0one', tx);
    devices.xenstore.write('/local/domain/1/cpu/big', 'x'.repeat(3000));
    // Half a request in, most of an answer out.
    const payload = bytesOf('cpu/big\0');
    guest.push(
      Uint8Array.from([...header(XS.READ, 5, payload.length), ...payload, ...header(XS.READ, 6, 6)]),
    );
    const saved = structuredClone(devices.save());
    const page = guest.page.slice();

    const goOn = (): unknown[] => {
      const replies: unknown[] = [];
      guest.push(bytesOf('domid\0'));
      replies.push(guest.receive());
      replies.push(
        guest.ask(XS.TRANSACTION_END, 'T\0', tx),
        guest.events(),
        guest.ask(XS.READ, 'data/in-tx\0'),
      );
      guest.ask(XS.RM, 'data/in-tx\0');
      replies.push(guest.events());
      return replies;
    };
    const first = goOn();
    assert.deepEqual(first.slice(1), ['OK\0', ['data/in-tx|t'], 'one', ['data/in-tx|t']]);
    const after = structuredClone(devices.save());
    devices.restore(saved);
    assert.deepEqual(devices.save(), saved);
    guest.page.set(page);
    backend.notified = [];
    const withoutIds = (v: unknown): unknown => JSON.parse(JSON.stringify(v));
    assert.deepEqual(withoutIds(goOn()), withoutIds(first));
    assert.deepEqual(devices.save(), after);
  });
});
