/**
 * Exits that are seen to in place (src/machine/fastpath) against the hypervisor's own account of them: one guest that
 * crosses the boundary in every way, with and without; the states of all parts at many counts.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { look, stateOf } from '../../scripts/lockstep';
import { hex } from '../../src/abi/decoded';
import { interpreterModule } from '../../src/host/machine';
import { assembleMachine } from '../../src/machine/assemble';
import type { Machine } from '../../src/machine/machine';
import type { StopPoint } from '../../src/machine/target';
import { domain } from '../support/machines';

const CROSSINGS = join(__dirname, '..', 'guests', 'crossings', 'crossings.elf');

const machine = (
  cmdline: string,
  fastPath: boolean,
  tier: 'interpret' | 'compile' = 'interpret',
  vcpus = 1,
): Promise<Machine> =>
  assembleMachine(
    { tier, domains: [domain(CROSSINGS, { cmdline, vcpus })] },
    {
      interpreter: interpreterModule(),
      log: () => undefined,
      fastPath,
      compile: { heat: 30, batch: 8 },
      traceRecords: 256,
    },
  );

/** What no instruction shows: the hypervisor's state, turns, records, tallies. */
const besides = (m: Machine): unknown => {
  const { trace } = m;
  const records = Array.from({ length: trace.next() - trace.first() }, (_, i) =>
    trace.raw(trace.first() + i),
  );
  const vcpus = m.vcpus().map(({ state }) => ({ ...state }));
  const text = JSON.stringify(
    { turn: m.turn(), summary: trace.summary(), records, vcpus },
    (_key, value: unknown) =>
      typeof value === 'bigint' ? hex(value) : value instanceof Uint8Array ? [...value] : value,
  );
  return JSON.parse(text);
};

async function compare(cmdline: string, every: bigint, tier?: 'interpret' | 'compile'): Promise<void> {
  const slow = await machine(cmdline, false);
  const fast = await machine(cmdline, true, tier);
  const looks = { every, to: 1n << 60n, full: 50 };
  const reference = look(slow, looks);
  const looked = look(fast, looks, reference.states);
  assert.equal(looked.differs, undefined, `they differ at ${looked.differs ?? 0n} instructions`);
  assert.equal(looked.retired, reference.retired);
  assert.deepEqual(besides(fast), besides(slow));
  assert.ok(looked.states.length > 20, `${looked.states.length} states were compared`);
  for (const m of [slow, fast]) m.disks.dispose();
}

describe('exits seen to in place', function () {
  this.timeout(60_000);

  it('end as those that the hypervisor sees to', async () => {
    for (const seed of [1, 2, 3]) await compare(`rounds=2000 seed=${seed}`, 9_973n);
  });

  it('do so where the machine is looked at after few instructions', async () => {
    await compare('rounds=60 seed=4', 13n);
  });

  it('do so in compiled regions', async () => {
    await compare('rounds=6000 seed=5', 49_999n, 'compile');
  });

  it('are seen to: few leave of those that may stay', async () => {
    const m = await machine('rounds=2000 seed=6', true);
    const { fastPath } = m;
    assert.ok(fastPath);
    const session = m.run({});
    while (session.slice(1_000_000n, true).kind === 'slice');
    const all = m.turn().turns / 2;
    assert.ok(fastPath.seen() > all * 0.6, `${fastPath.seen()} of ${all}`);
  });

  it('leave when somebody wants to be asked', async () => {
    const stops: readonly StopPoint[] = [
      { kind: 'hypercall', id: 1, name: 'iret', when: 'entry' },
      { kind: 'hypercall', id: 1, name: 'stack_switch', when: 'return' },
      { kind: 'hypercall', id: 1, name: 'xen_version.version', when: 'entry' },
      { kind: 'hypercall', id: 1, name: '*', when: 'entry' },
      { kind: 'event', id: 1, filter: 'guest-fault' },
      { kind: 'event', id: 1, filter: 'privileged-op' },
    ];
    for (const stop of stops) {
      const counts: number[] = [];
      const states: string[] = [];
      for (const fastPath of [false, true]) {
        const m = await machine('rounds=800 seed=7', fastPath);
        m.setStops([stop]);
        let count = 0;
        for (let session = m.run({}); ; session = m.run({})) {
          const end = session.slice(1n << 40n, true);
          if (end.kind !== 'stop' || end.stop.reason.kind === 'shutdown') break;
          count++;
        }
        counts.push(count);
        states.push(stateOf(m, true));
      }
      assert.ok((counts[0] ?? 0) > 10, `${JSON.stringify(stop)} stops ${counts[0] ?? 0} times`);
      assert.equal(counts[1], counts[0], JSON.stringify(stop));
      assert.equal(states[1], states[0], JSON.stringify(stop));
    }
  });

  it('leave when they are stepped, instruction by instruction', async () => {
    const fast = await machine('rounds=120 seed=8', true);
    const slow = await machine('rounds=120 seed=8', false);
    for (const m of [fast, slow]) {
      for (;;) {
        const end = m.run({ instructions: 1n, skipUpcalls: false }).slice(1n << 40n, true);
        if (end.kind === 'stop' && end.stop.reason.kind === 'shutdown') break;
      }
    }
    assert.equal(stateOf(fast, true), stateOf(slow, true));
    assert.deepEqual(besides(fast), besides(slow));
  });

  it('are seen to in runs of so many instructions, which end where they would without', async () => {
    const stops: string[][] = [];
    const rest: unknown[] = [];
    for (const fastPath of [false, true]) {
      const m = await machine('rounds=300 seed=9', fastPath);
      const ends: string[] = [];
      for (let count = 1n; ; count = (count * 7n + 3n) % 1009n) {
        const end = m.run({ instructions: count + 2n, skipUpcalls: false }).slice(1n << 40n, true);
        assert.ok(end.kind === 'stop');
        ends.push(stateOf(m, ends.length % 64 === 0));
        if (end.stop.reason.kind === 'shutdown') break;
      }
      stops.push(ends);
      rest.push(besides(m));
      if (fastPath) assert.ok((m.fastPath?.seen() ?? 0) > 200, `${m.fastPath?.seen() ?? 0} were seen to`);
    }
    assert.ok((stops[0]?.length ?? 0) > 50);
    assert.deepEqual(stops[1], stops[0]);
    assert.deepEqual(rest[1], rest[0]);
  });
});
