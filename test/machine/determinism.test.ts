/** One image, one configuration, one input log: one run, however it is cut, stopped, watched or gone back in. */
import assert from 'node:assert/strict';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { createEmbeddedTarget } from '../../src/machine/embedded';
import { connectTarget, serveTarget, type Port } from '../../src/machine/rpc';
import { machineHost } from '../../src/host/machine';
import type { DomainConfig, StopPoint } from '../../src/machine/target';
import {
  SAMPLE,
  domain,
  machineOf,
  runTo,
  watch,
  watched,
  wholeTrace,
  type Watched,
} from '../support/machines';

const config: DomainConfig = domain(SAMPLE);
const make = (): Promise<Watched> => watch(config);

interface Outcome {
  readonly hash: string;
  readonly retired: bigint;
  readonly console: string;
  readonly records: readonly object[];
}
const outcome = async ({ target, console }: Watched): Promise<Outcome> => ({
  hash: await target.stateHash(),
  retired: (await target.now()).retired,
  console: console(),
  records: await wholeTrace(target),
});

/** An event of every kind and every hypercall, so that the run is held as often as it can be. */
const everything: readonly StopPoint[] = [
  { kind: 'hypercall', id: 1, name: '*', when: 'entry' },
  { kind: 'hypercall', id: 2, name: '*', when: 'return' },
  ...(['hypercall-failed', 'guest-fault', 'event-upcall', 'privileged-op'] as const).map(
    (filter, i): StopPoint => ({ kind: 'event', id: 3 + i, filter }),
  ),
];

describe('a run', function () {
  this.timeout(60_000);
  let whole: Outcome;
  /** A moment in the middle, and the state there. */
  let half: bigint;
  let atHalf: Outcome;

  before(async () => {
    const run = await make();
    assert.equal((await run.target.run({})).reason.kind, 'shutdown');
    whole = await outcome(run);
    half = whole.retired / 2n;
    const other = await make();
    await runTo(other.target, half);
    atHalf = await outcome(other);
    assert.equal(atHalf.retired, half);
  });

  it('is the same twice', async () => {
    const run = await make();
    await run.target.run({});
    assert.deepEqual(await outcome(run), whole);
  });

  it('depends on its configuration, so the hash is no constant', async () => {
    const run = await watch({ ...config, cmdline: 'something' });
    await run.target.run({});
    assert.notEqual((await outcome(run)).hash, whole.hash);
    assert.notEqual(atHalf.hash, whole.hash);
  });

  for (const slice of [1, 2, 13, 997, 4096]) {
    it(`is the same in pieces of ${slice} instructions`, async () => {
      const run = await make();
      // One instruction at a time through the part where most happens; that is slow.
      const fine = slice < 10 ? 20_000n : half;
      await runTo(run.target, half - fine);
      for (let n = half - fine; n < half;) {
        n += BigInt(slice);
        await runTo(run.target, n > half ? half : n);
      }
      assert.deepEqual(await outcome(run), atHalf);
      await run.target.run({});
      assert.deepEqual(await outcome(run), whole);
    });
  }

  it('is the same when it is cut inside of the machine', async () => {
    const machine = await machineOf(config);
    const session = machine.run({});
    const cut = [1n, 17n, 100n, 3n, 1000n];
    let slices = 0;
    for (let i = 0; ; i++) {
      const end = session.slice(cut[i % cut.length] ?? 1n, true);
      if (end.kind === 'slice') slices++;
      if (end.kind === 'stop') {
        assert.equal(end.stop.reason.kind, 'shutdown');
        break;
      }
    }
    assert.ok(slices > 100);
    assert.equal(machine.clock.retired(), whole.retired);
  });

  it('is the same when it is paused again and again', async () => {
    const run = await make();
    let pauses = 0;
    const running = setInterval(() => run.target.pause(), 0);
    run.target.onConsole(() => run.target.pause());
    for (;;) {
      const stop = await run.target.run({});
      if (stop.reason.kind === 'shutdown') break;
      assert.equal(stop.reason.kind, 'pause');
      pauses++;
    }
    clearInterval(running);
    assert.ok(pauses > 5, `${pauses} pauses`);
    assert.deepEqual(await outcome(run), whole);
  });

  it('is the same when everything that can stop it stops it, and is looked at', async () => {
    const run = await make();
    await run.target.setStops(everything);
    let stops = 0;
    for (;;) {
      const stop = await run.target.run({});
      if (stop.reason.kind === 'shutdown') break;
      assert.ok(stop.reason.kind === 'hypercall' || stop.reason.kind === 'event', stop.reason.kind);
      stops++;
      const { vcpu } = stop;
      const registers = await run.target.registers(vcpu);
      assert.ok(registers.length > 20);
      await run.target.currentHypercall(vcpu);
      await run.target.hypervisorState(vcpu);
      await run.target.walk(vcpu, 0xffffffff80100000n);
      await run.target.readMemory({ kind: 'virtual', vcpu }, 0xffffffff80100000n, 8192);
    }
    assert.ok(stops > 2 * whole.records.length);
    assert.deepEqual(await outcome(run), whole);
  });

  it('is the same with breakpoints in it', async () => {
    const run = await make();
    // Where the first hypercalls were made from: after the syscall, in the hypercall page.
    const records = await wholeTrace((await finished()).target);
    const addresses = [...new Set(records.map(({ rip }) => rip))].slice(0, 8);
    await run.target.setStops(addresses.map((address, id) => ({ kind: 'instruction', id, address })));
    let stops = 0;
    while ((await run.target.run({})).reason.kind === 'instruction') stops++;
    assert.ok(stops >= addresses.length);
    assert.deepEqual(await outcome(run), whole);
  });

  it('is the same in a machine behind messages', async () => {
    const [near, far] = channel();
    serveTarget(far, (wanted) => createEmbeddedTarget(wanted, machineHost({ paced: false })));
    const run = watched(await connectTarget(near, { domains: [config] }, new Promise(() => undefined)));
    await runTo(run.target, half);
    const there = await outcome(run);
    assert.deepEqual([there.hash, there.records], [atHalf.hash, atHalf.records]);
    await run.target.run({});
    const { hash, records, console } = await outcome(run);
    assert.deepEqual([hash, records], [whole.hash, whole.records]);
    assert.ok(console.endsWith('first-hypercall: done\r\n'));
    await run.target.dispose();
  });

  it('is the same after a restart', async () => {
    const run = await make();
    const fresh = await outcome(run);
    await runTo(run.target, half);
    await run.target.restart();
    assert.deepEqual({ ...(await outcome(run)), console: '' }, fresh);
    await run.target.run({});
    const again = await outcome(run);
    assert.deepEqual([again.hash, again.records], [whole.hash, whole.records]);
  });

  it('steps through every state that a free run goes through', async () => {
    const run = await make();
    await runTo(run.target, 30_000n);
    for (let n = 30_000n; n < 30_400n; n += 100n) {
      for (let i = 0; i < 100; i++) {
        const { retired } = await run.target.now();
        if (retired >= n + 100n) break;
        await run.target.run({ instructions: 1n, skipUpcalls: false });
      }
      const free = await make();
      const { retired } = await run.target.now();
      await runTo(free.target, retired);
      assert.equal(await run.target.stateHash(), await free.target.stateHash(), `at ${retired}`);
    }
  });

  async function finished(): Promise<Watched> {
    const run = await make();
    await run.target.run({});
    return run;
  }
});

describe('marks of a real machine', function () {
  this.timeout(60_000);

  const ends: readonly [string, bigint, bigint][] = [
    ['early', 2_000n, 30_000n],
    ['while page tables are made', 20_000n, 60_000n],
    ['to the end', 50_000n, 10n ** 9n],
  ];
  for (const [what, from, to] of ends) {
    it(`give the same future again: ${what}`, async () => {
      const run = await make();
      await runTo(run.target, from);
      const there = await run.target.stateHash();
      const mark = await run.target.mark();
      assert.equal(await run.target.stateHash(), there, 'a mark changes nothing');
      const shown = run.console().length;
      await runTo(run.target, to);
      const first = await outcome(run);
      const said = run.console().slice(shown);
      for (let i = 0; i < 3; i++) {
        const before = run.console().length;
        assert.equal((await run.target.seek(mark)).retired, from);
        assert.equal(await run.target.stateHash(), there, 'back at the mark');
        await runTo(run.target, to);
        const again = await outcome(run);
        assert.equal(again.hash, first.hash);
        assert.deepEqual(again.records, first.records);
        assert.equal(run.console().slice(before), said);
      }
    });
  }

  it('change nothing for the run that takes them', async () => {
    const plain = await make();
    await plain.target.run({});
    const marked = await make();
    for (let n = 1000n; n < 100_000n; n += 7919n) {
      await runTo(marked.target, n);
      await marked.target.mark();
    }
    await marked.target.run({});
    assert.deepEqual(await outcome(marked), await outcome(plain));
  });

  it('can be taken while a hypercall, a fault or an upcall is held', async () => {
    const run = await make();
    await run.target.setStops(everything);
    const held: { mark: number; hash: string; reason: object }[] = [];
    for (let i = 0; ; i++) {
      const stop = await run.target.run({});
      if (stop.reason.kind === 'shutdown') break;
      if (i % 61 === 0)
        held.push({ mark: await run.target.mark(), hash: await run.target.stateHash(), reason: stop.reason });
    }
    const end = await outcome(run);
    assert.ok(held.length > 3);
    // Backwards, forwards, and on from there.
    for (const { mark, hash } of [...held].reverse()) {
      await run.target.seek(mark);
      assert.equal(await run.target.stateHash(), hash);
    }
    await run.target.setStops([]);
    for (const { mark, hash } of held) {
      await run.target.seek(mark);
      assert.equal(await run.target.stateHash(), hash);
      await run.target.run({});
      const again = await outcome(run);
      assert.deepEqual([again.hash, again.records], [end.hash, end.records]);
    }
  });

  it('may be dropped, and then are gone', async () => {
    const run = await make();
    await runTo(run.target, 1000n);
    const [one, two] = [await run.target.mark(), await run.target.mark()];
    await runTo(run.target, 50_000n);
    await run.target.dropMark(one);
    await assert.rejects(run.target.seek(one), /there is no mark/);
    assert.equal((await run.target.seek(two)).retired, 1000n);
  });
});

/** Both ends of a channel that clones what it carries, as a worker's does. */
function channel(): [Port, Port] {
  const { port1, port2 } = new MessageChannel();
  const end = (port: MessagePort): Port => ({
    post: (message) => {
      port.postMessage(message);
    },
    onMessage: (listener) => {
      port.on('message', listener);
    },
    close: () => {
      port.close();
    },
  });
  return [end(port1), end(port2)];
}
