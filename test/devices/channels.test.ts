import assert from 'node:assert/strict';
import { mfn } from '../../src/base/branded';
import { ringPut, ringTake } from '../../src/devices/byte-ring';
import { XS } from '../../src/devices/xenstore/wire';
import { bytesOf, consoleIn, consoleOut, createBench, createGuest } from '../support/fake-backend';

const FRAME = mfn(77);
const BACK = '/local/domain/0/backend/console/1/2';

/** A guest that connects its second channel. */
function start(): ReturnType<typeof createBench> & {
  readonly seen: string[];
  readonly guest: ReturnType<typeof createGuest>;
  readonly write: (text: string) => void;
  readonly read: () => string;
  readonly connect: () => string;
} {
  const bench = createBench({ channels: () => ['agent', 'log'] });
  bench.backend.addDomain(1);
  bench.backend.frames.set(FRAME, new Uint8Array(4096));
  bench.backend.grants.set('1:9', { mfn: FRAME });
  const guest = createGuest(bench.backend, 1);
  const seen: string[] = [];
  bench.devices.console.onOutput((domain, bytes, console) =>
    seen.push(`${domain}:${console}:${String.fromCharCode(...bytes)}`),
  );
  const page = { context: bench.backend, frame: FRAME };
  return {
    ...bench,
    guest,
    seen,
    write: (text) => void ringPut(page, consoleOut, bytesOf(text)),
    read: () => {
      const taken = ringTake(page, consoleIn, 4096);
      return typeof taken === 'string' ? `!${taken}` : String.fromCharCode(...taken);
    },
    connect() {
      bench.backend.unbound.add('1:6');
      guest.ask(XS.WRITE, 'device/console/2/ring-ref\x009');
      guest.ask(XS.WRITE, 'device/console/2/port\x006');
      guest.ask(XS.WRITE, 'device/console/2/state\x003');
      return guest.ask(XS.READ, `${BACK}/state\0`);
    },
  };
}

describe('devices: consoles beside the first', () => {
  it('stand in xenstore as libxl writes channels', () => {
    const { guest } = start();
    assert.equal(guest.ask(XS.DIRECTORY, 'device/console\0'), '1\x002\0');
    for (const [node, value] of [
      ['device/console/1/name', 'agent'],
      ['device/console/2/name', 'log'],
      ['device/console/2/connection', 'pty'],
      ['device/console/2/output', 'pty'],
      ['device/console/2/state', '1'],
      ['device/console/2/backend', BACK],
      [`${BACK}/name`, 'log'],
      [`${BACK}/state`, '2'],
    ] as const)
      assert.equal(guest.ask(XS.READ, `${node}\0`), value, node);
  });

  it('carry bytes both ways under their number, apart from the first', () => {
    const { connect, write, read, backend, seen, devices } = start();
    devices.input({ kind: 'console', domain: 1, console: 2, data: bytesOf('early ') });
    write('before');
    assert.equal(connect(), '4');
    assert.deepEqual(seen, ['1:2:before']);
    write(' and after');
    backend.kick(1, 6);
    assert.deepEqual(seen, ['1:2:before', '1:2: and after']);
    devices.input({ kind: 'console', domain: 1, console: 2, data: bytesOf('typed') });
    devices.input({ kind: 'console', domain: 1, console: 0, data: bytesOf('elsewhere') });
    assert.equal(devices.console.pendingInput(1, 2), 11);
    assert.equal(read(), 'early typed');
    assert.equal(devices.console.pendingInput(1, 2), 0);
    assert.equal(devices.console.pendingInput(1), 9);
  });

  it('give the last words of a guest that closes, and close for what cannot be connected', () => {
    const { connect, write, guest, seen, backend, lines } = start();
    connect();
    write('bye');
    guest.ask(XS.WRITE, 'device/console/2/state\x006');
    assert.deepEqual(seen, ['1:2:bye']);
    assert.deepEqual(backend.mapped, []);
    guest.ask(XS.WRITE, 'device/console/2/state\x001');
    backend.grants.clear();
    assert.equal(connect(), '6');
    assert.match(lines.join(), /console 2: cannot connect: ring-ref: grant 9: no entry 9/);
  });

  it('are saved and restored with what waits for them', () => {
    const { connect, write, read, backend, seen, devices, guest } = start();
    connect();
    devices.input({ kind: 'console', domain: 1, console: 1, data: bytesOf('for an agent to come') });
    const saved = structuredClone(devices.save());
    const kept = [...backend.mapped];
    const ends = [...backend.ends()];
    guest.ask(XS.WRITE, 'device/console/2/state\x006');
    devices.restore(saved);
    backend.mapped.push(...kept);
    for (const [port, end] of ends) (backend.ends() as Map<number, unknown>).set(port, end);
    assert.deepEqual(devices.save(), saved);
    assert.equal(devices.console.pendingInput(1, 1), 20);
    write('again');
    backend.kick(1, 6);
    assert.deepEqual(seen, ['1:2:again']);
    devices.input({ kind: 'console', domain: 1, console: 2, data: bytesOf('x') });
    assert.equal(read(), 'x');
    assert.deepEqual(
      devices.inspect().console.map((c) => [c.console, c.name, c.output, c.waiting]),
      [
        [0, 'console', 0, 0],
        [1, 'agent', undefined, 20],
        [2, 'log', 0, 0],
      ],
    );
  });
});
