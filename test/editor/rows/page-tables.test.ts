import assert from 'node:assert/strict';
import type { HyperstepRequests } from '../../../src/dap/protocol';
import { trackChanges } from '../../../src/editor/rows/changes';
import { holdsIndex, pageTables, type PageTableRow } from '../../../src/editor/rows/page-tables';
import { contextOf } from '../../../src/editor/rows/row';
import { fakeRequester } from './fake-requester';

type Entry = HyperstepRequests['hyperstep/pageTable']['body']['entries'][number];

const entry = (index: number, more: Partial<Entry> = {}): Entry => ({
  index,
  virtual: `0x${(index * 0x1000).toString(16)}`,
  entry: '0x42067',
  flags: ['P', 'RW'],
  mfn: 0x42,
  pfn: 2,
  owner: 'd1',
  frame: 'writable',
  table: false,
  run: 1,
  ...more,
});

/** A model over tables that the test changes. */
function over(tables: Map<string, readonly Entry[]>, thread: () => number | undefined = () => 1) {
  const changes = trackChanges();
  const requester = fakeRequester({
    'hyperstep/pageTable': ({ path }) => ({ entries: tables.get(path.join('/')) ?? [] }),
  });
  return { model: pageTables(requester, thread, changes), changes, requester };
}

describe('page-table rows', () => {
  it('come level by level, each asked for by the path of indices above it', async () => {
    const tables = new Map([
      ['', [entry(256, { table: true, frame: 'L3, pinned' })]],
      ['256', [entry(0, { run: 512 })]],
    ]);
    const { model, requester } = over(tables);
    const [top] = await model.children(undefined);
    assert.ok(top);
    assert.equal(top.expandable, true);
    const [leaf] = await model.children(top);
    assert.ok(leaf);
    assert.deepEqual(
      { id: leaf.id, label: leaf.label, expandable: leaf.expandable, path: leaf.path },
      { id: '256/0', label: '0x0 × 512', expandable: false, path: [256, 0] },
    );
    assert.equal(leaf.description, 'P RW · pfn 0x2 · mfn 0x42 (writable)');
    assert.match(leaf.tooltip ?? '', /\*\*L3 entry 0 and the 511 after it\*\*/);
    assert.deepEqual(requester.asked, [
      ['hyperstep/pageTable', { threadId: 1, path: [] }],
      ['hyperstep/pageTable', { threadId: 1, path: [256] }],
    ]);
  });

  it('keep their identity over steps, so that what is expanded stays so', async () => {
    const tables = new Map([['', [entry(3, { table: true })]]]);
    const { model, changes } = over(tables);
    const before = await model.children(undefined);
    changes.nextStop();
    tables.set('', [entry(1), entry(3, { table: true, entry: '0x99067' })]);
    const after = await model.children(undefined);
    assert.ok(after.some(({ id }) => id === before[0]?.id));
  });

  it('mark what is new or another since the stop before, and nothing at the first', async () => {
    const tables = new Map([['', [entry(1), entry(2), entry(3, { run: 4 })]]]);
    const { model, changes } = over(tables);
    const changed = async (): Promise<number[]> =>
      (await model.children(undefined)).filter((row) => row.changed === true).map((row) => row.entry.index);
    assert.deepEqual(await changed(), []);
    changes.nextStop();
    tables.set('', [entry(1), entry(2, { entry: '0x42065' }), entry(3, { run: 5 }), entry(9)]);
    assert.deepEqual(await changed(), [2, 3, 9]);
    assert.deepEqual(await changed(), [2, 3, 9], 'a refresh at the same stop changes no mark');
    changes.nextStop();
    assert.deepEqual(await changed(), []);
  });

  it('compare a table with when it was last shown, however long ago', async () => {
    const tables = new Map([['7', [entry(1)]]]);
    const { model, changes } = over(tables);
    const table = { path: [7] } as unknown as Parameters<typeof model.children>[0];
    await model.children(table);
    changes.nextStop();
    changes.nextStop();
    tables.set('7', [entry(1, { entry: '0x1' })]);
    assert.equal((await model.children(table))[0]?.changed, true);
  });

  it("do not compare one vCPU's tables with another's", async () => {
    const tables = new Map([['', [entry(1)]]]);
    let thread = 1;
    const { model, changes } = over(tables, () => thread);
    await model.children(undefined);
    changes.nextStop();
    thread = 2;
    tables.set('', [entry(1, { entry: '0x1' })]);
    assert.equal((await model.children(undefined))[0]?.changed, false);
  });

  it('before the first stop are of the vCPU that the adapter takes', async () => {
    const { model, requester } = over(new Map([['', [entry(1)]]]), () => undefined);
    assert.equal((await model.children(undefined)).length, 1);
    assert.deepEqual(requester.asked, [['hyperstep/pageTable', { path: [] }]]);
  });

  it('can be copied, gone to, looked at in memory, asked for who maps them, and, where they map, watched', async () => {
    const { model } = over(new Map([['', [entry(1, { table: true }), entry(2)]]]));
    const rows = await model.children(undefined);
    assert.deepEqual(rows.map(contextOf), [
      'table copy memory mfn address',
      'leaf copy watch memory mfn address',
    ]);
    const { copy, watch, memory, mfn, address } = rows[1] ?? {};
    assert.deepEqual(
      [copy, watch, memory, mfn, address],
      ['0x42067', '*0x2000', 'machine:0x42000', 0x42, '0x2000'],
    );
  });

  it('are found by an index, also within a run', () => {
    const row = { entry: entry(8, { run: 4 }) } as PageTableRow;
    assert.deepEqual(
      [7, 8, 11, 12].map((index) => holdsIndex(index)(row)),
      [false, true, true, false],
    );
  });

  it('put what the guest can choose into tooltips as text', async () => {
    const { model } = over(new Map([['', [entry(1, { owner: 'd1 | [x](command:evil)' })]]]));
    const [row] = await model.children(undefined);
    assert.ok(row?.tooltip?.includes('d1 \\| \\[x\\]\\(command:evil\\)'), row?.tooltip);
  });
});
