import assert from 'node:assert/strict';
import type { HyperstepRequests } from '../../../src/dap/protocol';
import { trackChanges } from '../../../src/editor/rows/changes';
import { contextOf } from '../../../src/editor/rows/row';
import { storeText, storeValue, xenstore } from '../../../src/editor/rows/xenstore';
import { fakeRequester } from './fake-requester';

type Node = NonNullable<HyperstepRequests['hyperstep/xenstore']['body']['node']>;
type Child = Node['children'][number];

const child = (name: string, value: string, more: Partial<Child> = {}): Child => ({
  name,
  value,
  permissions: ['n0', 'r1'],
  watchers: [],
  below: 0,
  ...more,
});

function over(nodes: Record<string, readonly Child[]>) {
  const changes = trackChanges();
  const requester = fakeRequester({
    'hyperstep/xenstore': ({ at }) => {
      const children = nodes[at];
      return children === undefined
        ? {}
        : { node: { path: at, value: '', permissions: ['n0'], watchers: [], children } };
    },
  });
  return { changes, requester, model: xenstore(requester, changes) };
}

describe('xenstore rows', () => {
  it('are nodes by their paths, in the order of their names and numbers', async () => {
    const { model, requester } = over({
      '/': [child('vm', ''), child('local', '', { below: 1 })],
      '/local': [child('10', 'b'), child('9', 'a', { watchers: [1, 2] })],
    });
    const [local, vm] = await model.children(undefined);
    assert.deepEqual([local?.id, local?.expandable, vm?.expandable], ['/local', true, false]);
    const rows = await model.children(local);
    assert.deepEqual(
      rows.map(({ id, label, description, node }) => [id, label, description, node]),
      [
        ['/local/9', '9', 'a · watched by d1, d2', '/local/9'],
        ['/local/10', '10', 'b', '/local/10'],
      ],
    );
    assert.equal(rows[0] && contextOf(rows[0]), 'store copy node');
    assert.match(rows[0]?.tooltip ?? '', /n0 r1: d0 owns it, d1 may read, others may nothing/);
    assert.deepEqual(requester.asked.at(-1), ['hyperstep/xenstore', { at: '/local' }]);
    assert.deepEqual(await model.children(rows[0]), []);
  });

  it('mark values that are new or others since the stop before', async () => {
    const nodes = { '/': [child('a', '1'), child('b', '1')] };
    const { model, changes } = over(nodes);
    await model.children(undefined);
    changes.nextStop();
    nodes['/'] = [child('a', '1'), child('b', '2'), child('c', '')];
    assert.deepEqual(
      (await model.children(undefined)).map(({ changed }) => changed),
      [false, true, true],
    );
  });

  it('show values that are text as text, and others as bytes', () => {
    assert.equal(storeText('first-hypercall'), 'first-hypercall');
    assert.equal(storeText('ended by zero\u0000'), 'ended by zero');
    assert.equal(storeText(storeValue('Größe')), 'Größe');
    assert.equal(storeText('\u0001\u00ff'), '0x01ff');
    assert.equal(storeText('\u00ff'), '0xff');
    assert.equal(storeValue('é'), '\u00c3\u00a9');
  });
});
