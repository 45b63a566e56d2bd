import assert from 'node:assert/strict';
import { withoutRefusedRestart } from '../../src/editor/refused-restart';

const response = (command: string, success: boolean, showUser = true) => ({
  type: 'response',
  command,
  success,
  message: "kernel: cannot read '/k'",
  body: { error: { id: 1, format: '{_text}', showUser } },
});

describe('a restart that was refused', () => {
  const told: string[] = [];
  const tell = (reason: string): unknown => told.push(reason);
  beforeEach(() => told.splice(0));

  it('is told to people, and to the editor as served, which would take the session for over', () => {
    const { success, message } = withoutRefusedRestart(response('restart', false), tell);
    assert.equal(success, true);
    assert.equal(message, undefined);
    assert.deepEqual(told, ["kernel: cannot read '/k'"]);
  });

  it('says nothing of one that was cancelled', () => {
    assert.equal(withoutRefusedRestart(response('restart', false, false), tell).success, true);
    assert.deepEqual(told, []);
  });

  it('any other message is passed on untouched', () => {
    for (const other of [response('launch', false), response('restart', true), { type: 'event' }])
      assert.equal(withoutRefusedRestart(other, tell), other);
    assert.deepEqual(told, []);
  });
});
