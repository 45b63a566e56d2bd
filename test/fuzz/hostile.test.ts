/** A guest that misuses its hypervisor: it may end, the hypervisor may not. The long version is scripts/soak-hostile.ts. */
import assert from 'node:assert/strict';
import { EVERY_CALL, frameProblems, runHostile } from '../support/hostile';
import { HOSTILE, domain, runTo, watch } from '../support/machines';

describe('the hostile guest', function () {
  this.timeout(60_000);

  for (const seed of [1, 2, 3, 11]) {
    it(`survives its own fuzzing, as on real Xen: seed ${seed}`, async () => {
      const { stop, log } = await runHostile(`mode=fuzz count=1500 quiet=1 seed=${seed}`);
      assert.deepEqual(
        [stop.reason.kind, 'reason' in stop.reason && stop.reason.reason],
        ['shutdown', 'poweroff'],
        log.slice(-3).join('\n'),
      );
      assert.ok(log.some((line) => /survived 1500 calls: [1-9]\d+ accepted, [1-9]\d+ refused/.test(line)));
    });
  }

  it('leaves the frame table sound after every single call', async () => {
    for (const mode of ['fuzz', 'wild'])
      await runHostile(`mode=${mode} count=400 quiet=1 seed=21`, EVERY_CALL);
  });

  it('does no harm whatever it does', async () => {
    const ends = new Set<string>();
    for (let seed = 1; seed <= 24; seed++) {
      const { stop } = await runHostile(`mode=wild count=300 quiet=1 seed=${seed}`);
      ends.add(stop.reason.kind);
    }
    assert.ok(ends.size > 1, [...ends].join());
  });

  for (const [mode, text] of [
    ['triple', /#PF .* no handler/],
    ['stack', /stack/],
    ['recurse', /./],
    ['iret', /./],
  ] as const) {
    it(`${mode}: ends with the reason`, async () => {
      const { stop, machine } = await runHostile(`mode=${mode}`);
      assert.ok(stop.reason.kind === 'crash', stop.reason.kind);
      assert.match(stop.reason.text, text);
      assert.deepEqual(frameProblems(machine), []);
    });
  }

  it('loop: can be stopped, and looked at', async () => {
    const { target } = await watch(domain(HOSTILE, { cmdline: 'mode=loop' }));
    const stop = await runTo(target, 1_000_000n);
    assert.equal(stop?.reason.kind, 'step');
    assert.equal((await target.domains())[0]?.shutdown, undefined);
  });

  it('runs the same in pieces, and again from marks', async () => {
    for (const cmdline of ['mode=fuzz count=400 quiet=1 seed=5', 'mode=wild count=300 quiet=1 seed=8']) {
      const config = domain(HOSTILE, { cmdline, memory: 8 << 20 });
      const free = await watch(config);
      const { at } = await free.target.run({ stopWhenIdle: true });
      const hash = await free.target.stateHash();
      const pieces = await watch(config);
      const marks: number[] = [];
      for (let n = 0n; n < at.retired; n += 10_007n) {
        if (n % 70_049n === 0n) marks.push(await pieces.target.mark());
        await runTo(pieces.target, n + 10_007n);
      }
      await pieces.target.run({ stopWhenIdle: true });
      assert.equal(await pieces.target.stateHash(), hash, cmdline);
      for (const mark of marks.reverse().slice(0, 6)) {
        await pieces.target.seek(mark);
        await pieces.target.run({ stopWhenIdle: true });
        assert.equal(await pieces.target.stateHash(), hash, `${cmdline}, mark ${mark}`);
      }
    }
  });
});
