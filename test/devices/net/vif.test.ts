import assert from 'node:assert/strict';
import { NETRXF, NETTXF, TX_SLOT } from '../../../src/devices/net/netif';
import { sring } from '../../../src/devices/ring';
import { NetFront, startNet, type NetBench } from './front';
import { be16, ethernet, internetChecksum, ip, ipv4, pseudo, tcp, udp, withChecksum } from './packets';

const A = '00:16:3e:00:01:00';
const B = '00:16:3e:00:02:00';
const [IP_A, IP_B] = ['10.0.2.15', '10.0.2.16'] as const;

/** Two domains on one bridge, connected; each knows what the other takes. */
function pair(
  nodesA: Readonly<Record<string, string | number>> = {},
  nodesB: Readonly<Record<string, string | number>> = {},
): { bench: NetBench; a: NetFront; b: NetFront } {
  const bench = startNet([{}], [{}]);
  return { bench, a: NetFront.up(bench, 1, nodesA), b: NetFront.up(bench, 2, nodesB) };
}

const bytes = (length: number): number[] => Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 255);
const tcpHeader = { from: 1000, to: 80, seq: 0xffff_fff0, ack: 5, flags: 0x19, window: 1234 };
/** A TCP packet from A to B, its checksum blank. */
const blankTcp = (data: readonly number[]): Uint8Array =>
  ethernet(B, A, 0x800, ipv4({ from: IP_A, to: IP_B, protocol: 6 }, tcp(tcpHeader, data)));
/** Whether what stands in an IPv4 TCP packet sums up. */
function intact(frame: Uint8Array): boolean {
  const all = [...frame.subarray(14)];
  const segment = all.slice(20);
  return (
    internetChecksum(all.slice(0, 20)) === 0 &&
    internetChecksum([...pseudo(ip(IP_A), ip(IP_B), 6, segment.length), ...segment]) === 0
  );
}

describe('devices: vif back end', () => {
  it('announces itself as xl and Linux’s back end do', () => {
    const bench = startNet([{ mac: '00:16:3E:12:34:56', bridge: 'lan', ip: '10.0.2.77' }, {}]);
    const first = new NetFront(bench, 1, 0);
    assert.deepEqual(
      ['mac', 'handle', 'bridge', 'type', 'ip', 'hotplug-status', 'state', 'feature-sg', 'feature-gso-tcpv4',
        'feature-rx-copy', 'feature-split-event-channels', 'multi-queue-max-queues'].map((n) => first.node(n)), // prettier-ignore
      ['00:16:3e:12:34:56', '0', 'lan', 'vif', '10.0.2.77', 'connected', '2', '1', '1', '1', '1', '1'],
    );
    assert.equal(first.node('feature-ctrl-ring'), '!ENOENT');
    assert.equal(new NetFront(bench, 1, 1).node('mac'), '00:16:3e:00:01:01');
  });

  it('carries frames both ways, of one slot and of many, and answers each slot', () => {
    const { a, b } = pair({}, { 'feature-sg': 1 });
    const small = ethernet(B, A, 0x1234, bytes(46));
    assert.deepEqual(a.send(small), [0]);
    assert.deepEqual(b.received(), [{ bytes: small, flags: 0, slots: 1 }]);
    const large = ethernet(B, A, 0x1234, bytes(9000));
    assert.deepEqual(a.send(large, NETTXF.data_validated), [0, 0, 0]);
    assert.deepEqual(b.received(), [
      { bytes: large, flags: NETRXF.data_validated | NETRXF.more_data, slots: 3 },
    ]);
    const back = ethernet(A, B, 0x1234, bytes(100));
    b.send(back);
    assert.deepEqual(a.received(), [{ bytes: back, flags: 0, slots: 1 }]);
    assert.deepEqual(b.received(), []);
  });

  it('puts a packet together from slots at any offset, the first one’s size being the whole’s', () => {
    const { a, b } = pair();
    const whole = ethernet(B, A, 0x1234, bytes(186));
    a.page(0).set(whole.subarray(0, 50), 4046);
    a.page(1).set(whole.subarray(50, 51), 9);
    a.page(2).set(whole.subarray(51), 0);
    a.put({ ref: a.ref(0), offset: 4046, size: 200, flags: NETTXF.more_data });
    a.put({ ref: a.ref(1), offset: 9, size: 1, flags: NETTXF.more_data });
    a.put({ ref: a.ref(2), size: 149 });
    a.kick();
    assert.deepEqual(a.statuses(), [0, 0, 0]);
    assert.deepEqual(b.received()[0]?.bytes, whole);
    assert.deepEqual(a.bench.backend.mapped.length, 4);
  });

  it('says on the ring’s terms when it wants to be told, and tells only who asked', () => {
    const { bench, a } = pair();
    bench.backend.notified = [];
    a.send(ethernet(B, A, 0x1234, bytes(46)));
    assert.deepEqual(
      bench.backend.notified.filter((n) => n.startsWith('1:')),
      ['1:20'],
    );
    a.txHeader.setUint32(sring.offset.rsp_event, 100, true);
    bench.backend.notified = [];
    a.put({ size: 60 });
    a.kick();
    assert.deepEqual(
      bench.backend.notified.filter((n) => n.startsWith('1:')),
      [],
    );
    assert.equal(a.txHeader.getUint32(sring.offset.req_event, true), 3);
  });

  it('uses an event channel for each direction where there are two', () => {
    const bench = startNet([{}], [{}]);
    const a = new NetFront(bench, 1);
    assert.equal(a.connect({}, true), '4');
    a.offer(4, false);
    const b = NetFront.up(bench, 2);
    bench.backend.notified = [];
    b.send(ethernet(A, B, 0x1234, bytes(46)));
    assert.deepEqual(
      bench.backend.notified.filter((n) => n.startsWith('1:')),
      [`1:${a.rxPort}`],
    );
    a.put({ size: 60 });
    a.kick(a.rxPort);
    assert.deepEqual(a.statuses(), [0]);
    assert.deepEqual(bench.backend.notified.at(-1), `1:${a.txPort}`);
  });

  describe('offload', () => {
    it('passes a blank checksum on to who takes it, and completes it for who does not', () => {
      const blank = blankTcp(bytes(777));
      const takes = pair();
      takes.a.send(blank, NETTXF.csum_blank | NETTXF.data_validated);
      assert.deepEqual(takes.b.received(), [
        { bytes: blank, flags: NETRXF.csum_blank | NETRXF.data_validated, slots: 1 },
      ]);
      const refuses = pair({}, { 'feature-no-csum-offload': 1 });
      refuses.a.send(blank, NETTXF.csum_blank | NETTXF.data_validated);
      const [got] = refuses.b.received();
      assert.ok(got !== undefined && intact(got.bytes));
      assert.equal(got.flags, NETRXF.data_validated);
      assert.deepEqual(
        [...got.bytes.subarray(14)],
        [...ipv4({ from: IP_A, to: IP_B, protocol: 6 }, withChecksum(tcp(tcpHeader, bytes(777)), 16, ip(IP_A), ip(IP_B), 6))], // prettier-ignore
      );
    });

    it('completes UDP, whose zero is written as all ones, behind a VLAN tag and in IPv6', () => {
      const { a, b } = pair({}, { 'feature-no-csum-offload': 1 });
      const v6 = (payload: readonly number[]): number[] => [
        0x60, 0, 0, 0, ...be16(payload.length), 17, 64, ...bytes(16), ...bytes(16).reverse(), ...payload,
      ]; // prettier-ignore
      const datagram = udp(1, 2, bytes(33));
      const whole = withChecksum(datagram, 6, bytes(16), bytes(16).reverse(), 17);
      a.send(ethernet(B, A, 0x86dd, v6(datagram)), NETTXF.csum_blank);
      assert.deepEqual([...(b.received()[0]?.bytes.subarray(54) ?? [])], whole);
      // Data that make the sum come out as zero.
      const bare = udp(1, 2, [0, 0]);
      const sum = internetChecksum([...pseudo(ip(IP_A), ip(IP_B), 17, 10), ...bare]);
      const zero = udp(1, 2, be16(sum));
      a.send(
        ethernet(B, A, 0x8100, [0, 5, 8, 0, ...ipv4({ from: IP_A, to: IP_B, protocol: 17 }, zero)]),
        NETTXF.csum_blank,
      );
      assert.deepEqual([...(b.received()[0]?.bytes.subarray(18 + 20 + 6, 18 + 20 + 8) ?? [])], [255, 255]);
    });

    it('passes a large packet whole to who takes such, with the size of its segments', () => {
      const { a, b } = pair({}, { 'feature-sg': 1, 'feature-gso-tcpv4': 1 });
      const large = blankTcp(bytes(20_000));
      const blank = NETTXF.csum_blank | NETTXF.data_validated;
      assert.deepEqual(a.send(large, blank, { size: 1448 }), [0, 1, 0, 0, 0, 0]);
      const [got, ...more] = b.received();
      assert.deepEqual(more, []);
      assert.deepEqual(got?.bytes, large);
      assert.deepEqual([got.gso, got.slots], [1448, 6]);
      assert.equal(
        got.flags,
        NETRXF.csum_blank | NETRXF.data_validated | NETRXF.more_data | NETRXF.extra_info,
      );
    });

    for (const nodes of [{}, { 'feature-gso-tcpv4': 1 }, { 'feature-sg': 1, 'feature-gso-tcpv6': 1 }]) {
      it(`cuts it up for who says ${JSON.stringify(nodes)}, each segment right in itself`, () => {
        const { a, b } = pair({}, nodes);
        const data = bytes(4000);
        a.send(blankTcp(data), NETTXF.csum_blank, { size: 1448 });
        const got = b.received();
        assert.deepEqual(
          got.map(({ bytes: { length } }) => length - 54),
          [1448, 1448, 1104],
        );
        const seen: number[] = [];
        for (const [i, { bytes: frame, gso }] of got.entries()) {
          assert.equal(gso, undefined);
          assert.ok(intact(frame), `segment ${i}`);
          const view = new DataView(frame.buffer, frame.byteOffset);
          assert.equal(view.getUint32(38), (0xffff_fff0 + 1448 * i) >>> 0);
          assert.equal(view.getUint16(18), 7 + i);
          assert.equal(view.getUint8(47), i === 2 ? 0x19 : 0x10);
          seen.push(...frame.subarray(54));
        }
        assert.deepEqual(seen, data);
      });
    }
  });

  describe('multicast', () => {
    const GROUP = '01:00:5e:00:00:fb';
    const change = (front: NetFront, type: 2 | 3, group: string): number[] => {
      front.put({ size: 0, flags: NETTXF.extra_info });
      const slot = new Uint8Array(TX_SLOT);
      slot.set([type, 0, ...group.split(':').map((part) => parseInt(part, 16))]);
      front.putSlot(slot);
      front.kick();
      return front.statuses();
    };
    const reach = (a: NetFront, b: NetFront, to: string): number => {
      a.send(ethernet(to, A, 0x1234, bytes(46)));
      return b.received().length;
    };

    it('is let through unless it is to be filtered, and then as the guest’s list says', () => {
      const open = pair();
      assert.equal(reach(open.a, open.b, GROUP), 1);
      const { a, b } = pair({}, { 'request-multicast-control': 1 });
      assert.equal(reach(a, b, GROUP), 0);
      assert.equal(reach(a, b, 'ff:ff:ff:ff:ff:ff'), 1);
      assert.deepEqual(change(b, 2, GROUP), [0, 1]);
      assert.equal(reach(a, b, GROUP), 1);
      assert.equal(reach(a, b, '01:00:5e:00:00:fc'), 0);
      assert.deepEqual(change(b, 3, GROUP), [0, 1]);
      assert.equal(reach(a, b, GROUP), 0);
      for (let i = 0; i < 64; i++) assert.deepEqual(change(b, 2, `01:00:5e:00:01:${i.toString(16).padStart(2, '0')}`), [0, 1]); // prettier-ignore
      assert.deepEqual(change(b, 2, GROUP), [-1, 1]);
    });
  });

  describe('a guest that has no pages for what it gets', () => {
    it('gets it when it has, in order, and loses what is beyond the queue', () => {
      const bench = startNet([{}], [{}]);
      const a = NetFront.up(bench, 1);
      const b = NetFront.up(bench, 2, {}, 1);
      for (let i = 0; i < 600; i++) a.send(ethernet(B, A, 0x1234, [i >> 8, i & 255, ...bytes(44)]));
      assert.equal(b.received().length, 1);
      const got: number[] = [];
      for (let round = 0; round < 40; round++) {
        b.offer(16);
        got.push(...b.received().map(({ bytes: f }) => (f[14] ?? 0) * 256 + (f[15] ?? 0)));
      }
      assert.deepEqual(
        got,
        Array.from({ length: 512 }, (_, i) => i + 1),
      );
      assert.equal(bench.devices.inspect().net.vifs[1]?.counters.dropped, 87);
    });

    it('is told the moment it wants to be told of: when there is one page more than it had', () => {
      const bench = startNet([{}], [{}]);
      const a = NetFront.up(bench, 1);
      const b = NetFront.up(bench, 2, { 'feature-sg': 1 }, 2);
      a.send(ethernet(B, A, 0x1234, bytes(9000)));
      assert.deepEqual(b.received(), []);
      assert.equal(b.rxHeader.getUint32(sring.offset.req_event, true), 3);
      b.offer(1);
      assert.equal(b.received().length, 1);
    });

    it('is looked at again after a while if it does not say when it has', () => {
      const bench = startNet([{}], [{}]);
      const a = NetFront.up(bench, 1);
      const b = NetFront.up(bench, 2, { 'feature-rx-notify': 0 }, 0);
      a.send(ethernet(B, A, 0x1234, bytes(46)));
      b.offer(4, false);
      bench.backend.pass(20_000_000n);
      assert.equal(b.received().length, 0);
      bench.backend.pass(20_000_000n);
      assert.equal(b.received().length, 1);
    });
  });

  describe('answers with an error, and goes on', () => {
    const cases: readonly (readonly [string, (a: NetFront) => void, readonly number[]])[] = [
      ['a packet shorter than its header', (a) => a.put({ size: 13 }), [-1]],
      ['a grant that is none', (a) => a.put({ ref: 7777, size: 60 }), [-1]],
      [
        'a part larger than the whole',
        (a) => {
          a.put({ size: 60, flags: NETTXF.more_data });
          a.put({ size: 61 });
        },
        [-1, -1],
      ],
      [
        'a packet of 20 slots',
        (a) => {
          for (let i = 0; i < 20; i++)
            a.put({ size: i === 0 ? 100 : 1, flags: i < 19 ? NETTXF.more_data : 0 });
        },
        Array.from({ length: 20 }, () => -1),
      ],
    ];
    for (const [what, act, statuses] of cases) {
      it(what, () => {
        const { a, b } = pair();
        act(a);
        a.kick();
        assert.deepEqual(a.statuses(), statuses);
        assert.equal(a.state, '4');
        assert.deepEqual(b.received(), []);
        assert.deepEqual(a.send(ethernet(B, A, 0x1234, bytes(46))), [0]);
        assert.equal(b.received().length, 1);
      });
    }

    it('a page of the guest’s that cannot be written: the slot says so', () => {
      const { bench, a, b } = pair();
      for (let i = 32; i < 64; i++) bench.backend.grants.delete(`2:${b.ref(i)}`);
      a.send(ethernet(B, A, 0x1234, bytes(46)));
      assert.throws(() => b.received(), /a receive response of -1/);
      assert.equal(b.state, '4');
    });
  });

  describe('closes, with a reason, for', () => {
    const fatal: readonly (readonly [string, (a: NetFront) => void, RegExp])[] = [
      [
        'a transmit ring that overflows',
        (a) => a.txHeader.setUint32(0, 0x8000_0000, true),
        /transmit ring claims/,
      ],
      ['a receive ring that overflows', (a) => a.rxHeader.setUint32(0, 5000, true), /receive ring claims/],
      ['a slot that crosses its page', (a) => a.put({ offset: 4090, size: 60 }), /60 bytes at 4090 crosses/],
      [
        'a further slot that crosses its page',
        (a) => {
          a.put({ size: 5000, flags: NETTXF.more_data });
          a.put({ offset: 1, size: 4096 });
        },
        /4096 bytes at 1 crosses/,
      ],
      ['a packet without its end', (a) => a.put({ size: 60, flags: NETTXF.more_data }), /end before it does/],
      [
        'extra information that is missing',
        (a) => a.put({ size: 60, flags: NETTXF.extra_info }),
        /is missing/,
      ],
      [
        'extra information of no type',
        (a) => {
          a.put({ size: 60, flags: NETTXF.extra_info });
          a.putSlot(new Uint8Array(TX_SLOT));
        },
        /type 0/,
      ],
      [
        'segments of no bytes',
        (a) => {
          a.put({ size: 60, flags: NETTXF.extra_info });
          a.putGso(0);
        },
        /segments of no bytes/,
      ],
      [
        'segmentation of no kind',
        (a) => {
          a.put({ size: 60, flags: NETTXF.extra_info });
          a.putGso(1000, 3);
        },
        /segmentation of type 3/,
      ],
      [
        'a packet of 22 slots',
        (a) => {
          for (let i = 0; i < 22; i++)
            a.put({ size: i === 0 ? 100 : 1, flags: i < 21 ? NETTXF.more_data : 0 });
        },
        /more than 20 slots/,
      ],
    ];
    for (const [what, act, why] of fatal) {
      it(what, () => {
        const { bench, a, b } = pair();
        const held = bench.backend.mapped.length;
        act(a);
        a.kick();
        assert.equal(a.state, '6');
        assert.match(bench.lines.join(), why);
        assert.match(bench.devices.xenstore.read('/local/domain/0/error/backend/vif/1/0/error') ?? '', why);
        // Its pages and its port are let go; the other one does not notice.
        assert.equal(bench.backend.mapped.length, held - 2);
        b.send(ethernet(A, B, 0x1234, bytes(46)));
        assert.equal(b.state, '4');
        a.set('state', 6);
        a.set('state', 1);
        assert.equal(a.state, '2');
        assert.equal(a.connect(), '4');
        assert.deepEqual(a.send(ethernet(B, A, 0x1234, bytes(46))), [0]);
      });
    }

    for (const [what, nodes, why] of [
      ['pages that were to be flipped', { 'request-rx-copy': 0 }, /request-rx-copy/],
      ['two queues', { 'multi-queue-num-queues': 2 }, /"2" queues; one is offered/],
      ['a grant that is none', { 'rx-ring-ref': 4444 }, /rx-ring-ref: grant 4444/],
      ['no number', { 'tx-ring-ref': 'x' }, /tx-ring-ref is not a number/],
      ['a port that is not for us', { 'event-channel': 1234 }, /port 1234 is not unbound/],
    ] as const) {
      it(what, () => {
        const bench = startNet([{}]);
        const a = new NetFront(bench, 1);
        assert.equal(a.connect(nodes), '6');
        assert.match(bench.lines.join(), why);
        assert.deepEqual(bench.backend.mapped, []);
      });
    }
  });

  it('goes back and forth between saved states: rings, queue, list and what was learned', () => {
    const bench = startNet([{}], [{}]);
    const a = NetFront.up(bench, 1);
    const b = NetFront.up(bench, 2, {}, 0);
    a.send(ethernet(B, A, 0x1234, bytes(46)));
    const saved = structuredClone(bench.devices.save());
    assert.equal(saved.net.vifs[1]?.connection?.queue.length, 1);
    bench.devices.restore(saved);
    assert.deepEqual(bench.devices.save(), saved);
    b.offer(1);
    assert.equal(b.received().length, 1);
    bench.devices.restore(saved);
    // The guest's memory is restored by others: its ring as it stood.
    for (const field of [sring.offset.req_prod, sring.offset.rsp_prod]) b.rxHeader.setUint32(field, 0, true);
    assert.deepEqual(bench.devices.save(), saved);
    a.set('state', 6);
    assert.equal(bench.devices.save().net.vifs[0]?.connection, undefined);
  });

  it('shows its rings with what is in flight', () => {
    const bench = startNet([{}], [{}]);
    const a = NetFront.up(bench, 1);
    a.put({ size: 60 });
    const [view] = bench.devices.inspect().net.vifs;
    assert.deepEqual([view?.backState, view?.mac, view?.bridge, view?.queued], ['Connected', A, 'xenbr0', 0]);
    assert.deepEqual(
      view?.rings.map(({ slots, inFlight }) => [slots, inFlight.length]),
      [
        [256, 1],
        [256, 30],
      ],
    );
    const [request] = view.rings[0]?.inFlight ?? [];
    assert.deepEqual(
      request?.request.children?.map((c) => [c.name, c.value]),
      [
        ['gref', 100n],
        ['offset', 0n],
        ['flags', 0n],
        ['id', 0n],
        ['size', 60n],
      ],
    );
  });
});
