import assert from 'node:assert/strict';
import { DisposableStore, Emitter, toDisposable } from '../../src/base/disposable';

describe('base/disposable', () => {
  it('disposes in reverse, all of them, and then reports the first error', () => {
    const order: number[] = [];
    const store = new DisposableStore();
    store.add(toDisposable(() => order.push(1)));
    store.add(
      toDisposable(() => {
        order.push(2);
        throw new Error('second');
      }),
    );
    store.add(toDisposable(() => order.push(3)));
    assert.throws(() => {
      store.dispose();
    }, /second/);
    assert.deepEqual(order, [3, 2, 1]);
    store.dispose();
    assert.deepEqual(order, [3, 2, 1], 'a second dispose does nothing');
  });

  it('disposes a late arrival at once', () => {
    const store = new DisposableStore();
    store.dispose();
    let gone = false;
    store.add(toDisposable(() => (gone = true)));
    assert.ok(gone);
  });

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
