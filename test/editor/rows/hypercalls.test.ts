import assert from 'node:assert/strict';
import type { HyperstepRequests } from '../../../src/dap/protocol';
import { trackChanges } from '../../../src/editor/rows/changes';
import { hypercalls } from '../../../src/editor/rows/hypercalls';
import { fakeRequester } from './fake-requester';

type Declared = HyperstepRequests['hyperstep/hypercalls']['body']['hypercalls'][number];
type Summary = HyperstepRequests['hyperstep/traceSummary']['body'];

const declared: readonly Declared[] = [
  {
    name: 'memory_op',
    nr: 12,
    status: 'implemented',
    doc: 'memory.h',
    args: ['cmd', 'arg'],
    ops: [
      { name: 'populate_physmap', cmd: 6, status: 'implemented', doc: 'header.h', args: ['domid'] },
      { name: 'claim_pages', cmd: 24, status: 'unimplemented', doc: 'header.h', args: ['domid'] },
    ],
  },
  { name: 'mmu_update', nr: 1, status: 'implemented', doc: 'xen.h', args: ['ureqs', 'count'], ops: [] },
  { name: 'platform_op', nr: 7, status: 'refused', doc: 'platform.h', args: [], ops: [] },
];

const none: Summary = { total: 0, calls: [], refusals: [], traps: [] };

function over() {
  const state = { summary: none, breakpoints: new Set<string>() };
  const changes = trackChanges();
  const requester = fakeRequester({
    'hyperstep/hypercalls': () => ({ hypercalls: declared }),
    'hyperstep/traceSummary': () => state.summary,
  });
  return { state, changes, model: hypercalls(requester, () => state.breakpoints, changes) };
}

const called = (name: string, count: number, refused = 0, ops: Summary['calls'][number]['ops'] = []) => ({
  name,
  count,
  refused,
  ops,
});

describe('hypercall rows', () => {
  it('stand in the order of their numbers, whatever has been called', async () => {
    const { model, state } = over();
    const names = async (): Promise<string[]> => (await model.children(undefined)).map((row) => row.label);
    assert.deepEqual(await names(), ['mmu_update', 'platform_op', 'memory_op']);
    state.summary = { ...none, calls: [called('memory_op', 90), called('platform_op', 2, 2)] };
    assert.deepEqual(await names(), ['mmu_update', 'platform_op', 'memory_op']);
  });

  it('show counts, refusals, and what is not implemented', async () => {
    const { model, state } = over();
    const ops = [{ name: 'populate_physmap', count: 3, refused: 1 }];
    state.summary = { ...none, calls: [called('mmu_update', 12), called('memory_op', 3, 1, ops)] };
    const rows = await model.children(undefined);
    assert.deepEqual(
      rows.map(({ label, description, icon }) => [label, description, icon]),
      [
        ['mmu_update', '12', 'symbol-method'],
        ['platform_op', 'refused, as Xen does', 'circle-slash'],
        ['memory_op', '3, 1 refused', 'warning'],
      ],
    );
    assert.deepEqual(
      (await model.children(rows[2])).map(({ name, label, description }) => [name, label, description]),
      [
        ['memory_op.populate_physmap', 'populate_physmap', '3, 1 refused'],
        ['memory_op.claim_pages', 'claim_pages', 'not implemented'],
      ],
    );
    assert.equal(rows[2]?.accessible, 'memory_op, called 3, 1 refused');
  });

  it('are ticked where a function breakpoint of that name is set', async () => {
    const { model, state } = over();
    state.breakpoints = new Set(['hypercall:memory_op.populate_physmap', 'hypercall:mmu_update:return']);
    const rows = await model.children(undefined);
    assert.deepEqual(
      rows.map(({ checked }) => checked),
      [false, false, false],
    );
    assert.equal(rows[0]?.description, 'breaks on return');
    assert.deepEqual(
      (await model.children(rows[2])).map(({ checked }) => checked),
      [true, false],
    );
  });

  it('mark those called since the stop before', async () => {
    const { model, state, changes } = over();
    const changed = async (): Promise<string[]> =>
      (await model.children(undefined)).filter((row) => row.changed === true).map((row) => row.name);
    state.summary = { ...none, calls: [called('mmu_update', 1)] };
    assert.deepEqual(await changed(), []);
    changes.nextStop();
    state.summary = { ...none, calls: [called('mmu_update', 1), called('memory_op', 1)] };
    assert.deepEqual(await changed(), ['memory_op']);
  });
});
