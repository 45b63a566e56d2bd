import assert from 'node:assert/strict';
import { completeFilter, type Vocabulary } from '../../../src/editor/trace/completion';
import { linesOf, missingRows, scrollOf, wrapped } from '../../../src/editor/trace/lines';
import { isWhole, marks, pan, select, zoom } from '../../../src/editor/trace/span';
import { tracePage } from '../../../src/editor/trace/page';

describe("trace's page: lines", () => {
  it('records and what is below them, both ways', () => {
    const lines = linesOf(
      10,
      new Map([
        [7, 1],
        [2, 3],
        [99, 5],
      ]),
    );
    assert.equal(lines.total, 14);
    const all = Array.from({ length: 14 }, (_, i) => lines.at(i));
    assert.deepEqual(
      all.map((line) => (line?.detail === undefined ? `${line?.row}` : `${line.row}.${line.detail}`)),
      ['0', '1', '2', '2.0', '2.1', '2.2', '3', '4', '5', '6', '7', '7.0', '8', '9'],
    );
    for (let row = 0; row < 10; row++) assert.deepEqual(lines.at(lines.of(row)), { row });
    assert.equal(lines.at(14), undefined);
    assert.equal(lines.at(-1), undefined);
  });

  it('a text is parted between words, and a long word is left whole', () => {
    assert.deepEqual(wrapped('a frame is a page table or writable', 14), [
      'a frame is a',
      'page table or',
      'writable',
    ]);
    assert.deepEqual(wrapped('at 0xffffc00000000000 now', 10), ['at', '0xffffc00000000000', 'now']);
    assert.deepEqual(wrapped('all of it', Infinity), ['all of it']);
  });

  it('the bar reaches every line of ten million, within what browsers lay out', () => {
    const scroll = scrollOf(10_000_000, 22, 600);
    assert.ok(scroll.height <= 8_000_000);
    assert.equal(scroll.first(0), 0);
    assert.ok(Math.abs(scroll.first(scroll.height - 600) - scroll.last) < 1e-6);
    for (const first of [0, 1, 12345, 9_999_000, scroll.last])
      assert.ok(Math.abs(scroll.first(scroll.top(first)) - first) < 1e-3);
    const few = scrollOf(100, 22, 600);
    assert.equal(few.height, 2200);
    assert.ok(Math.abs(few.first(220) - 10) < 1e-9);
    assert.equal(scrollOf(3, 22, 600).last, 0);
  });

  it('asks only for rows that are not there', () => {
    const has = (row: number): boolean => row < 5 || row === 8;
    assert.deepEqual(missingRows(3, 10, has), { start: 5, count: 5 });
    assert.deepEqual(missingRows(5, 9, has), { start: 5, count: 3 });
    assert.equal(missingRows(0, 5, has), undefined);
  });
});

describe("trace's page: the timeline's span", () => {
  const whole = { from: 100, to: 10_100 };
  it('zooms around a place, and stays inside', () => {
    assert.deepEqual(zoom(whole, whole, 0.5, 0.5), { from: 2600, to: 7600 });
    assert.deepEqual(zoom({ from: 2600, to: 7600 }, whole, 0.5, 2), whole);
    assert.deepEqual(zoom({ from: 100, to: 200 }, whole, 0, 100), whole);
    assert.ok(zoom({ from: 500, to: 516 }, whole, 0.5, 0.01).to - 500 >= 16, 'not to nothing');
    assert.deepEqual(pan({ from: 100, to: 1100 }, whole, -5), { from: 100, to: 1100 });
    assert.deepEqual(pan({ from: 100, to: 1100 }, whole, 0.5), { from: 600, to: 1600 });
    assert.deepEqual(select(whole, whole, 0.3, 0.2), { from: 2100, to: 3100 });
    assert.ok(isWhole(whole, whole) && !isWhole({ from: 101, to: 10_100 }, whole));
  });
  it('has marks at round numbers', () => {
    assert.deepEqual(marks({ from: 0, to: 1000 }, 5), [0, 200, 400, 600, 800, 1000]);
    assert.deepEqual(marks({ from: 130, to: 190 }, 3), [140, 160, 180]);
  });
});

describe("trace's page: completion", () => {
  const vocabulary: Vocabulary = {
    fields: { refused: 'it failed', errno: 'the error', rip: 'where' },
    calls: ['mmu_update.normal_pt_update', 'mmu_update', 'sched_op.block'],
    errnos: ['EINVAL', 'EPERM'],
    arguments: ['count'],
    functions: (prefix) =>
      Promise.resolve(['xen_set_pte', 'xen_set_pmd'].filter((n) => n.startsWith(prefix))),
  };
  const labels = async (text: string): Promise<string[]> =>
    (await completeFilter(text, text.length, vocabulary)).items.map(({ label }) => label);

  it('offers what can stand there', async () => {
    assert.deepEqual(await labels('errno == '), ['EINVAL', 'EPERM']);
    assert.deepEqual(await labels('mmu_update && errno == EP'), ['EPERM']);
    assert.deepEqual(await labels('rip in xen_'), ['xen_set_pte', 'xen_set_pmd']);
    assert.deepEqual(await labels('op == bl'), ['block']);
    assert.deepEqual(await labels('refused && co'), ['count']);
    assert.deepEqual(await labels('count 5'), []);
    assert.equal((await labels('mmu'))[0], 'mmu_update');
    assert.ok((await labels('')).includes('refused'));
  });
  it('replaces the word at the cursor', async () => {
    const { from } = await completeFilter('refused && mmu || x', 14, vocabulary);
    assert.equal(from, 11);
  });
});

describe("trace's page: its policy", () => {
  it('loads its own script by a nonce and nothing else', () => {
    const page = tracePage({ nonce: 'abc', source: 'SOURCE', script: 's.js', style: 't.css' });
    assert.match(page, /default-src 'none'; style-src SOURCE; script-src 'nonce-abc';"/);
    assert.equal(page.match(/<script/g)?.length, 1);
    assert.doesNotMatch(page, / on\w+=| style=|unsafe/);
  });
});
