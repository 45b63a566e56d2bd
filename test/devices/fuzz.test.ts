import assert from 'node:assert/strict';
import { XS, xenstore_domain_interface } from '../../src/devices/xenstore/wire';
import { xencons_interface } from '../../src/devices/console';
import { createBench, createGuest } from '../support/fake-backend';
import { seeded } from '../support/random';

const { offset } = xenstore_domain_interface;

const paths = [
  'data', 'data/a', 'data/a/b', 'attr/x', 'device/echo/0', 'device/echo/0/state', 'device/echo/0/ring-ref',
  'device/echo/0/event-channel', '/', '/local/domain/2/data', '/local/domain/0/backend/echo/1/0/state', '@releaseDomain',
  'name', '', 'data//', 'x'.repeat(2049), 'a.b',
]; // prettier-ignore
const values = [
  '',
  '1',
  '2',
  '3',
  '4',
  '5',
  '6',
  '8',
  'T',
  'F',
  'n1',
  'r2',
  'b1',
  'tok',
  '0',
  '4294967295',
  '\xff',
];

describe('devices: hostile guests', () => {
  it('random pages, indices and events never throw, and never leave anything but a dead or a sound connection', () => {
    for (let seed = 1; seed <= 40; seed++) {
      const { backend, lines } = createBench();
      const c = backend.addDomain(1);
      backend.addDomain(2);
      const next = seeded((seed * 7919) | 1).below;
      const store = backend.frames.get(c.storeFrame) ?? new Uint8Array(0);
      const console_ = backend.frames.get(c.consoleFrame) ?? new Uint8Array(0);
      const view = new DataView(store.buffer);
      for (let step = 0; step < 300; step++) {
        const action = next(10);
        if (action < 3) for (let i = 0; i < 64; i++) store[next(2080)] = next(256);
        else if (action === 3)
          for (let i = 0; i < 64; i++) console_[next(xencons_interface.size)] = next(256);
        else if (action === 4) view.setUint32(offset.connection, next(3), true);
        else if (action === 5) {
          // A header that makes some sense, at the place where the next one is read.
          const at = view.getUint32(offset.req_cons, true);
          [next(24), next(9), next(3), next(40)].forEach((v, i) => {
            for (let b = 0; b < 4; b++) store[(at + i * 4 + b) % 1024] = (v >>> (b * 8)) & 0xff;
          });
          view.setUint32(offset.req_prod, at + next(1024), true);
        } else backend.kick(1, action < 8 ? 1 : 2);
      }
      assert.ok(!lines.some((l) => l.startsWith('error')), lines.join('\n'));
      view.setUint32(offset.connection, 1, true);
      backend.kick(1, 1);
      const guest = createGuest(backend, 1);
      assert.equal(guest.ask(XS.READ, 'domid\0'), '1');
      assert.equal(createGuest(backend, 2).ask(XS.READ, 'name\0'), 'guest-2');
    }
  });

  it('random requests leave the tree whole and the quotas right; every reply fits', function () {
    for (let seed = 1; seed <= 30; seed++) {
      const { backend, devices, lines } = createBench();
      backend.addDomain(1);
      backend.addDomain(2);
      const next = seeded((seed * 104729) | 1).below;
      const pick = <T>(from: readonly T[], fallback: T): T => from[next(from.length)] ?? fallback;
      const guests = [createGuest(backend, 1), createGuest(backend, 2)] as const;
      const replies = new Set<string>();
      for (let step = 0; step < 400; step++) {
        const guest = guests[next(2) === 0 ? 0 : 1];
        const type = next(24);
        const payload =
          next(8) === 0
            ? String.fromCharCode(...Array.from({ length: next(60) }, () => next(256)))
            : `${pick(paths, '')}\0${pick(values, '')}${next(2) === 0 ? '\0' : ''}`;
        const tx = next(3) === 0 ? next(6) : 0;
        const reply = guest.ask(type, next(6) === 0 ? pick(values, '') + '\0' : payload, tx);
        assert.ok(reply.length <= 4096);
        if (reply.startsWith('!')) replies.add(reply);
      }
      assert.ok(!lines.some((l) => l.startsWith('error')), lines.join('\n'));
      assert.ok(replies.has('!EINVAL') && replies.has('!EACCES'));
      // Every node is named by its parent, once, and every name has its node.
      const saved = devices.save().xenstore.server.store.nodes.map(([path]) => path);
      const reached = devices.xenstore.tree().map((e) => e.path);
      assert.deepEqual([...reached, '@introduceDomain', '@releaseDomain'].sort(), [...saved].sort());
      assert.equal(new Set(reached).size, reached.length);
      // Nothing is held for clients that have nothing open.
      for (const guest of guests) {
        guest.ask(XS.RESET_WATCHES, '\0');
        guest.events();
      }
      assert.deepEqual(
        devices.save().xenstore.server.clients.map((c) => [c.memory, c.queue.length]),
        [
          [0, 0],
          [0, 0],
        ],
      );
      // The same again from what was saved.
      const state = devices.save();
      devices.restore(structuredClone(state));
      assert.deepEqual(devices.save(), state);
    }
  });

  it('one event does work for one ring', () => {
    const { backend } = createBench();
    const { storeFrame } = backend.addDomain(1);
    const page = backend.frames.get(storeFrame) ?? new Uint8Array(0);
    let writes = 0;
    const write = backend.writeU32.bind(backend);
    backend.writeU32 = (...a) => {
      writes++;
      write(...a);
    };
    // 64 empty requests of an unknown type: as much as fits.
    page.fill(0xff, 0, 1024);
    for (let i = 0; i < 64; i++) new DataView(page.buffer).setUint32(i * 16 + 12, 0, true);
    new DataView(page.buffer).setUint32(offset.req_prod, 1024, true);
    backend.kick(1, 1);
    assert.ok(writes <= 64 * 2, `${writes} index updates`);
  });
});
