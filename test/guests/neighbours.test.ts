/** Two domains on one machine: channels and grants between them, and the end of one of them while they share. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { interpreterModule } from '../../src/host/machine';
import { samplesFolder } from '../../src/host/node';
import type { Domain } from '../../src/hypervisor/types';
import { assembleMachine } from '../../src/machine/assemble';
import type { Machine } from '../../src/machine/machine';
import { frameProblems } from '../support/hostile';
import { domain, plain, watch } from '../support/machines';

const folder = join(samplesFolder, 'neighbours');
const MIB = 1 << 20;

const config = (then = ''): ReturnType<typeof domain>[] =>
  (['giver', 'taker'] as const).map((role, i) =>
    domain(join(folder, 'neighbours.elf'), {
      name: role,
      cmdline: `role=${role} peer=${2 - i} ${then}`,
      memory: 4 * MIB,
    }),
  );

/** The lines of each domain. What a domain prints before it has its console goes to the log. */
async function talk(then = ''): Promise<{ giver: string[]; taker: string[] }> {
  const { target } = await watch(...config(then));
  const text = ['', '', ''];
  target.onConsole((id, data) => (text[id] = (text[id] ?? '') + Buffer.from(data).toString('latin1')));
  for (let i = 0; i < 3; i++) await target.run({ stopWhenIdle: true, instructions: 5_000_000n });
  const lines = (id: number): string[] =>
    plain(text[id] ?? '')
      .trimEnd()
      .split('\n');
  return { giver: lines(1), taker: lines(2) };
}

/** A machine that ran until the taker's end, or for a while when it does not end. */
async function machineAfter(then: string): Promise<{ machine: Machine; giver: Domain; taker: Domain }> {
  const machine = await assembleMachine(
    { domains: config(then) },
    { interpreter: interpreterModule(), log: () => undefined },
  );
  const session = machine.run({});
  const [giver, taker] = [machine.hypervisor.domains.get(1), machine.hypervisor.domains.get(2)];
  assert.ok(giver !== undefined && taker !== undefined);
  for (let i = 0; i < 40 && taker.state.shutdown === undefined; i++) session.slice(100_000n, true);
  assert.deepEqual(frameProblems(machine), []);
  return { machine, giver, taker };
}

const owned = ({ hypervisor: { frames } }: Machine, id: number): number =>
  frames.owner.reduce((sum, owner) => sum + (owner === id ? 1 : 0), 0);

describe('two domains', function () {
  this.timeout(60_000);

  it('share a page and a doorbell, and are refused the rest, as on real Xen', async () => {
    const { giver, taker } = await talk();
    const file = readFileSync(join(folder, 'real-xen.txt'), 'utf8').split('\n');
    const real = (role: string): string[] => {
      const from = file.indexOf(`== ${role}`) + 1;
      const to = file.findIndex((line, i) => i >= from && (line.startsWith('== ') || line === ''));
      return file.slice(from, to < 0 ? undefined : to);
    };
    assert.deepEqual(giver, real('giver'));
    assert.deepEqual(taker, real('taker'));
  });

  it('go on when the other one crashes with a page mapped: it is free again', async () => {
    const { machine, giver, taker } = await machineAfter('then=crash');
    assert.equal(taker.state.shutdown, 'crash');
    assert.equal(giver.state.shutdown, undefined);
    assert.deepEqual(taker.state.maptrack, []);
    machine.hypervisor.destroy(taker);
    assert.deepEqual(frameProblems(machine), []);
    assert.equal(owned(machine, taker.id), 0, 'all its memory came back');
    // The doorbell's other end is as it was before somebody came.
    assert.equal(giver.state.ports[3]?.channel.kind, 'unbound');
  });

  it('go on while the other one spins, and get everything back when that is destroyed', async () => {
    const { machine, giver, taker } = await machineAfter('then=spin');
    assert.equal(taker.state.shutdown, undefined);
    const mapped = taker.state.maptrack.filter((m) => m !== undefined);
    assert.equal(mapped.length, 1);
    machine.hypervisor.destroy(taker);
    assert.deepEqual(frameProblems(machine), []);
    assert.equal(owned(machine, taker.id), 0);
    const session = machine.run({});
    session.slice(100_000n, true);
    assert.equal(giver.state.shutdown, undefined);
    assert.deepEqual(frameProblems(machine), []);
  });

  it('destroyed while its page is mapped by the other: the page stays until that one unmaps it', async () => {
    const { machine, giver, taker } = await machineAfter('then=spin');
    const [map] = taker.state.maptrack;
    assert.ok(map !== undefined);
    machine.hypervisor.destroy(giver);
    assert.deepEqual(frameProblems(machine), []);
    assert.equal(owned(machine, giver.id), 1);
    assert.equal(machine.hypervisor.frames.owner[map.mfn], giver.id);
    const session = machine.run({});
    session.slice(100_000n, true);
    assert.equal(taker.state.shutdown, undefined, 'it spins on');
    machine.hypervisor.destroy(taker);
    assert.deepEqual(frameProblems(machine), []);
    assert.equal(owned(machine, giver.id), 0);
    assert.equal(owned(machine, taker.id), 0);
  });
});
