/**
 * Both tiers of the CPU in lockstep through whole guests: the states of all vCPUs at many counts, and memory at some.
 * `scripts/tiers.ts` does the same with Linux, on one vCPU or several.
 */
import assert from 'node:assert/strict';
import { look, stateOf } from '../../scripts/lockstep';
import { interpreterModule } from '../../src/host/machine';
import { assembleMachine } from '../../src/machine/assemble';
import type { Machine } from '../../src/machine/machine';
import type { DomainConfig } from '../../src/machine/target';
import { guestPath } from '../support/guests';
import { domain, HOSTILE, SAMPLE } from '../support/machines';

/** Blocks are hot at once: nearly all that runs twice is compiled. */
const COMPILE = { heat: 30, batch: 8 };

const machine = (tier: 'interpret' | 'compile', ...domains: DomainConfig[]): Promise<Machine> =>
  assembleMachine(
    { tier, domains },
    // The reference leaves every exit to the hypervisor, too.
    {
      interpreter: interpreterModule(),
      log: () => undefined,
      compile: COMPILE,
      fastPath: tier === 'compile',
    },
  );

async function inLockstep(every: bigint, to: bigint, ...domains: DomainConfig[]): Promise<bigint> {
  const looks = { every, to, full: 1000 };
  const one = await machine('interpret', ...domains);
  const reference = look(one, looks);
  one.disks.dispose();
  const other = await machine('compile', ...domains);
  const looked = look(other, looks, reference.states);
  assert.equal(looked.differs, undefined, `they differ at ${looked.differs ?? 0n} instructions`);
  assert.equal(looked.retired, reference.retired);
  const { regions = 0 } = (other.cpu.regions?.statistics ?? {}) as { regions?: number };
  assert.ok(regions > 5, `${regions} regions were compiled`);
  assert.ok(looked.states.length > 5, `${looked.states.length} states were compared`);
  other.disks.dispose();
  return looked.retired;
}

describe('both tiers of the CPU do the same', function () {
  this.timeout(120_000);

  it('with the sample guest, to its end', async () => {
    await inLockstep(997n, 1n << 60n, domain(SAMPLE));
  });

  it('with a guest that tries what it must not, beside another', async () => {
    await inLockstep(
      9_973n,
      8_000_000n,
      domain(HOSTILE, { name: 'hostile' }),
      domain(SAMPLE, { name: 'sample' }),
    );
  });

  it('with GRUB as it starts', async function () {
    const image = guestPath('grub', this);
    await inLockstep(99_991n, 15_000_000n, domain(image, { name: 'grub', memory: 64 << 20 }));
  });

  it('set back to snapshots again and again, compiled code included', async () => {
    const EVERY = 40_000n;
    const LOOKS = 24;
    const run = (m: Machine, to: bigint): string => {
      for (const session = m.run({}); m.clock.retired() < to;) {
        const { kind } = session.slice(to - m.clock.retired(), true);
        if (kind !== 'slice') assert.fail(`the guest ended: ${kind}`);
      }
      return stateOf(m, true);
    };
    const one = await machine('interpret', domain(HOSTILE, { name: 'hostile' }));
    const reference = Array.from({ length: LOOKS }, (_, n) => run(one, EVERY * BigInt(n + 1)));
    one.disks.dispose();
    const other = await machine('compile', domain(HOSTILE, { name: 'hostile' }));
    const to = (n: number): void => {
      assert.equal(run(other, EVERY * BigInt(n + 1)), reference[n], `at look ${n}`);
    };
    for (let from = 0; from + 6 < LOOKS; from += 6) {
      to(from);
      const snapshot = other.save();
      for (let again = 0; again < 3; again++) {
        for (let n = 1; n < 6; n++) to(from + n);
        other.restore(snapshot);
        assert.equal(stateOf(other, true), reference[from]);
      }
    }
    const { live = 0 } = (other.cpu.regions?.statistics ?? {}) as { live?: number };
    assert.ok(live > 0, 'nothing was compiled');
    other.disks.dispose();
  });
});
