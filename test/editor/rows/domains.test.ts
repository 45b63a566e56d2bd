import assert from 'node:assert/strict';
import type { HyperstepRequests } from '../../../src/dap/protocol';
import { trackChanges } from '../../../src/editor/rows/changes';
import { domains } from '../../../src/editor/rows/domains';
import { contextOf } from '../../../src/editor/rows/row';
import { vcpuGiven } from '../../../src/editor/rows/vcpu-given';
import { fakeRequester } from './fake-requester';

type Domain = HyperstepRequests['hyperstep/domains']['body']['domains'][number];
type State = HyperstepRequests['hyperstep/vcpu']['body']['state'];

const domain = (more: Partial<Domain> = {}): Domain => ({
  id: 1,
  name: 'guest',
  frames: 4096,
  consolePorts: 1,
  vcpus: [
    {
      ref: { domain: 1, vcpu: 0 },
      state: 'blocked',
      rip: '0xffffffff81000000',
      mode: 'kernel',
      icount: '0x64',
    },
  ],
  ...more,
});

function over() {
  const now: { domains: Domain[]; state: State } = {
    domains: [domain()],
    state: [
      { name: 'mode', type: 'mode', text: 'guest kernel' },
      {
        name: 'trap table',
        type: 'group',
        text: '1 handlers',
        children: [
          {
            name: '#PF',
            type: 'vaddr',
            text: '0xffffffff81234560 DPL 0',
            value: '0xffffffff81234560',
            memory: { space: 'virtual', address: '0xffffffff81234560' },
          },
        ],
      },
      { name: 'kernel table', type: 'mfn', text: 'mfn 0x42', value: '0x42' },
    ],
  };
  const changes = trackChanges();
  const requester = fakeRequester({
    'hyperstep/domains': () => ({ domains: now.domains }),
    'hyperstep/vcpu': () => ({ threadId: 1, state: now.state }),
  });
  return { now, changes, requester, model: domains(requester, changes) };
}

describe('domain rows', () => {
  it('come a domain, its vCPUs, what the hypervisor keeps about each, and that to its leaves', async () => {
    const { model, requester } = over();
    const [top] = await model.children(undefined);
    assert.deepEqual(
      [top?.id, top?.label, top?.description],
      ['d1', 'd1 guest', 'alive · 1 vCPU · 4096 frames, 16 MiB'],
    );
    const [vcpu] = await model.children(top);
    assert.deepEqual(
      [vcpu?.label, vcpu?.description, vcpu?.memory],
      [
        'd1v0',
        'blocked · guest kernel · 0xffffffff81000000 · 100 instructions',
        'virtual:d1v0:0xffffffff81000000',
      ],
    );
    const state = await model.children(vcpu);
    assert.deepEqual(
      state.map(({ id, label, expandable }) => [id, label, expandable]),
      [
        ['d1v0/mode', 'mode', false],
        ['d1v0/trap table', 'trap table', true],
        ['d1v0/kernel table', 'kernel table', false],
      ],
    );
    assert.equal(state[2] && contextOf(state[2]), 'value copy mfn');
    assert.equal(state[2]?.mfn, 0x42);
    const [handler] = await model.children(state[1]);
    assert.deepEqual(
      [handler?.id, handler?.memory, handler?.address],
      ['d1v0/trap table/#PF', 'virtual:d1v0:0xffffffff81234560', '0xffffffff81234560'],
    );
    assert.deepEqual(requester.asked.slice(1), [['hyperstep/vcpu', { domain: 1, vcpu: 0 }]]);
  });

  it('say what has ended and what was asked for', async () => {
    const { model, now } = over();
    now.domains = [domain({ shutdown: 'crash' }), domain({ id: 2, asked: 'poweroff', consolePorts: 2 })];
    const texts = (await model.children(undefined)).map(({ description }) => description ?? '');
    assert.match(texts[0] ?? '', /^ended: crash/);
    assert.match(texts[1] ?? '', /asked to poweroff · 2 consoles$/);
  });

  it('mark what changed since the stop before, a group by what is in it', async () => {
    const { model, now, changes } = over();
    const marks = async (): Promise<(boolean | undefined)[]> => {
      const [top] = await model.children(undefined);
      const [vcpu] = await model.children(top);
      return [vcpu?.changed, ...(await model.children(vcpu)).map(({ changed }) => changed)];
    };
    assert.deepEqual(await marks(), [false, false, false, false]);
    changes.nextStop();
    now.domains = [domain({ vcpus: domain().vcpus.map((one) => ({ ...one, state: 'running' as const })) })];
    now.state = now.state.map((one) => (one.name === 'trap table' ? { ...one, children: [] } : one));
    assert.deepEqual(await marks(), [true, false, true, false]);
  });

  it('commands about a vCPU know it by its row, and by what the call stack gives', async () => {
    const { model } = over();
    const [row] = await model.children(undefined);
    assert.equal(vcpuGiven(row), undefined);
    const [vcpu] = await model.children(row);
    assert.match(contextOf(vcpu ?? assert.fail()), /^vcpu\b/);
    assert.deepEqual(vcpuGiven(vcpu), { domain: 1, vcpu: 0 });
    assert.deepEqual(vcpuGiven({ sessionId: 's', threadId: 'thread:1b-2:13' }), { threadId: 13 });
    assert.deepEqual(vcpuGiven({ threadId: 4, frameId: 'frame' }), { threadId: 4 });
    for (const other of [undefined, 'thread:1:2', {}, { threadId: 'x' }])
      assert.equal(vcpuGiven(other), undefined);
  });
});
