import assert from 'node:assert/strict';
import type { HyperstepRequests } from '../../../src/dap/protocol';
import { trackChanges } from '../../../src/editor/rows/changes';
import { channels } from '../../../src/editor/rows/channels';
import { grants } from '../../../src/editor/rows/grants';
import { fakeRequester } from './fake-requester';

type Channels = HyperstepRequests['hyperstep/channels']['body']['domains'][number];
type Table = HyperstepRequests['hyperstep/grants']['body']['domains'][number];

const ports = (domain: number, pending = false): Channels => ({
  domain,
  abi: '2-level',
  channels: [
    { port: 1, kind: 'interdomain', text: 'connected to d0 port 4', remote: 0, remotePort: 4, vcpu: 0, priority: 7, pending, masked: false },
    { port: 2, kind: 'virq', text: 'VIRQ_TIMER', vcpu: 1, priority: 7, pending: true, masked: true },
  ],
}); // prettier-ignore

const table = (domain: number, more: Partial<Table> = {}): Table => ({
  domain,
  version: 1,
  frames: 1,
  maxFrames: 64,
  grants: [
    { ref: 1, kind: 'permit access', to: 0, mfn: 0x42, writable: true, marks: ['reading', 'writing'], mappedBy: [{ domain: 0, writable: true }] },
    { ref: 9, kind: 'permit access', to: 2, mfn: 0x43, writable: false, marks: [], mappedBy: [] },
  ],
  maps: [],
  ...more,
}); // prettier-ignore

describe('event channel rows', () => {
  const over = (first: readonly Channels[]) => {
    const now = { domains: first };
    const changes = trackChanges();
    const requester = fakeRequester({ 'hyperstep/channels': () => ({ domains: now.domains }) });
    return { now, changes, model: channels(requester, changes) };
  };

  it('of one domain stand at the top, with what they are bound to and how they stand', async () => {
    const rows = await over([ports(1)]).model.children(undefined);
    assert.deepEqual(
      rows.map(({ id, label, description, icon }) => [id, label, description, icon]),
      [
        ['d1/1', 'port 1', '↔ d0 port 4 · vCPU 0', 'arrow-swap'],
        ['d1/2', 'port 2', 'VIRQ_TIMER · vCPU 1 · pending, masked', 'bell-dot'],
      ],
    );
    assert.equal(rows[1]?.accessible, 'port 2, VIRQ_TIMER, vCPU 1, pending, masked');
  });

  it('of several domains stand below them, by the same names', async () => {
    const { model } = over([ports(1), ports(2)]);
    const tops = await model.children(undefined);
    assert.deepEqual(
      tops.map(({ label, description }) => [label, description]),
      [
        ['d1', '2 in use · 1 pending · 2-level'],
        ['d2', '2 in use · 1 pending · 2-level'],
      ],
    );
    assert.deepEqual(
      (await model.children(tops[1])).map(({ id }) => id),
      ['d2/1', 'd2/2'],
    );
  });

  it('mark those that became pending since the stop before', async () => {
    const { model, now, changes } = over([ports(1)]);
    await model.children(undefined);
    changes.nextStop();
    now.domains = [ports(1, true)];
    assert.deepEqual(
      (await model.children(undefined)).map(({ changed }) => changed),
      [true, false],
    );
  });
});

describe('grant rows', () => {
  const model = (...tables: Table[]) =>
    grants(fakeRequester({ 'hyperstep/grants': () => ({ domains: tables }) }), trackChanges());

  it('say to whom, which frame, how, and who has it mapped', async () => {
    const rows = await model(table(1)).children(undefined);
    assert.deepEqual(
      rows.map(({ label, description, memory, mfn }) => [label, description, memory, mfn]),
      [
        ['ref 1 (xenstore)', 'to d0 · mfn 0x42 · read and write · mapped by d0', 'machine:0x42000', 0x42],
        ['ref 9', 'to d2 · mfn 0x43 · read only', 'machine:0x43000', 0x43],
      ],
    );
    assert.match(rows[0]?.tooltip ?? '', /marked \| reading, writing/);
  });

  it('have what a domain has mapped of others below a row of its own', async () => {
    const maps = [{ handle: 3, from: 1, ref: 9, mfn: 0x43, writable: false }];
    const two = model(table(1), table(2, { grants: [], maps }));
    const tops = await two.children(undefined);
    assert.equal(tops[0]?.description, '2 grants · version 1 · 1 of 64 frames');
    const [mapped] = await two.children(tops[1]);
    assert.deepEqual([mapped?.label, mapped?.description], ['mapped of others', '1']);
    const [handle] = await two.children(mapped);
    assert.deepEqual(
      [handle?.label, handle?.description],
      ['handle 3', 'ref 9 of d1 · mfn 0x43 · read only'],
    );
  });

  it('tell a part of a page, and a transfer', async () => {
    const [whole] = table(1).grants;
    assert.ok(whole);
    const rows = await model(
      table(1, {
        grants: [
          { ...whole, part: { offset: 16, length: 32 } },
          { ...whole, ref: 8, kind: 'accept transfer', mappedBy: [] },
        ],
      }),
    ).children(undefined);
    assert.match(rows[0]?.description ?? '', /bytes 16 to 48/);
    assert.match(rows[1]?.description ?? '', /accept transfer$/);
  });
});
