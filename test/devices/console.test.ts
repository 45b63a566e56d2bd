import assert from 'node:assert/strict';
import { ringPut, ringTake } from '../../src/devices/byte-ring';
import { xencons_interface } from '../../src/devices/console';
import { bytesOf, consoleIn, consoleOut, createBench, type Bench } from '../support/fake-backend';

const { offset } = xencons_interface;

function start(): Bench & {
  page: { context: Bench['backend']; frame: ReturnType<Bench['backend']['addDomain']>['consoleFrame'] };
  out: string[];
} {
  const bench = createBench();
  const { consoleFrame } = bench.backend.addDomain(1);
  const out: string[] = [];
  bench.devices.console.onOutput((domain, bytes) => out.push(`${domain}:${String.fromCharCode(...bytes)}`));
  bench.backend.notified = [];
  return { ...bench, page: { context: bench.backend, frame: consoleFrame }, out };
}

describe('devices: console ring', () => {
  it('has the layout of io/console.h', () => {
    assert.deepEqual(
      [offset.in, offset.out, offset.in_cons, offset.in_prod, offset.out_cons, offset.out_prod],
      [0, 1024, 3072, 3076, 3080, 3084],
    );
  });

  it('takes output when notified, across the wrap of ring and index, and says that there is room', () => {
    const { backend, page, out } = start();
    for (const index of [offset.out_cons, offset.out_prod]) backend.writeU32(page.frame, index, 0xffff_fffa);
    assert.equal(ringPut(page, consoleOut, bytesOf('hello, wrapped world')), 20);
    assert.deepEqual(out, []);
    backend.kick(1, 2);
    assert.deepEqual(out, ['1:hello, wrapped world']);
    assert.deepEqual(backend.notified, ['1:2']);
    assert.equal(backend.frame(page.frame)?.view.getUint32(offset.out_cons, true), 14);
  });

  it('does not notify when there was nothing', () => {
    const { backend } = start();
    backend.kick(1, 2);
    assert.deepEqual(backend.notified, []);
  });

  it('takes a full ring, and what was written last and not notified at the end of the domain', () => {
    const { backend, page, out } = start();
    ringPut(page, consoleOut, new Uint8Array(3000).fill(0x2e));
    backend.kick(1, 2);
    assert.equal(out[0]?.length, 2 + 2048);
    ringPut(page, consoleOut, bytesOf('last words'));
    backend.shutDown(1);
    assert.equal(out[1], '1:last words');
  });

  it('feeds input as there is room, and says what is not read yet', () => {
    const { backend, devices, page } = start();
    const typed = Uint8Array.from({ length: 2500 }, (_, i) => i & 0xff);
    devices.console.input(1, typed.subarray(0, 700));
    devices.console.input(1, typed.subarray(700));
    assert.deepEqual(backend.notified, ['1:2', '1:2']);
    assert.equal(devices.console.pendingInput(1), 2500);
    const read: number[] = [];
    for (let i = 0; i < 10; i++) {
      const some = ringTake(page, consoleIn, 400);
      assert.ok(typeof some !== 'string');
      read.push(...some);
      assert.equal(devices.console.pendingInput(1), 2500 - read.length);
      backend.kick(1, 2);
    }
    assert.deepEqual(read, [...typed]);
    assert.equal(devices.console.pendingInput(7), 0);
  });

  it('ignores impossible indices, once in words, and goes on when they are right again', () => {
    const { backend, devices, page, out, lines } = start();
    for (const [cons, prod] of [
      [0, 2049],
      [1, 0],
      [0x8000_0000, 0],
    ] as const) {
      backend.writeU32(page.frame, offset.out_cons, cons);
      backend.writeU32(page.frame, offset.out_prod, prod);
      backend.kick(1, 2);
    }
    backend.writeU32(page.frame, offset.in_prod, 1025);
    devices.console.input(1, bytesOf('x'));
    assert.deepEqual(out, []);
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? '', /d1: the console's output ring cannot be used \(indices\)/);
    backend.writeU32(page.frame, offset.out_cons, 0);
    backend.writeU32(page.frame, offset.out_prod, 2);
    backend.writeU32(page.frame, offset.in_prod, 0);
    backend.kick(1, 2);
    assert.equal(out.length, 1);
    assert.equal(backend.frame(page.frame)?.bytes[0], 0x78);
  });

  it('saves and restores input that waits', () => {
    const { devices, backend, page } = start();
    devices.console.input(1, new Uint8Array(1024));
    devices.console.input(1, bytesOf('later'));
    const saved = structuredClone(devices.save());
    const memory = backend.frames.get(page.frame)?.slice();
    ringTake(page, consoleIn, 1024);
    backend.kick(1, 2);
    assert.equal(devices.console.pendingInput(1), 5);
    devices.restore(saved);
    backend.frames.get(page.frame)?.set(memory ?? []);
    assert.equal(devices.console.pendingInput(1), 1029);
    ringTake(page, consoleIn, 1024);
    backend.kick(1, 2);
    assert.deepEqual(ringTake(page, consoleIn, 9), bytesOf('later'));
  });
});
