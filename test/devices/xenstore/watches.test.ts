import assert from 'node:assert/strict';
import { XS } from '../../../src/devices/xenstore/wire';
import { createBench, createGuest, type Bench, type Guest } from '../../support/fake-backend';

function start(): Bench & { guest: Guest; other: Guest } {
  const bench = createBench();
  bench.backend.addDomain(1);
  bench.backend.addDomain(2);
  return { ...bench, guest: createGuest(bench.backend, 1), other: createGuest(bench.backend, 2) };
}

describe('devices: xenstore watches', () => {
  it('fire once when set, after the reply, then for changes at the path and below', () => {
    const { guest } = start();
    guest.send(XS.WATCH, 'data\0tok\0');
    assert.deepEqual(
      guest.receive().map((r) => [r.type, r.req_id > 0, r.tx_id, r.payload]),
      [
        [XS.WATCH, true, 0, 'OK\0'],
        [XS.WATCH_EVENT, false, 0, 'data\0tok\0'],
      ],
    );
    guest.send(XS.WRITE, 'data/x/y\0v');
    assert.deepEqual(
      guest.receive().map((r) => [r.type, r.payload]),
      [
        [XS.WATCH_EVENT, 'data/x/y\0tok\0'],
        [XS.WRITE, 'OK\0'],
      ],
    );
    guest.ask(XS.WRITE, 'data\0v');
    guest.ask(XS.MKDIR, 'data/d\0');
    guest.ask(XS.MKDIR, 'data/d\0');
    guest.ask(XS.SET_PERMS, 'data/d\0n1\0');
    guest.ask(XS.WRITE, 'attr/elsewhere\0v');
    guest.ask(XS.READ, 'data\0');
    assert.deepEqual(guest.events(), ['data|tok', 'data/d|tok', 'data/d|tok']);
    assert.equal(guest.ask(XS.UNWATCH, 'data\0tok\0'), 'OK\0');
    guest.ask(XS.WRITE, 'data\0v');
    assert.deepEqual(guest.events(), []);
  });

  it('report paths as they were given: relative or absolute', () => {
    const { guest } = start();
    guest.ask(XS.WATCH, '/local/domain/1/data\0abs\0');
    guest.ask(XS.WATCH, 'data\0rel\0');
    assert.equal(guest.ask(XS.WATCH, 'data\0abs\0'), '!EEXIST');
    guest.events();
    guest.ask(XS.WRITE, 'data/k\0v');
    assert.deepEqual(guest.events(), ['/local/domain/1/data/k|abs', 'data/k|rel']);
  });

  it('of a removal: from above once, below each for itself', () => {
    const { guest } = start();
    guest.ask(XS.WRITE, 'data/a/b/c\0v');
    for (const path of ['data', 'data/a/b', 'data/a/b/c', 'data/a/b/none'])
      guest.ask(XS.WATCH, `${path}\0${path}\0`);
    guest.events();
    guest.ask(XS.RM, 'data/a\0');
    assert.deepEqual(guest.events(), ['data/a/b/c|data/a/b/c', 'data/a/b|data/a/b', 'data/a|data']);
  });

  it('of a transaction fire when it is committed, once a path, and not when it is not', () => {
    const { guest } = start();
    guest.ask(XS.WATCH, 'data\0t\0');
    guest.events();
    for (const [verdict, expected] of [
      ['F', []],
      ['T', ['data/a|t', 'data/b|t', 'data/c|t']],
    ] as const) {
      const tx = Number.parseInt(guest.ask(XS.TRANSACTION_START, '\0'), 10);
      guest.ask(XS.WRITE, 'data/a\x001', tx);
      guest.ask(XS.WRITE, 'data/b\x001', tx);
      guest.ask(XS.WRITE, 'data/a\x002', tx);
      guest.ask(XS.MKDIR, 'data/c\0', tx);
      guest.ask(XS.READ, 'data\0', tx);
      assert.deepEqual(guest.events(), []);
      guest.ask(XS.TRANSACTION_END, `${verdict}\0`, tx);
      assert.deepEqual(guest.events(), expected);
    }
  });

  it('reach only those who may read the node, or could, or its parent', () => {
    const { guest, other } = start();
    assert.equal(other.ask(XS.WATCH, '/local/domain/1/data\0t\0'), 'OK\0');
    assert.deepEqual(other.events(), ['/local/domain/1/data|t']);
    guest.ask(XS.WRITE, 'data/k\0v');
    assert.deepEqual(other.events(), []);
    guest.ask(XS.SET_PERMS, 'data/k\0n1\0r2\0');
    guest.ask(XS.WRITE, 'data/k\0w');
    // Identical events that wait are one, so look in between.
    assert.deepEqual(other.events(), ['/local/domain/1/data/k|t', '/local/domain/1/data/k|t']);
    guest.ask(XS.SET_PERMS, 'data/k\0n1\0');
    assert.deepEqual(other.events(), ['/local/domain/1/data/k|t']);
    guest.ask(XS.WRITE, 'data/k\0x');
    assert.deepEqual(other.events(), []);
    guest.ask(XS.SET_PERMS, 'data\0r1\0');
    other.events();
    guest.ask(XS.WRITE, 'data/k\0y');
    assert.deepEqual(other.events(), ['/local/domain/1/data/k|t']);
  });

  it('of special paths need permission, which only domain 0 has', () => {
    const { guest, backend, devices } = start();
    for (const special of ['@releaseDomain', '@introduceDomain']) {
      assert.equal(guest.ask(XS.WATCH, `${special}\0t\0`), 'OK\0');
      assert.deepEqual(guest.events(), [`${special}|t`]);
      assert.equal(guest.ask(XS.GET_PERMS, `${special}\0`), '!EACCES');
    }
    const heard: string[] = [];
    for (const special of ['@releaseDomain', '@introduceDomain'])
      devices.xenstore.watch(special, (p) => heard.push(p));
    backend.addDomain(3);
    backend.shutDown(2);
    assert.deepEqual(heard, ['@introduceDomain', '@releaseDomain']);
    assert.deepEqual(guest.events(), []);
  });

  it('that wait for a guest are not repeated, and a guest that does not listen costs no more than its quota', () => {
    const { guest, devices } = start();
    guest.ask(XS.WATCH, 'data\0t\0');
    guest.events();
    // The ring takes the first ones; beyond that, equal ones wait as one.
    for (let i = 0; i < 2000; i++) devices.xenstore.write('/local/domain/1/data/same', String(i));
    const events = guest.events();
    assert.ok(events.length < 50, `${events.length} events`);
    assert.ok(events.every((e) => e === 'data/same|t'));
  });

  it('that differ and are not taken are bounded by the quota; the guest is served again once it listens', () => {
    const { guest, devices, lines } = start();
    guest.ask(XS.WATCH, 'data\0t\0');
    guest.events();
    const name = (i: number): string => `${'n'.repeat(900)}${i}`;
    for (let i = 0; i < 4000; i++) devices.xenstore.write(`/local/domain/1/data/${name(i)}`, '');
    assert.ok(lines.some((line) => /does not take its watch events/.test(line)));
    const events = guest.events();
    const bytes = events.reduce((sum, event) => sum + event.length, 0);
    assert.ok(bytes < 2_621_440 && bytes > 2_000_000, `${bytes} bytes`);
    assert.equal(events[0], `data/${name(0)}|t`);
    guest.ask(XS.WRITE, 'attr/x\0y');
    devices.xenstore.write('/local/domain/1/data/again', '');
    assert.deepEqual(guest.events(), ['data/again|t']);
  });

  it('of a domain that ended say nothing more', () => {
    const { guest, other, backend, devices } = start();
    other.ask(XS.WATCH, 'data\0t\0');
    other.events();
    backend.shutDown(2);
    devices.xenstore.write('/local/domain/2/data/x', '1');
    assert.equal(guest.ask(XS.READ, 'domid\0'), '1');
    assert.equal(devices.xenstore.read('/local/domain/2/data/x'), '1');
  });

  it('of back ends fire after the request, also from within each other', () => {
    const { guest, devices } = start();
    const { xenstore } = devices;
    const seen: string[] = [];
    const front = '/local/domain/1/data/ask';
    const watch = xenstore.watch(front, (path) => {
      seen.push(`${path}=${xenstore.read(path) ?? 'gone'}`);
      xenstore.write('/local/domain/1/cpu/answer', `to ${xenstore.read(path) ?? 'gone'}`);
    });
    guest.ask(XS.WATCH, 'cpu\0t\0');
    guest.events();
    guest.ask(XS.WRITE, 'data/ask\0hello');
    assert.equal(guest.ask(XS.READ, 'cpu/answer\0'), 'to hello');
    guest.ask(XS.RM, 'data/ask\0');
    assert.deepEqual(seen, [`${front}=hello`, `${front}=gone`]);
    assert.deepEqual(guest.events(), ['cpu/answer|t', 'cpu/answer|t']);
    watch.dispose();
    guest.ask(XS.WRITE, 'data/ask\0again');
    assert.equal(seen.length, 2);
  });

  it('tell views that something changed', () => {
    const { guest, devices } = start();
    let changes = 0;
    const listener = devices.xenstore.onChange(() => changes++);
    guest.ask(XS.READ, 'name\0');
    assert.equal(changes, 0);
    guest.ask(XS.WRITE, 'data/x\x001');
    devices.xenstore.write('/local/domain/1/data/x', '2');
    assert.equal(changes, 2);
    listener.dispose();
    devices.xenstore.remove('/local/domain/1/data/x');
    assert.equal(changes, 2);
    assert.throws(() => devices.xenstore.write('no//path', ''), /has an empty part/);
  });
});
