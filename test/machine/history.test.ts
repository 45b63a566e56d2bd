/** Going back: what was is there again, to the bit, and what comes of it is what came of it. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { inProcessTarget } from '../../src/host/machine';
import { samplesFolder } from '../../src/host/node';
import type {
  DomainConfig,
  MachineConfig,
  Position,
  Stop,
  StopPoint,
  VcpuRef,
} from '../../src/machine/target';
import { comparePositions } from '../../src/machine/position';
import { SAMPLE, domain, runTo, watched, wholeTrace, type Watched } from '../support/machines';
import { seeded } from '../support/random';

const VCPU: VcpuRef = { domain: 1, vcpu: 0 };
const MIB = 1 << 20;
const make = async (more: Partial<MachineConfig> = {}): Promise<Watched> =>
  watched(
    await inProcessTarget({
      domains: [domain(SAMPLE, { memory: 4 * MIB })],
      history: { memory: 64 * MIB, interval: 10_000n },
      ...more,
    }),
  );
const neighbour = (role: string, peer: number): DomainConfig =>
  domain(join(samplesFolder, 'neighbours', 'neighbours.elf'), {
    name: role,
    cmdline: `role=${role} peer=${peer}`,
    memory: 4 * MIB,
  });

/** Everything that can hold a vCPU. */
const everything: readonly StopPoint[] = [
  { kind: 'hypercall', id: 1, name: '*', when: 'entry' },
  { kind: 'hypercall', id: 2, name: '*', when: 'return' },
  ...(['hypercall-failed', 'guest-fault', 'event-upcall', 'privileged-op', 'event-port'] as const).map(
    (filter, i): StopPoint => ({ kind: 'event', id: 3 + i, filter }),
  ),
];

interface Place {
  readonly position: Position;
  readonly hash: string;
  readonly registers: string;
}
const place = async ({ target }: Watched, vcpu: VcpuRef = VCPU): Promise<Place> => ({
  position: await target.position(),
  hash: await target.stateHash(),
  registers: (await target.registers(vcpu))
    .map(({ name, bytes }) => `${name} ${Buffer.from(bytes).toString('hex')}`)
    .join(),
});
const end = async (run: Watched): Promise<readonly unknown[]> => {
  const { reason } = await run.target.run({});
  assert.equal(reason.kind, 'shutdown');
  return [await place(run), await wholeTrace(run.target), run.console()];
};

describe('going back', function () {
  this.timeout(60_000);

  for (const tier of ['interpret', 'compile'] as const) {
    it(`by instructions is through the places where steps forward end, in tier ${tier}`, async () => {
      const run = await make({ tier });
      await runTo(run.target, 40_000n);
      const places: Place[] = [];
      for (let i = 0; i < 30; i++) {
        places.push(await place(run));
        await run.target.run({ instructions: 1n, vcpu: VCPU, skipUpcalls: false });
      }
      for (const wanted of places.reverse()) {
        const from = await run.target.position();
        const to = await run.target.stepBack(VCPU, from);
        assert.ok(to !== undefined && comparePositions(to, from) < 0);
        assert.deepEqual(await place(run), wanted);
      }
      const all = await end(run);
      assert.deepEqual(all.slice(0, 2), (await end(await make({ tier }))).slice(0, 2));
    });
  }

  it('by instructions goes through hypercalls and faults as steps forward do, and ends at the beginning', async () => {
    const run = await make();
    const first = await place(run);
    // Where something happens: the last steps before each kind of stop.
    await run.target.setStops(everything);
    const kinds = new Set<string>();
    for (let n = 0; kinds.size < 6 && n < 60; n++) {
      const stop = await run.target.run({});
      if (stop.reason.kind === 'shutdown') break;
      const { reason } = stop;
      const kind =
        reason.kind === 'hypercall' ? reason.when : reason.kind === 'event' ? reason.ids.join() : '';
      if (kinds.has(kind)) continue;
      kinds.add(kind);
      const held = await place(run);
      await run.target.setStops([]);
      const places: Place[] = [];
      for (let i = 0; i < 5; i++) {
        await run.target.run({ instructions: 1n, vcpu: VCPU, skipUpcalls: false });
        places.push(await place(run));
      }
      for (const wanted of places.reverse().slice(1)) {
        await run.target.stepBack(VCPU, await run.target.position());
        assert.deepEqual(await place(run), wanted, kind);
      }
      await run.target.seekTo(held.position);
      assert.deepEqual(await place(run), held, kind);
      await run.target.setStops(everything);
    }
    assert.ok(kinds.size >= 4, [...kinds].join());
    await run.target.setStops([]);
    await run.target.seekTo({ ...first.position, time: 3n, retired: 3n });
    for (let i = 0; i < 3; i++)
      assert.notEqual(await run.target.stepBack(VCPU, await run.target.position()), undefined);
    assert.deepEqual(await place(run), first);
    assert.equal(await run.target.stepBack(VCPU, await run.target.position()), undefined);
    assert.deepEqual(await place(run), first);
  });

  for (const [name, domains] of [
    ['one domain', [domain(SAMPLE, { memory: 4 * MIB })]],
    ['two domains', [neighbour('giver', 2), neighbour('taker', 1)]],
  ] as const) {
    it(`leads to any place where the machine has stood, and on from there: ${name}`, async () => {
      const run = await make({ domains });
      await run.target.setStops(everything);
      const places: Place[] = [];
      let stop: Stop;
      do {
        stop = await run.target.run({});
        const now = await place(run, stop.vcpu);
        // Two things can be told at one place.
        if (comparePositions(places[places.length - 1]?.position ?? now.position, now.position) === 0)
          places.pop();
        places.push(now);
      } while (stop.reason.kind !== 'shutdown' && places.length < 60);
      const said = run.console();
      const records = await wholeTrace(run.target);
      const random = seeded(7);
      const last = places.length - 1;
      for (let i = 0; i < 8; i++) {
        const n = random.below(last);
        const wanted = places[n];
        assert.ok(wanted);
        await run.target.seekTo(wanted.position);
        assert.equal(await run.target.stateHash(), wanted.hash, `stop ${n}`);
        assert.deepEqual(await run.target.position(), wanted.position);
        // The next stop is the next.
        const next = await run.target.run({});
        assert.deepEqual(await place(run, next.vcpu), places[n + 1], `after stop ${n}`);
      }
      assert.equal(run.console(), said, 'nothing is said twice');
      await run.target.setStops([]);
      const final = places[last];
      assert.ok(final);
      await run.target.seekTo(final.position);
      assert.equal(await run.target.stateHash(), final.hash);
      assert.deepEqual(await wholeTrace(run.target), records);
    });
  }

  it('ends a run before a place, whatever is there', async () => {
    const run = await make();
    await run.target.setStops(everything);
    for (let i = 0; i < 20; i++) await run.target.run({});
    const there = await place(run);
    const mark = await run.target.rewind(there.position, true);
    assert.ok(mark !== undefined && comparePositions(mark, there.position) < 0);
    assert.deepEqual(await run.target.position(), mark);
    let stops = 0;
    for (;;) {
      const stop = await run.target.run({ before: there.position, skipCurrent: false });
      if (stop.reason.kind === 'reached') break;
      stops++;
      assert.ok(comparePositions(await run.target.position(), there.position) < 0);
    }
    assert.deepEqual(await place(run), there);
    assert.ok(stops < 20);
  });

  it('does again what was changed by hand, until somebody changes something else', async () => {
    const run = await make();
    await runTo(run.target, 20_000n);
    const before = await place(run);
    const scratch = 0x20_0000n;
    await run.target.setRegister(VCPU, 'r15', new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]));
    await run.target.writeMemory({ kind: 'pseudophysical', domain: 1 }, scratch, new Uint8Array([9, 9]));
    const changed = await place(run);
    assert.notEqual(changed.hash, before.hash);
    await runTo(run.target, 45_000n);
    const later = await place(run);

    await run.target.stepBack(VCPU, changed.position);
    assert.equal((await run.target.now()).retired, 19_999n);
    await runTo(run.target, 45_000n);
    assert.deepEqual(await place(run), later, 'by running');
    await run.target.seekTo({ ...later.position, retired: 30_000n, time: 30_000n });
    await runTo(run.target, 45_000n);
    assert.deepEqual(await place(run), later, 'from between');

    // Another future, without the change and with one of its own.
    await run.target.seekTo({ ...before.position, retired: 10_000n, time: -1n });
    await run.target.writeMemory({ kind: 'pseudophysical', domain: 1 }, scratch, new Uint8Array([7]));
    await runTo(run.target, 45_000n);
    assert.notEqual(await run.target.stateHash(), later.hash);
    const view = await run.target.history();
    assert.ok(view.kept && !view.repeats);
    assert.deepEqual(
      [...(await run.target.readMemory({ kind: 'pseudophysical', domain: 1 }, scratch, 2))],
      [7, 0],
    );
  });

  it('types again what was typed, until something else is typed', async () => {
    const type = (run: Watched, text: string): Promise<void> =>
      run.target.consoleInput(1, new TextEncoder().encode(text));
    const run = await make();
    await runTo(run.target, 20_000n);
    await type(run, 'first');
    await runTo(run.target, 30_000n);
    await type(run, 'second');
    await runTo(run.target, 50_000n);
    const later = await place(run);
    await run.target.seekTo({ ...later.position, retired: 10_000n, time: -1n });
    await runTo(run.target, 50_000n);
    assert.deepEqual(await place(run), later);
    await run.target.seekTo({ ...later.position, retired: 25_000n, time: -1n });
    await type(run, 'other');
    await runTo(run.target, 50_000n);
    assert.equal((await run.target.position()).inputs, 2);
    const other = await make();
    await runTo(other.target, 20_000n);
    await type(other, 'first');
    await runTo(other.target, 25_000n);
    await type(other, 'other');
    await runTo(other.target, 50_000n);
    assert.equal(await run.target.stateHash(), await other.target.stateHash());
  });

  it('takes as much memory as it may, with fewer marks the longer ago; where that is too little, it begins later', async () => {
    const run = await make({ history: { memory: 6 * MIB, interval: 2000n } });
    await runTo(run.target, 60_000n);
    const view = await run.target.history();
    assert.ok(view.kept);
    assert.ok(view.bytes <= 6 * MIB && view.bytes > 2 * MIB, `${view.bytes} bytes`);
    assert.ok(view.marks > 5, `${view.marks} marks`);
    const later = await place(run);
    if (view.whole) assert.equal(view.from.retired, 0n);
    await run.target.seekTo(view.position);
    await runTo(run.target, 60_000n);
    assert.deepEqual(await place(run), later);

    const short = await make({ history: { memory: 1, interval: 2000n } });
    await runTo(short.target, 60_000n);
    const little = await short.target.history();
    assert.ok(little.kept && !little.whole && little.marks === 2 && little.from.retired > 50_000n);
    await assert.rejects(
      short.target.seekTo({ ...later.position, retired: 100n }),
      /before the history begins/,
    );
  });

  it('is refused where no history is kept, and takes nothing there', async () => {
    const run = watched(await inProcessTarget({ domains: [domain(SAMPLE)] }));
    await runTo(run.target, 1000n);
    assert.deepEqual(await run.target.history(), { kept: false });
    await assert.rejects(run.target.stepBack(VCPU, await run.target.position()), /no history is kept/);
  });
});
