import assert from 'node:assert/strict';
import { SAMPLE, domain, machineOf } from '../support/machines';

const keys = (text: string): Uint8Array => new TextEncoder().encode(text);
const typed = (log: readonly { readonly data: Uint8Array }[]): string =>
  log.map(({ data }) => new TextDecoder().decode(data)).join('');

describe('console input', () => {
  it('that comes faster than the machine looks is kept, all of it, in order', async () => {
    const machine = await machineOf(domain(SAMPLE));
    for (const key of 'echo') machine.input(1, keys(key));
    assert.equal(typed(machine.inputLog), 'echo');
    machine.run({ instructions: 1000n }).slice(10_000n, true);
    for (const key of ' ok') machine.input(1, keys(key));
    assert.equal(typed(machine.inputLog), 'echo ok');
  });

  it('after going back, what was typed in the future that is left is dropped', async () => {
    const machine = await machineOf(domain(SAMPLE));
    const mark = machine.save();
    machine.run({ instructions: 1000n }).slice(10_000n, true);
    machine.input(1, keys('later'));
    machine.restore(mark);
    machine.input(1, keys('now'));
    assert.equal(typed(machine.inputLog), 'now');
  });
});
