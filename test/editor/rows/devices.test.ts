import assert from 'node:assert/strict';
import type { HyperstepRequests } from '../../../src/dap/protocol';
import { trackChanges } from '../../../src/editor/rows/changes';
import { devices } from '../../../src/editor/rows/devices';
import { fakeRequester } from './fake-requester';

type Devices = HyperstepRequests['hyperstep/devices']['body'];
type Disk = Devices['block'][number];

const request = (name: string) => ({
  name,
  type: 'blkif_request',
  text: '',
  children: [
    { name: 'operation', type: 'u8', text: 'READ', value: '0x0' },
    { name: 'sector_number', type: 'u64', text: '0x800', value: '0x800' },
    {
      name: 'seg',
      type: 'array',
      text: '[1]',
      children: [{ name: '[0]', type: 'seg', text: 'gref 8, 0 to 7' }],
    },
  ],
});

const disk = (more: Partial<Disk> = {}): Disk => ({
  type: 'vbd',
  domain: 1,
  id: 51712,
  frontPath: '/local/domain/1/device/vbd/51712',
  backPath: '/local/domain/0/backend/vbd/1/51712',
  frontState: 'Connected',
  backState: 'Connected',
  ports: [5],
  ringRefs: [8],
  vdev: 'xvda',
  image: 'root.img',
  access: 'overlay',
  sectors: 204_800,
  plugged: true,
  rings: [
    {
      slots: 32,
      reqProd: 34,
      reqEvent: 35,
      rspProd: 32,
      rspEvent: 33,
      taken: 33,
      given: 32,
      inFlight: [
        { index: 32, request: request('request') },
        { index: 33, request: request('request') },
      ],
    },
  ],
  ...more,
});

const none: Devices = { console: [], echo: [], block: [], net: { vifs: [], bridges: [] } };
const over = (now: Devices) => {
  const state = { now };
  const changes = trackChanges();
  return { state, changes, model: devices(fakeRequester({ 'hyperstep/devices': () => state.now }), changes) };
};

describe('device rows', () => {
  it('are disks with their two ends, their rings, and the requests in them decoded', async () => {
    const { model } = over({ ...none, block: [disk()] });
    const [top] = await model.children(undefined);
    assert.deepEqual(
      [top?.id, top?.label, top?.description],
      ['vbd/1/51712', 'd1 xvda', '2 in flight · Connected · root.img · overlay · 100 MiB'],
    );
    const below = await model.children(top);
    assert.deepEqual(
      below.map(({ label, description }) => [label, description]),
      [
        ['front end', 'Connected · /local/domain/1/device/vbd/51712'],
        ['back end', 'Connected · /local/domain/0/backend/vbd/1/51712'],
        ['ports of the back end', '5'],
        ['grants of the rings', '8'],
        ['ring 0', '2 of 32 in flight'],
      ],
    );
    assert.equal(below[0]?.node, '/local/domain/1/device/vbd/51712');
    const ring = await model.children(below[4]);
    assert.deepEqual(
      ring.map(({ label, description }) => [label, description]),
      [
        ['requests', 'produced 34 · taken 33 · event at 35'],
        ['responses', 'produced 32 · given 32 · event at 33'],
        ['slot 0', 'in work · operation READ, sector_number 0x800'],
        ['slot 1', 'not taken yet · operation READ, sector_number 0x800'],
      ],
    );
    const members = await model.children(ring[2]);
    assert.deepEqual(
      members.map(({ label }) => label),
      ['operation', 'sector_number', 'seg'],
    );
    assert.deepEqual(
      (await model.children(members[2])).map(({ description }) => description),
      ['gref 8, 0 to 7'],
    );
    assert.equal(new Set([...below, ...ring, ...members].map(({ id }) => id)).size, 12);
  });

  it('are consoles that say what waits in them, and those a guest does not use', async () => {
    const { model } = over({
      ...none,
      console: [
        { domain: 1, console: 0, name: 'console', output: 3, input: 0, waiting: 2 },
        { domain: 1, console: 1, name: 'log', output: undefined, input: undefined, waiting: 0 },
      ],
    });
    assert.deepEqual(
      (await model.children(undefined)).map(({ description }) => description),
      ['console · 3 out, 0 in, 2 waiting bytes', 'log · not used by the guest'],
    );
  });

  it('mark a device that changed since the stop before', async () => {
    const { model, state, changes } = over({ ...none, block: [disk(), disk({ id: 51728, vdev: 'xvdb' })] });
    await model.children(undefined);
    changes.nextStop();
    state.now = { ...none, block: [disk(), disk({ id: 51728, vdev: 'xvdb', backState: 'Closing' })] };
    const rows = await model.children(undefined);
    assert.deepEqual(
      rows.map(({ changed }) => changed === true),
      [false, true],
    );
    assert.match(rows[1]?.description ?? '', /front Connected, back Closing/);
  });
});
