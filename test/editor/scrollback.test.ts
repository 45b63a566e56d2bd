import assert from 'node:assert/strict';
import { scrollback } from '../../src/editor/scrollback';

describe('scrollback', () => {
  it('gives back what was written, until cleared', () => {
    const kept = scrollback();
    kept.add('a\r\n');
    kept.add('b');
    assert.equal(kept.all(), 'a\r\nb');
    kept.clear();
    assert.equal(kept.all(), '');
  });

  it('holds no more than twice its limit, and starts with a whole line', () => {
    const kept = scrollback(100);
    for (let i = 0; i < 1000; i++) {
      kept.add(`line ${i}\r\n`);
      assert.ok(kept.all().length <= 200);
    }
    assert.match(kept.all(), /^line \d+\r\n/);
    assert.ok(kept.all().endsWith('line 999\r\n'));
  });
});
