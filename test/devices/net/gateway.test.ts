import assert from 'node:assert/strict';
import { NetFront, startNet } from './front';
import {
  arp,
  be16,
  be32,
  ethernet,
  icmpEcho,
  internetChecksum,
  ip,
  ipv4,
  mac,
  pseudo,
  tcp,
  udp,
  withChecksum,
} from './packets';

const GUEST = { mac: '00:16:3e:00:01:00', ip: '10.0.2.15' };
const GATE = { mac: '52:55:0a:00:02:02', ip: '10.0.2.2' };
const ALL = 'ff:ff:ff:ff:ff:ff';

const start = (): NetFront => NetFront.up(startNet([{}]), 1);
const ask = (front: NetFront, frame: Uint8Array): number[][] => {
  front.send(frame);
  const got = front.received().map(({ bytes }) => [...bytes]);
  front.offer(got.length);
  return got;
};
const askIp = (front: NetFront, protocol: number, payload: readonly number[], to = GATE.ip): number[][] =>
  ask(front, ethernet(GATE.mac, GUEST.mac, 0x800, ipv4({ from: GUEST.ip, to, protocol }, payload)));
/** An IPv4 packet from the gateway, its header looked at; what it carries. */
function carried(frame: readonly number[] | undefined, protocol: number, to = GUEST.ip): number[] {
  assert.ok(frame !== undefined, 'there is no answer');
  assert.deepEqual(frame.slice(6, 14), [...mac(GATE.mac), 8, 0]);
  assert.equal(internetChecksum(frame.slice(14, 34)), 0);
  assert.deepEqual([frame[14], frame[23]], [0x45, protocol]);
  assert.deepEqual(frame.slice(26, 34), [...ip(GATE.ip), ...ip(to)]);
  assert.equal((frame[16] ?? 0) * 256 + (frame[17] ?? 0), frame.length - 14);
  return frame.slice(34);
}

describe('devices: the network’s gateway', () => {
  it('answers ARP for itself, and for nobody else', () => {
    const front = start();
    const who = (address: string): number[][] =>
      ask(front, ethernet(ALL, GUEST.mac, 0x806, arp(1, GUEST, { mac: '00:00:00:00:00:00', ip: address })));
    assert.deepEqual(who(GATE.ip), [[...ethernet(GUEST.mac, GATE.mac, 0x806, arp(2, GATE, GUEST))]]);
    assert.deepEqual(who('10.0.2.3'), []);
    assert.deepEqual(ask(front, ethernet(ALL, GUEST.mac, 0x806, [0, 1, 8, 0])), []);
  });

  it('answers a ping with what it carried, and not a damaged one', () => {
    const front = start();
    const echo = icmpEcho(
      0x1234,
      5,
      Array.from('the quick brown fox', (c) => c.charCodeAt(0)),
    );
    const [got] = askIp(front, 1, echo);
    const answer = carried(got, 1);
    assert.deepEqual([answer[0], answer[1]], [0, 0]);
    assert.deepEqual(answer.slice(4), echo.slice(4));
    assert.equal(internetChecksum(answer), 0);
    assert.deepEqual(askIp(front, 1, [...echo.slice(0, -1), 0]), []);
    assert.deepEqual(
      ask(front, ethernet(GATE.mac, GUEST.mac, 0x800, ipv4({ from: GUEST.ip, to: GATE.ip, protocol: 1, fragment: 0x2000 }, echo))), // prettier-ignore
      [],
    );
  });

  it('lets nothing out, and says so', () => {
    const front = start();
    for (const to of ['198.51.100.1', '127.0.0.1', '10.0.2.99', '169.254.169.254']) {
      const [got] = askIp(front, 1, icmpEcho(1, 1, []), to);
      const message = carried(got, 1);
      assert.deepEqual([message[0], message[1]], [3, 13]);
      assert.deepEqual(message.slice(8 + 16, 8 + 20), ip(to));
      assert.equal(internetChecksum(message), 0);
    }
    const closed = carried(askIp(front, 17, udp(1, 53, [1, 2, 3]))[0], 1);
    assert.deepEqual([closed[0], closed[1]], [3, 3]);
  });

  it('refuses connections to itself', () => {
    const front = start();
    const syn = tcp({ from: 3000, to: 22, seq: 77, flags: 2 });
    const [got] = askIp(front, 6, withChecksum(syn, 16, ip(GUEST.ip), ip(GATE.ip), 6));
    const reset = carried(got, 6);
    assert.deepEqual(reset.slice(0, 14), [...be16(22), ...be16(3000), ...be32(0), ...be32(78), 0x50, 0x14]);
    assert.equal(internetChecksum([...pseudo(ip(GATE.ip), ip(GUEST.ip), 6, reset.length), ...reset]), 0);
    assert.deepEqual(askIp(front, 6, syn), [], 'a wrong checksum');
  });

  describe('DHCP', () => {
    const message = (type: number, options: readonly number[] = [], flags = 0, own = '0.0.0.0'): number[] => [
      1, 1, 6, 0, ...be32(0xabcdef01), 0, 0, ...be16(flags), ...ip(own), ...Array.from({ length: 12 }, () => 0),
      ...mac(GUEST.mac), ...Array.from({ length: 202 }, () => 0), ...be32(0x63825363), 53, 1, type, ...options, 255,
    ]; // prettier-ignore
    function exchange(
      front: NetFront,
      data: readonly number[],
    ): { to: string; type: number; yours: number[]; options: Map<number, number[]> } | undefined {
      const [got] = ask(
        front,
        ethernet(
          ALL,
          GUEST.mac,
          0x800,
          ipv4({ from: '0.0.0.0', to: '255.255.255.255', protocol: 17 }, udp(68, 67, data)),
        ),
      );
      if (got === undefined) return undefined;
      const datagram = carried(got, 17, '255.255.255.255');
      assert.equal(
        internetChecksum([...pseudo(ip(GATE.ip), ip('255.255.255.255'), 17, datagram.length), ...datagram]),
        0,
      );
      assert.deepEqual(datagram.slice(0, 4), [...be16(67), ...be16(68)]);
      const answer = datagram.slice(8);
      assert.deepEqual(answer.slice(4, 8), be32(0xabcdef01));
      const options = new Map<number, number[]>();
      for (let at = 240; answer[at] !== 255; at += 2 + (answer[at + 1] ?? 0))
        options.set(answer[at] ?? 0, answer.slice(at + 2, at + 2 + (answer[at + 1] ?? 0)));
      return {
        to: got.slice(0, 6).join(),
        type: options.get(53)?.[0] ?? 0,
        yours: answer.slice(16, 20),
        options,
      };
    }

    it('offers and gives the interface’s address, with mask and router and without a name server', () => {
      const front = start();
      const offer = exchange(front, message(1));
      assert.deepEqual([offer?.type, offer?.yours, offer?.to], [2, ip(GUEST.ip), mac(GUEST.mac).join()]);
      const ack = exchange(front, message(3, [50, 4, ...ip(GUEST.ip), 54, 4, ...ip(GATE.ip)], 0x8000));
      assert.deepEqual([ack?.type, ack?.yours, ack?.to], [5, ip(GUEST.ip), mac(ALL).join()]);
      assert.deepEqual(ack?.options.get(1), ip('255.255.255.0'));
      assert.deepEqual(ack.options.get(3), ip(GATE.ip));
      assert.deepEqual(ack.options.get(51), be32(86_400));
      assert.equal(ack.options.has(6), false);
    });

    it('refuses another address, keeps out of other servers’ affairs, and ignores what is none', () => {
      const front = start();
      assert.equal(exchange(front, message(3, [50, 4, ...ip('10.0.2.99')]))?.type, 6);
      assert.equal(
        exchange(front, message(3, [50, 4, ...ip(GUEST.ip), 54, 4, ...ip('10.0.2.9')])),
        undefined,
      );
      assert.equal(exchange(front, message(7)), undefined);
      assert.equal(exchange(front, message(1).slice(0, 200)), undefined);
      assert.equal(exchange(front, message(1, [50, 250, 1]))?.type, 2);
      assert.deepEqual(exchange(front, message(8, [], 0, GUEST.ip))?.yours, [0, 0, 0, 0]);
    });

    it('has an address for each interface on the bridge, and for hardware addresses it never heard of', () => {
      const bench = startNet([{ ip: '10.0.2.40' }, {}, { bridge: 'other' }], [{}, { ip: '172.16.0.1' }]);
      assert.deepEqual(
        bench.devices
          .inspect()
          .net.bridges.map(({ name, leases }) => [name, leases.map((l) => `${l.domain} ${l.ip}`)]),
        [
          ['xenbr0', ['1 10.0.2.40', '1 10.0.2.15', '2 10.0.2.16', '2 10.0.2.17']],
          ['other', ['1 10.0.2.15']],
        ],
      );
      const front = NetFront.up(startNet([{ mac: '00:16:3e:77:77:77' }]), 1);
      assert.deepEqual(exchange(front, message(1))?.yours, ip('10.0.2.128'));
      assert.deepEqual(exchange(front, message(1))?.yours, ip('10.0.2.128'));
    });
  });
});

describe('devices: bridges', () => {
  const macs = ['00:16:3e:00:01:00', '00:16:3e:00:02:00', '00:16:3e:00:03:00'] as const;
  const three = (): { fronts: NetFront[]; heard: () => number[] } => {
    const bench = startNet([{}], [{}], [{}]);
    const fronts = [1, 2, 3].map((d) => NetFront.up(bench, d));
    return { fronts, heard: () => fronts.map((f) => f.received().length) };
  };
  const frame = (from: string, to: string): Uint8Array =>
    ethernet(
      to,
      from,
      0x1234,
      Array.from({ length: 46 }, () => 0),
    );

  it('flood what is for somebody they do not know, and then they know', () => {
    const { fronts, heard } = three();
    fronts[0]?.send(frame(macs[0], macs[1]));
    assert.deepEqual(heard(), [0, 1, 1]);
    fronts[1]?.send(frame(macs[1], macs[0]));
    assert.deepEqual(heard(), [1, 0, 0]);
    fronts[0]?.send(frame(macs[0], macs[1]));
    assert.deepEqual(heard(), [0, 1, 0]);
    fronts[2]?.send(frame(macs[2], ALL));
    assert.deepEqual(heard(), [1, 1, 0]);
    // To itself: nowhere.
    fronts[0]?.send(frame(macs[0], macs[0]));
    assert.deepEqual(heard(), [0, 0, 0]);
    fronts[0]?.bench.backend.pass(301_000_000_000n);
    fronts[0]?.send(frame(macs[0], macs[1]));
    assert.deepEqual(heard(), [0, 1, 1]);
  });

  it('follow an address that moves, and forget the oldest when there are too many', () => {
    const { fronts, heard } = three();
    fronts[1]?.send(frame(macs[1], ALL));
    fronts[2]?.send(frame(macs[1], ALL));
    heard();
    fronts[0]?.send(frame(macs[0], macs[1]));
    assert.deepEqual(heard(), [0, 0, 1]);
    for (let i = 0; i < 1024; i++) {
      const made = `02:00:00:00:${(i >> 8).toString(16)}:${(i & 255).toString(16)}`;
      fronts[0]?.send(frame(made, macs[0]));
    }
    fronts[2]?.bench.backend.pass(1n);
    assert.equal(fronts[0]?.bench.devices.inspect().net.bridges[0]?.learned.length, 1024);
    heard();
    fronts[1]?.offer(20);
    fronts[2]?.offer(20);
    heard();
    fronts[0].send(frame(macs[0], macs[1]));
    assert.deepEqual(heard(), [0, 1, 1]);
  });

  it('are apart from each other', () => {
    const bench = startNet([{ bridge: 'a' }], [{ bridge: 'b' }]);
    const [a, b] = [NetFront.up(bench, 1), NetFront.up(bench, 2)];
    a.send(frame(macs[0], ALL));
    assert.deepEqual(b.received(), []);
  });
});
