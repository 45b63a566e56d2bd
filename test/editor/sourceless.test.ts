import assert from 'node:assert/strict';
import { withSelection } from '../../src/editor/sourceless';

const stopped = (body: object) => ({ type: 'event', event: 'stopped', body });

describe('a stop where nothing has a source', () => {
  it('is told as one at an instruction, since only there the editor selects a frame by itself', () => {
    const body = { reason: 'pause', description: 'Paused', threadId: 2, withoutSource: true };
    assert.deepEqual(withSelection(stopped(body)).body, { ...body, reason: 'instruction breakpoint' });
  });

  it('any other message is passed on untouched', () => {
    for (const other of [
      stopped({ reason: 'pause', threadId: 1 }),
      { type: 'event', event: 'continued', body: { withoutSource: true } },
      { type: 'response', command: 'stopped', success: true },
    ])
      assert.equal(withSelection(other), other);
  });
});
