import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { rebootedDevices, type DevicesState } from '../../src/devices/index';
import { interpreterModule } from '../../src/host/machine';
import { assembleMachine } from '../../src/machine/assemble';
import { END_DEFAULTS, endAction } from '../../src/machine/ending';
import type { Machine } from '../../src/machine/machine';
import type { EndAction, Stop } from '../../src/machine/target';
import { domain, machineOf, runTo, SAMPLE, watch, wholeTrace, type Watched } from '../support/machines';

const ending = (action: EndAction): Promise<Watched> =>
  watch(domain(SAMPLE, { onEnd: { poweroff: action } }));

/** To where the sample powers off. */
const toTheEnd = async ({ target }: Watched): Promise<Stop> => {
  const stop = await target.run({});
  assert.ok(
    stop.reason.kind === 'shutdown' && stop.reason.reason === 'poweroff',
    JSON.stringify(stop.reason),
  );
  return stop;
};
const framesHash = ({ cpu: { mem } }: Machine): string =>
  createHash('sha256')
    .update(mem.bytes.subarray(mem.framesBase, mem.framesBase + mem.frameCount * 4096))
    .digest('hex');

describe('a domain that has ended', () => {
  it('is what xl makes of it by default', () => {
    assert.deepEqual(
      (['poweroff', 'reboot', 'crash', 'watchdog'] as const).map((why) => END_DEFAULTS[why]),
      ['destroy', 'restart', 'destroy', 'destroy'],
    );
    const one = domain(SAMPLE);
    assert.equal(endAction({ domains: [one] }, 1, 'reboot'), 'restart');
    assert.equal(
      endAction({ domains: [one, one] }, 2, 'reboot'),
      'preserve',
      'one of two cannot start alone',
    );
    assert.equal(endAction({ domains: [{ ...one, onEnd: { crash: 'preserve' } }] }, 1, 'crash'), 'preserve');
  });

  it('is told of as that domain’s, though another one’s vCPU runs when its watchdog bites', async () => {
    for (const filter of [undefined, 'domain-shutdown'] as const) {
      const domains = [domain(SAMPLE), domain(SAMPLE, { name: 'other' })];
      const machine = await assembleMachine({ domains }, { interpreter: interpreterModule(), log: () => undefined }); // prettier-ignore
      machine.setStops(filter === undefined ? [] : [{ kind: 'event', id: 1, filter }]);
      const [, other] = machine.hypervisor.domains.values();
      const [v] = other?.vcpus ?? [];
      assert.ok(other !== undefined && v !== undefined);
      v.state.run = 'blocked';
      other.state.watchdogs[0] = machine.clock.now() + 20_000n;
      const end = machine.run({}).slice(1_000_000n, true);
      assert.ok(end.kind === 'stop');
      assert.equal(machine.current().domain.id, 1, 'the first domain runs');
      assert.deepEqual([end.stop.vcpu.domain.id, end.stop.vcpu.id], [2, 0]);
      assert.equal(other.state.shutdown, 'watchdog');
      assert.equal(end.stop.reason.kind, filter === undefined ? 'shutdown' : 'event');
      machine.disks.dispose();
    }
  });

  it('is kept for as long as anyone runs on', async () => {
    const run = await ending('preserve');
    const first = await toTheEnd(run);
    assert.equal((await toTheEnd(run)).at.retired, first.at.retired);
    assert.ok(first.reason.kind === 'shutdown' && first.reason.action === 'preserve');
    assert.ok((await run.target.walk({ domain: 1, vcpu: 0 }, 0xffff_ffff_8000_0000n)).levels.length > 0);
    await run.target.dispose();
  });

  it('starts again with the next run, at its first instruction; time, trace and consoles go on', async () => {
    const run = await ending('restart');
    const ended = await toTheEnd(run);
    const text = run.console();
    const records = (await wholeTrace(run.target)).length;
    const entry = await run.target.run({ instructions: 1n });
    assert.equal(entry.at.retired, ended.at.retired + 1n);
    assert.ok(entry.at.time > ended.at.time);
    const [again] = await run.target.domains();
    assert.ok(again?.shutdown === undefined && again?.vcpus[0]?.state === 'running');
    const second = await toTheEnd(run);
    assert.equal(run.console(), text + text);
    assert.equal(second.at.retired, 2n * ended.at.retired);
    const trace = await wholeTrace(run.target);
    assert.equal(trace.length, 2 * records);
    assert.deepEqual(
      trace.slice(records).map(({ call: { name, op, errno } }) => [name, op, errno]),
      trace.slice(0, records).map(({ call: { name, op, errno } }) => [name, op, errno]),
    );
    await run.target.dispose();
  });

  it('has all its memory and the hypervisor’s tables as when it was made', async () => {
    const config = domain(SAMPLE);
    const [fresh, used] = [await machineOf(config), await machineOf(config)];
    const session = used.run({});
    while (session.slice(1_000_000n, true).kind !== 'stop');
    assert.notEqual(framesHash(used), framesHash(fresh));
    await used.reboot();
    assert.equal(framesHash(used), framesHash(fresh));
    const { frames, backend, domains } = used.hypervisor.save();
    const wanted = fresh.hypervisor.save();
    assert.deepEqual([frames, backend], [wanted.frames, wanted.backend]);
    const now = used.clock.now();
    const since = (v: object): object => ({ ...v, runSince: 0n, runTimes: [] });
    assert.deepEqual(
      domains.map((d) => ({ ...d, vcpus: d.vcpus.map(since) })),
      wanted.domains.map((d) => ({ ...d, vcpus: d.vcpus.map(since) })),
    );
    assert.ok(domains.every((d) => d.vcpus.every((v) => v.runSince === now)));
    assert.deepEqual(used.devices.save(), fresh.devices.save());
  });

  it('starts again the same way however the run was cut, and again from a mark before its end', async () => {
    const beyond = async (run: Watched, pieces: bigint): Promise<{ hash: string; retired: bigint }> => {
      const to = 150_000n;
      for (let at = (await run.target.now()).retired; at < to;) {
        at = at + pieces < to ? at + pieces : to;
        while ((await runTo(run.target, at))?.reason.kind === 'shutdown');
      }
      return { hash: await run.target.stateHash(), retired: (await run.target.now()).retired };
    };
    const [whole, cut, marked] = [await ending('restart'), await ending('restart'), await ending('restart')];
    const wanted = await beyond(whole, 1_000_000n);
    assert.deepEqual(await beyond(cut, 7_777n), wanted);
    await runTo(marked.target, 20_000n);
    const mark = await marked.target.mark();
    assert.deepEqual(await beyond(marked, 1_000_000n), wanted);
    await marked.target.seek(mark);
    assert.deepEqual(await beyond(marked, 9_999n), wanted);
    for (const { target } of [whole, cut, marked]) await target.dispose();
  });

  it('keeps what was written to its disks, and nothing else of its back ends', () => {
    const disk = (blocks: number): DevicesState['block'][number] => ({
      domain: 1,
      vdev: 'xvda',
      sectors: 8 + blocks,
      connection: undefined,
      overlay: { root: [], blocks },
    });
    const state = (blocks: number, fresh: boolean): DevicesState =>
      ({ console: [], xenstore: fresh, echo: [], block: [disk(blocks)] }) as unknown as DevicesState;
    assert.deepEqual(rebootedDevices(state(0, true), state(7, false)), state(7, true));
  });
});
