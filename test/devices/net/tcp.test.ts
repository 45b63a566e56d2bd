import assert from 'node:assert/strict';
import type { NetworkInput, NetworkOutput } from '../../../src/devices';
import { NetFront, startNet, type NetBench } from './front';
import { be16, be32, ethernet, internetChecksum, ip, ipv4, pseudo, tcp, withChecksum } from './packets';

const GUEST = { mac: '00:16:3e:00:01:00', ip: '10.0.2.15' };
const GATE = { mac: '52:55:0a:00:02:02', ip: '10.0.2.2' };
const PORT = 80;
const FLAG = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16 };
const SECOND = 1_000_000_000n;

interface Seen {
  readonly port: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  readonly window: number;
  readonly data: number[];
}

/** A guest whose TCP is played by hand. */
class Peer {
  readonly bench: NetBench = startNet([{}]);
  readonly front = NetFront.up(this.bench, 1);
  readonly outputs: NetworkOutput[] = [];
  /** The gateway's port and next number, and the guest's. */
  port = 0;
  theirs = 0;
  ours = 5000;

  constructor() {
    this.bench.devices.onNetwork((output) => this.outputs.push(output));
  }
  input(input: NetworkInput): void {
    this.bench.devices.input({ kind: 'network', ...input });
  }
  /** Segments that reached the guest, their checksums looked at. */
  segments(): Seen[] {
    const got = this.front.received();
    this.front.offer(got.length);
    return got
      .map(({ bytes }) => [...bytes])
      .map((bytes) => {
        const segment = bytes.slice(34);
        assert.equal(
          internetChecksum([...pseudo(ip(GATE.ip), ip(GUEST.ip), 6, segment.length), ...segment]),
          0,
        );
        const view = new DataView(Uint8Array.from(segment).buffer);
        return {
          port: view.getUint16(0),
          seq: view.getUint32(4),
          ack: view.getUint32(8),
          flags: view.getUint8(13),
          window: view.getUint16(14),
          data: segment.slice((view.getUint8(12) >> 4) * 4),
        };
      });
  }
  send(
    flags: number,
    data: readonly number[] = [],
    more: { seq?: number; ack?: number; window?: number; options?: number[] } = {},
  ): void {
    const { seq = this.ours, ack = this.theirs, window = 65535, options = [] } = more;
    const segment = tcp({ from: PORT, to: this.port, seq, ack, flags, window, options }, data);
    const whole = withChecksum(segment, 16, ip(GUEST.ip), ip(GATE.ip), 6);
    this.front.send(
      ethernet(GATE.mac, GUEST.mac, 0x800, ipv4({ from: GUEST.ip, to: GATE.ip, protocol: 6 }, whole)),
    );
  }
  /** Says something and counts it. */
  say(data: readonly number[]): void {
    this.send(FLAG.ACK | FLAG.PSH, data);
    this.ours += data.length;
  }
  open(connection = 1): void {
    this.input({ connection, event: 'open', domain: 1, port: PORT });
    const [syn] = this.segments();
    assert.ok(syn !== undefined && syn.flags === FLAG.SYN);
    this.port = syn.port;
    this.theirs = (syn.seq + 1) >>> 0;
    this.send(FLAG.SYN | FLAG.ACK, [], { options: [2, 4, ...be16(1000), 1, 0] });
    this.ours++;
    const [ack] = this.segments();
    assert.deepEqual([ack?.flags, ack?.ack, ack?.seq], [FLAG.ACK, this.ours, this.theirs]);
    assert.deepEqual(this.outputs.splice(0), [{ connection, event: 'opened' }]);
  }
  events(): string[] {
    return this.outputs
      .splice(0)
      .map((o) =>
        o.event === 'data'
          ? `data ${o.at} ${o.data.length}`
          : o.event === 'taken'
            ? `taken ${o.bytes}`
            : o.event === 'closed'
              ? `closed ${o.reason ?? ''}`
              : o.event,
      );
  }
  give(at: number, data: readonly number[]): void {
    this.input({ connection: 1, event: 'data', at, data: Uint8Array.from(data) });
  }
}

const bytes = (length: number): number[] => Array.from({ length }, (_, i) => (i * 31 + (i >> 8)) & 255);

describe('devices: connections from the host', () => {
  it('open, carry bytes both ways in segments of the guest’s size, and end', () => {
    const peer = new Peer();
    peer.open();
    const data = bytes(2500);
    peer.give(0, data);
    const got = peer.segments();
    assert.deepEqual(
      got.map((s) => [s.seq - peer.theirs, s.data.length, s.flags]),
      [
        [0, 1000, 16],
        [1000, 1000, 16],
        [2000, 500, 24],
      ],
    );
    assert.deepEqual(
      got.flatMap((s) => s.data),
      data,
    );
    peer.theirs += 2500;
    peer.send(FLAG.ACK);
    assert.deepEqual(peer.events(), ['taken 2500']);
    peer.say(bytes(3));
    assert.deepEqual(
      peer.segments().map((s) => [s.flags, s.ack]),
      [[FLAG.ACK, peer.ours]],
    );
    assert.deepEqual(peer.events(), ['data 0 3']);
    // The host ends first.
    peer.input({ connection: 1, event: 'end' });
    assert.deepEqual(
      peer.segments().map((s) => [s.flags, s.seq]),
      [[FLAG.FIN | FLAG.ACK, peer.theirs]],
    );
    peer.theirs++;
    peer.send(FLAG.ACK);
    peer.say(bytes(7));
    peer.send(FLAG.ACK | FLAG.FIN);
    assert.deepEqual(peer.events(), ['taken 2500', 'data 3 7', 'end', 'closed ']);
    assert.equal(peer.segments().at(-1)?.ack, peer.ours + 1);
    assert.deepEqual(peer.bench.devices.save().net.bridges[0]?.gateway.connections, []);
  });

  it('end, too, when the guest ends first', () => {
    const peer = new Peer();
    peer.open();
    peer.send(FLAG.ACK | FLAG.FIN, bytes(5));
    assert.deepEqual(peer.events(), ['data 0 5', 'end']);
    assert.equal(peer.segments()[0]?.ack, peer.ours + 6);
    peer.give(0, bytes(4));
    peer.input({ connection: 1, event: 'end' });
    assert.deepEqual(
      peer.segments().map((s) => [s.data.length, s.flags]),
      [
        [4, 24],
        [0, 17],
      ],
    );
    peer.theirs += 5;
    peer.send(FLAG.ACK, [], { seq: peer.ours + 6 });
    assert.deepEqual(peer.events(), ['taken 4', 'closed ']);
  });

  it('wait for a guest that is not there yet, longer each time, and give up', () => {
    const peer = new Peer();
    peer.input({ connection: 1, event: 'open', domain: 1, port: PORT });
    const times: number[] = [];
    for (let t = 0; t < 200; t++) {
      if (peer.segments().some((s) => s.flags === FLAG.SYN)) times.push(t);
      peer.bench.backend.pass(SECOND);
    }
    assert.deepEqual(times, [0, 1, 3, 7, 15, 31, 63]);
    assert.deepEqual(peer.events(), ['closed the guest does not answer']);
  });

  it('are refused in words', () => {
    const peer = new Peer();
    peer.input({ connection: 1, event: 'open', domain: 1, port: PORT });
    const [syn] = peer.segments();
    peer.port = syn?.port ?? 0;
    peer.send(FLAG.RST | FLAG.ACK, [], { seq: 0, ack: (syn?.seq ?? 0) + 1 });
    assert.deepEqual(peer.events(), ['closed the guest refuses connections to port 80']);
    peer.input({ connection: 2, event: 'open', domain: 7, port: PORT });
    assert.deepEqual(peer.events(), ['closed domain 7 has no network interface']);
    peer.input({ connection: 3, event: 'data', at: 0, data: Uint8Array.of(1) });
    assert.deepEqual(peer.events(), ['closed the machine knows no such connection']);
  });

  it('send again what is lost: after a time, or when the guest repeats itself thrice', () => {
    const peer = new Peer();
    peer.open();
    peer.give(0, bytes(3000));
    assert.equal(peer.segments().length, 3);
    peer.bench.backend.pass(SECOND);
    assert.deepEqual(
      peer.segments().map((s) => s.seq - peer.theirs),
      [0, 1000, 2000],
    );
    peer.bench.backend.pass(SECOND);
    assert.deepEqual(peer.segments(), []);
    peer.bench.backend.pass(SECOND);
    assert.equal(peer.segments().length, 3);
    // The first came through, the second did not.
    peer.theirs += 1000;
    peer.send(FLAG.ACK);
    for (let i = 0; i < 3; i++) {
      assert.deepEqual(peer.segments(), []);
      peer.send(FLAG.ACK);
    }
    assert.deepEqual(
      peer.segments().map((s) => s.seq - peer.theirs),
      [0, 1000],
    );
    peer.theirs += 2000;
    peer.send(FLAG.ACK);
    assert.deepEqual(peer.events(), ['taken 1000', 'taken 3000']);
    peer.bench.backend.pass(100n * SECOND);
    assert.deepEqual(peer.segments(), []);
  });

  it('give up a guest that acknowledges nothing, with a reset', () => {
    const peer = new Peer();
    peer.open();
    peer.give(0, bytes(1));
    peer.bench.backend.pass(600n * SECOND);
    assert.equal(peer.segments().length, 1 + 8 + 1);
    assert.deepEqual(peer.events(), ['closed the guest does not answer']);
  });

  it('keep to the guest’s window, and probe a closed one for as long as the guest is there', () => {
    const peer = new Peer();
    peer.open();
    peer.send(FLAG.ACK, [], { window: 1500 });
    peer.give(0, bytes(4000));
    assert.deepEqual(
      peer.segments().map((s) => s.data.length),
      [1000, 500],
    );
    peer.theirs += 1500;
    peer.send(FLAG.ACK, [], { window: 0 });
    assert.deepEqual(peer.segments(), []);
    for (let i = 0; i < 20; i++) {
      peer.bench.backend.pass(2n * SECOND);
      assert.deepEqual(peer.segments().at(-1)?.data.length, 1);
      peer.send(FLAG.ACK, [], { window: 0 });
    }
    peer.theirs += 1;
    peer.send(FLAG.ACK, [], { window: 65535 });
    assert.equal(
      peer.segments().reduce((sum, s) => sum + s.data.length, 0),
      2499,
    );
    assert.deepEqual(peer.events(), ['taken 1500', 'taken 1501']);
  });

  it('take no more of the guest than the host takes', () => {
    const peer = new Peer();
    peer.open();
    let last: number | undefined;
    for (let i = 0; i < 70; i++) {
      peer.say(bytes(1000));
      last = peer.segments().at(-1)?.window;
    }
    assert.equal(last, 0);
    const taken = peer.events().reduce((sum, e) => sum + Number(e.split(' ')[2]), 0);
    assert.equal(taken, 65_535);
    peer.input({ connection: 1, event: 'taken', bytes: 60_000 });
    const [update] = peer.segments();
    assert.deepEqual([update?.flags, update?.window], [FLAG.ACK, 60_000]);
  });

  it('take bytes in order, once, whatever comes twice or too soon', () => {
    const peer = new Peer();
    peer.open();
    peer.send(FLAG.ACK, bytes(10), { seq: peer.ours + 10 });
    peer.send(FLAG.ACK, bytes(10));
    peer.send(FLAG.ACK, bytes(10));
    peer.send(FLAG.ACK, bytes(20), { seq: peer.ours + 5 });
    assert.deepEqual(peer.events(), ['data 0 10', 'data 10 15']);
    assert.deepEqual(
      peer.segments().map((s) => s.ack - peer.ours),
      [0, 10, 10, 25],
    );
    peer.send(FLAG.ACK, [], { ack: peer.theirs + 9999 });
    assert.deepEqual(peer.events(), []);
  });

  it('are cut by a reset at the right place, and by the host', () => {
    const peer = new Peer();
    peer.open();
    peer.send(FLAG.RST, [], { seq: peer.ours + 1 });
    assert.deepEqual(peer.events(), []);
    peer.send(FLAG.RST);
    assert.deepEqual(peer.events(), ['closed the guest reset the connection']);
    const other = new Peer();
    other.open();
    other.input({ connection: 1, event: 'abort' });
    assert.deepEqual(
      other.segments().map((s) => s.flags),
      [FLAG.RST | FLAG.ACK],
    );
    other.send(FLAG.ACK, bytes(1));
    assert.deepEqual(
      other.segments().map((s) => [s.flags, s.seq]),
      [[FLAG.RST, other.theirs]],
    );
    assert.deepEqual(other.events(), []);
  });

  it('end with their domain', () => {
    const peer = new Peer();
    peer.open();
    peer.bench.backend.shutDown(1);
    assert.deepEqual(peer.events(), ['closed the domain has ended']);
  });

  it('notice bytes that do not follow on what they had, as after going back', () => {
    const peer = new Peer();
    peer.open();
    peer.give(0, bytes(10));
    const saved = structuredClone(peer.bench.devices.save());
    peer.give(10, bytes(10));
    peer.bench.devices.restore(saved);
    assert.deepEqual(peer.bench.devices.save(), saved);
    peer.events();
    peer.give(20, bytes(10));
    assert.match(peer.events().join(), /^closed the machine went to a moment/);
  });

  it('go on from a saved state, the time to send again included', () => {
    const peer = new Peer();
    peer.open();
    peer.give(0, bytes(10));
    peer.segments();
    const saved = structuredClone(peer.bench.devices.save());
    peer.theirs += 10;
    peer.send(FLAG.ACK);
    peer.bench.devices.restore(saved);
    peer.bench.backend.pass(SECOND);
    assert.deepEqual(
      peer.segments().map((s) => s.data.length),
      [10],
    );
  });

  it('are told apart by their ports', () => {
    const peer = new Peer();
    peer.open(1);
    const first = peer.port;
    peer.ours = 5000;
    peer.open(2);
    assert.notEqual(peer.port, first);
    peer.say(bytes(3));
    assert.deepEqual(
      peer.outputs.map((o) => o.connection),
      [2],
    );
    assert.deepEqual(be32(1), [0, 0, 0, 1]);
  });
});
