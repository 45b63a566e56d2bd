import assert from 'node:assert/strict';
import { Emitter } from '../../src/base/disposable';

describe('base/disposable', () => {
  it('does not call a listener that an earlier one removed', () => {
    const emitter = new Emitter<string>();
    const heard: string[] = [];
    emitter.on((value) => {
      heard.push(`a ${value}`);
      second.dispose();
    });
    const second = emitter.on((value) => heard.push(`b ${value}`));
    emitter.fire('x');
    assert.deepEqual(heard, ['a x']);
    emitter.dispose();
    emitter.fire('y');
    assert.deepEqual(heard, ['a x']);
  });
});
