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

  it('asks nothing of a terminal again', () => {
    const text = scrollback();
    const queries = [
      '\x1b[6n',
      '\x1b[5n',
      '\x1b[c',
      '\x1b[>0c',
      '\x1b[?25$p',
      '\x1bP$qm\x1b\\',
      '\x1b]11;?\x07',
      '\x1bZ',
      '\x05',
    ];
    const kept = [
      '\x1b[31mred\x1b[0m',
      '\x1b[2J',
      '\x1b]0;a title?\x07',
      '\x1b[?25h',
      '\x1b[10;20H',
      'nice, cn\r\n',
    ];
    text.add(queries.flatMap((query, i) => [query, kept[i % kept.length] ?? '']).join(''));
    assert.equal(text.all(), queries.map((_, i) => kept[i % kept.length]).join(''));
  });
});
