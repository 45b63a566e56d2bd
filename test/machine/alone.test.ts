/** One vCPU alone: the others stay, and the future that this makes is a replay's and a saved machine's too. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inProcessTarget, interpreterModule } from '../../src/host/machine';
import { samplesFolder } from '../../src/host/node';
import { assembleMachine } from '../../src/machine/assemble';
import type { DomainConfig, Stop, Target, VcpuRef } from '../../src/machine/target';
import { domain, watch, watched, wholeTrace, type Watched } from '../support/machines';

const NEIGHBOURS = join(samplesFolder, 'neighbours', 'neighbours.elf');
const neighbour = (role: string, peer: number): DomainConfig =>
  domain(NEIGHBOURS, { name: role, cmdline: `role=${role} peer=${peer}`, memory: 4 << 20 });
const both = [neighbour('giver', 2), neighbour('taker', 1)];
const giver: VcpuRef = { domain: 1, vcpu: 0 };
const taker: VcpuRef = { domain: 2, vcpu: 0 };

const registers = async (target: Target, vcpu: VcpuRef): Promise<string> =>
  (await target.registers(vcpu))
    .map(({ name, bytes }) => `${name} ${Buffer.from(bytes).toString('hex')}`)
    .join();
const steps = (target: Target, vcpu: VcpuRef, count: bigint): Promise<Stop> =>
  target.run({ instructions: count, vcpu, alone: vcpu, skipUpcalls: false });
const outcome = async ({ target }: Watched): Promise<readonly unknown[]> => [
  await target.stateHash(),
  await target.now(),
  await wholeTrace(target),
];

describe('a vCPU that runs alone', function () {
  this.timeout(60_000);
  let folder = '';
  before(() => (folder = mkdtempSync(join(tmpdir(), 'alone-'))));
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('is the only one that moves, far beyond its turn', async () => {
    const { target } = await watch(...both);
    const before = await registers(target, giver);
    const at = await target.now();
    assert.equal((await steps(target, taker, 200_000n)).reason.kind, 'step');
    assert.equal((await target.now()).retired - at.retired, 200_000n);
    assert.equal(await registers(target, giver), before);
    // All of them again.
    await target.run({ instructions: 200_000n, skipUpcalls: false });
    assert.notEqual(await registers(target, giver), before);
    assert.equal((await target.run({})).reason.kind, 'shutdown');
  });

  it('makes another future, which a mark leads to again', async () => {
    const one = await watch(...both);
    await one.target.run({ instructions: 230_000n, skipUpcalls: false });
    const plain = await one.target.stateHash();

    const machine = await assembleMachine(
      { domains: both },
      { interpreter: interpreterModule(), log: () => undefined },
    );
    const run = (instructions: bigint): void => {
      const session = machine.run({ instructions, skipUpcalls: false });
      while (session.slice(7000n, true).kind === 'slice');
    };
    const look = (): readonly unknown[] => [
      machine.clock.retired(),
      machine.vcpus().map((v) => [v.cpu.get('rip'), v.cpu.get('rsp'), v.cpu.icount()]),
      machine.turn(),
    ];
    const mark = machine.save();
    run(1000n);
    machine.runAlone(taker);
    run(199_000n);
    const middle = machine.save();
    machine.runAlone(undefined);
    run(30_000n);
    const end = look();
    assert.deepEqual(
      machine.inputLog.map((e) => [e.kind, e.retired]),
      [
        ['alone', 1000n],
        ['alone', 200_000n],
      ],
    );
    for (const from of [mark, middle, mark]) {
      machine.restore(from);
      run(230_000n - machine.clock.retired());
      assert.deepEqual(look(), end);
    }
    // Through the target, by steps that ask for it, it is the same; and not what it is with all of them.
    const two = await watch(...both);
    await two.target.run({ instructions: 1000n, skipUpcalls: false });
    for (let i = 0; i < 199; i++) await steps(two.target, taker, 1000n);
    await two.target.run({ instructions: 30_000n, skipUpcalls: false });
    assert.equal((await two.target.now()).retired, 230_000n);
    const [, counts] = end as [bigint, readonly (readonly bigint[])[]];
    const rip = (await two.target.registers(taker)).find(({ name }) => name === 'rip');
    assert.equal(Buffer.from(rip?.bytes ?? []).readBigUInt64LE(), counts[1]?.[0]);
    assert.notEqual(await two.target.stateHash(), plain);
  });

  it('is still alone in a machine that was saved and goes on', async () => {
    const file = join(folder, 'alone.hys');
    const one = await watch(...both);
    await steps(one.target, taker, 100_000n);
    await one.target.save(file);
    const two = watched(await inProcessTarget({ domains: [], saved: { path: file } }));
    for (const { target } of [one, two]) {
      await steps(target, taker, 100_000n);
      await target.run({ instructions: 50_000n, skipUpcalls: false });
    }
    assert.deepEqual(await outcome(two), await outcome(one));
  });

  it('that is blocked and has no timer says so, and goes on with the others', async () => {
    const { target } = await watch(...both);
    const stop = await target.run({ alone: giver });
    assert.deepEqual(stop.reason, {
      kind: 'stuck',
      text: 'd1v0 runs alone and is blocked: it has no timer, so only another vCPU, or input, can wake it',
    });
    assert.deepEqual(stop.vcpu, giver);
    assert.equal((await target.run({ alone: giver })).reason.kind, 'stuck', 'and again');
    const end = await target.run({});
    assert.equal(end.reason.kind, 'shutdown');
    const gone = await target.run({ alone: end.vcpu });
    assert.ok(gone.reason.kind === 'stuck');
    assert.match(gone.reason.text, /cannot run alone: its domain has ended/);
    await assert.rejects(target.run({ alone: { domain: 7, vcpu: 0 } }), /there is no vCPU d7v0/);
  });
});
