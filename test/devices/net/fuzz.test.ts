import assert from 'node:assert/strict';
import { mfn } from '../../../src/base/branded';
import { sring } from '../../../src/devices/ring';
import { NetFront, startNet } from './front';
import { seeded } from '../../support/random';

const NODES = ['feature-sg', 'feature-gso-tcpv4', 'feature-gso-tcpv6', 'feature-no-csum-offload', 'feature-rx-notify',
  'feature-ipv6-csum-offload', 'request-multicast-control', 'request-rx-copy', 'tx-ring-ref', 'rx-ring-ref',
  'event-channel', 'event-channel-tx', 'event-channel-rx', 'multi-queue-num-queues', 'state'] as const; // prettier-ignore
const VALUES = ['0', '1', '1', '1', '2', '4', '5', '6', '8', '9', '20', '', 'x', '4294967296'] as const;
const MACS = [
  '00:16:3e:00:01:00',
  '00:16:3e:00:02:00',
  '52:55:0a:00:02:02',
  'ff:ff:ff:ff:ff:ff',
  '01:00:5e:00:00:01',
] as const;

describe('devices: hostile network front ends', () => {
  it('random slots, packets, indices, grants and nodes: no exception, and everything is let go in the end', function () {
    this.timeout(60_000);
    const reached = { closed: 0, received: 0, answered: 0 };
    for (let seed = 1; seed <= 60; seed++) {
      const next = seeded((seed * 7919) | 1).below;
      const pick = <T>(from: readonly T[]): T => from[next(from.length)] as T;
      const bench = startNet([{}], [{}]);
      const { backend, devices } = bench;
      const outputs: string[] = [];
      devices.onNetwork((output) => outputs.push(output.event));
      const fronts = [
        NetFront.up(bench, 1, { 'feature-sg': 1, 'feature-gso-tcpv4': 1 }),
        NetFront.up(bench, 2),
      ];
      const [a, b] = fronts as [NetFront, NetFront];
      devices.input({ kind: 'network', connection: 1, event: 'open', domain: 1, port: 80 });

      /** A frame with something sensible at its beginning, and often nonsense after it. */
      const scribble = (page: Uint8Array, at: number): void => {
        for (let i = 0; i < 120 && at + i < 4096; i++) page[at + i] = next(256);
        const head = [pick(MACS), pick(MACS)].flatMap((m) => m.split(':').map((part) => parseInt(part, 16)));
        const types = [
          [8, 0],
          [8, 6],
          [0x86, 0xdd],
          [0x81, 0, 0, 1, 8, 0],
        ];
        const ipHead = [
          0x45,
          0,
          0,
          next(120),
          0,
          0,
          0,
          0,
          64,
          pick([1, 6, 17]),
          0,
          0,
          10,
          0,
          2,
          15,
          10,
          0,
          2,
          2,
        ];
        const bytes = [...head, ...pick(types), ...ipHead];
        page.set(bytes.slice(0, 4096 - at), at);
      };

      for (let step = 0; step < 400; step++) {
        const front = next(4) === 0 ? b : a;
        const action = next(24);
        if (action < 9) {
          const offset = next(3) === 0 ? next(4096) : 0;
          scribble(front.page(next(8)), offset);
          front.put({
            ref: next(20) === 0 ? next(5000) : front.ref(next(8)),
            offset,
            size: next(6) === 0 ? next(65536) : 14 + next(200),
            flags: next(16),
          });
        } else if (action === 9) front.putGso(next(3000), next(4));
        else if (action === 10) {
          const slot = new Uint8Array(12);
          for (let i = 0; i < 12; i++) slot[i] = next(i === 0 ? 6 : 256);
          front.putSlot(slot);
        } else if (action < 17) front.kick(next(2) === 0 ? front.txPort : front.rxPort);
        else if (action === 17) front.offer(next(20), next(2) === 0);
        else if (action === 18) {
          const header = next(2) === 0 ? front.txHeader : front.rxHeader;
          if (next(6) === 0) header.setUint32(pick([0, 4, 8, 12]), next(2) === 0 ? next(600) : 0xffff_0000 + next(65536), true);
        } else if (action === 19) {
          if (next(8) === 0) backend.grants.delete(`${front.domain}:${front.ref(next(64))}`);
          else backend.grants.set(`${front.domain}:${front.ref(next(8))}`, { mfn: mfn(10_000 * front.domain + 100 + next(64)), readOnly: next(3) === 0 }); // prettier-ignore
        } else if (action === 20) front.set(pick(NODES), pick(VALUES));
        else if (action === 21 && front.state !== '4') {
          front.set('state', 1);
          reached.closed++;
          if (front.connect({ 'multi-queue-num-queues': 1 }) === '4') front.offer(8);
        } else if (action === 22) backend.pass(BigInt(next(5)) * 700_000_000n);
        else if (next(2) === 0)
          devices.input({ kind: 'network', connection: 1 + next(3), ...pick([
            { event: 'open', domain: 1 + next(3), port: next(65536) },
            { event: 'data', at: next(3) * 5, data: new Uint8Array(next(3000)) },
            { event: 'end' },
            { event: 'abort' },
            { event: 'taken', bytes: next(100_000) },
          ] as const) }); // prettier-ignore
        if (step % 100 === 99) {
          const saved = devices.save();
          devices.restore(structuredClone(saved));
          assert.deepEqual(devices.save(), saved);
          devices.inspect();
        }
        // The indices may be nonsense, which is the guest's own affair to read.
        const produced = front.txHeader.getUint32(sring.offset.rsp_prod, true);
        if (produced < 1000) reached.answered += front.statuses().length;
      }
      assert.ok(!bench.lines.some((l) => l.startsWith('error')), bench.lines.join('\n'));
      reached.received += devices.inspect().net.vifs.reduce((sum, v) => sum + v.counters.received, 0);
      for (const front of fronts) {
        front.set('state', 6);
        assert.equal(front.state, '6');
      }
      assert.deepEqual(backend.mapped, []);
      assert.equal([...backend.ends().values()].filter(({ remotePort }) => remotePort >= 20).length, 0);
    }
    // It is worth something only if it gets behind the first check.
    assert.ok(
      reached.closed > 100 && reached.received > 300 && reached.answered > 1000,
      JSON.stringify(reached),
    );
  });
});
