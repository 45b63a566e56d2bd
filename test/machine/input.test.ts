import assert from 'node:assert/strict';
import type { MachineInput } from '../../src/machine/schedule';
import { SAMPLE, domain, machineOf } from '../support/machines';

const type = (text: string): MachineInput => ({
  kind: 'console',
  domain: 1,
  console: 0,
  data: new TextEncoder().encode(text),
});
const typed = (log: readonly MachineInput[]): string =>
  log.map((e) => (e.kind === 'console' ? new TextDecoder().decode(e.data) : '')).join('');

describe('console input', () => {
  it('that comes faster than the machine looks is kept, all of it, in order', async () => {
    const machine = await machineOf(domain(SAMPLE));
    for (const key of 'echo') machine.input(type(key));
    assert.equal(typed(machine.inputLog), 'echo');
    machine.run({ instructions: 1000n }).slice(10_000n, true);
    for (const key of ' ok') machine.input(type(key));
    assert.equal(typed(machine.inputLog), 'echo ok');
  });

  it('after going back, what was typed in the future that is left is dropped', async () => {
    const machine = await machineOf(domain(SAMPLE));
    const mark = machine.save();
    machine.run({ instructions: 1000n }).slice(10_000n, true);
    machine.input(type('later'));
    machine.restore(mark);
    machine.input(type('now'));
    assert.equal(typed(machine.inputLog), 'now');
  });

  it('of the network waits while the machine repeats its past, and does not change it', async () => {
    const machine = await machineOf(domain(SAMPLE, { vifs: [{}] }));
    const heard: string[] = [];
    machine.devices.onNetwork((output) => heard.push(`${output.connection} ${output.event}`));
    const kinds = (): string[] =>
      machine.inputLog.map((e) => (e.kind === 'network' ? `net ${e.connection}` : 'key'));
    const run = (count: bigint): unknown => machine.run({ instructions: count }).slice(count, true);
    const mark = machine.save();
    run(1000n);
    machine.input(type('k'));
    run(1000n);
    machine.restore(mark);
    run(500n);
    machine.input({ kind: 'network', connection: 1, event: 'open', domain: 9, port: 80 });
    assert.deepEqual(kinds(), ['key']);
    run(400n);
    assert.deepEqual(heard, []);
    run(2000n);
    assert.deepEqual(kinds(), ['key', 'net 1']);
    assert.deepEqual(heard, ['1 closed']);
    const [key, net] = machine.inputLog;
    assert.ok(key !== undefined && net !== undefined && net.retired >= key.retired && key.retired === 1000n);
    // And again, from the log.
    machine.restore(mark);
    run(5000n);
    assert.deepEqual(heard, ['1 closed', '1 closed']);
    assert.deepEqual(kinds(), ['key', 'net 1']);
  });

  it('of the network is taken at once where nothing is to be repeated', async () => {
    const machine = await machineOf(domain(SAMPLE, { vifs: [{}] }));
    const heard: unknown[] = [];
    machine.devices.onNetwork((output) => heard.push(output));
    machine.input({ kind: 'network', connection: 4, event: 'open', domain: 1, port: 80 });
    machine.run({ instructions: 10n }).slice(10n, true);
    // The sample has no network driver: the question goes out, and is asked again.
    assert.deepEqual(heard, []);
    const [bridge] = machine.devices.inspect().net.bridges;
    assert.deepEqual(
      bridge?.connections.map((c) => [c.connection, c.phase]),
      [[4, 'connecting']],
    );
    machine.passTo(200_000_000_000n);
    assert.deepEqual(heard, []);
    for (let s = 1n; s < 200n; s++) machine.passTo(200_000_000_000n + s * 1_000_000_000n);
    assert.deepEqual(heard, [{ connection: 4, event: 'closed', reason: 'the guest does not answer' }]);
  });
});
