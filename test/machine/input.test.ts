import assert from 'node:assert/strict';
import type { DeviceInput } from '../../src/devices';
import { SAMPLE, domain, machineOf } from '../support/machines';

const type = (text: string): DeviceInput => ({
  kind: 'console',
  domain: 1,
  console: 0,
  data: new TextEncoder().encode(text),
});
const typed = (log: readonly DeviceInput[]): string =>
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
});
