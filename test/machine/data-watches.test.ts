/** Data stop points: every access there is, at its instruction, in both tiers, without a trace in the guest. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { readElf } from '../../src/guest/elf';
import { elfSymbols } from '../../src/guest/symbols';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { inProcessTarget, machineHost } from '../../src/host/machine';
import { createEmbeddedTarget } from '../../src/machine/embedded';
import { connectTarget, serveTarget, type Port } from '../../src/machine/rpc';
import type { DataHit, DataPlace, Stop, StopPoint, Target } from '../../src/machine/target';
import { SAMPLE, domain, machineOf, runTo } from '../support/machines';

const V0 = { domain: 1, vcpu: 0 };
const virtual = { kind: 'virtual', vcpu: V0 } as const;
const tiers = ['interpret', 'compile'] as const;
type Tier = (typeof tiers)[number];
const make = (tier: Tier = 'compile'): Promise<Target> =>
  inProcessTarget({ domains: [domain(SAMPLE)], tier });

const number = (bytes: DataHit['old']): bigint =>
  typeof bytes === 'object' ? bytes.reduceRight((n, byte) => (n << 8n) | BigInt(byte), 0n) : 0n;

/** Everything that stops a run, up to its end. */
async function* stopsOf(target: Target, points: readonly StopPoint[]): AsyncGenerator<Stop> {
  await target.setStops(points);
  for (;;) {
    const stop = await target.run({ stopWhenIdle: true });
    if (stop.reason.kind === 'shutdown' || stop.reason.kind === 'idle') return;
    yield stop;
  }
}
async function hitsOf(target: Target, ...points: StopPoint[]): Promise<(DataHit & { at: bigint })[]> {
  const found: (DataHit & { at: bigint })[] = [];
  for await (const { reason, at } of stopsOf(target, points)) {
    assert.ok(reason.kind === 'data');
    found.push(...reason.hits.map((hit) => ({ ...hit, at: at.retired })));
  }
  return found;
}

describe('data stop points', function () {
  this.timeout(60_000);
  let symbols: ReadonlyMap<string, bigint>;
  before(() => {
    symbols = new Map(
      elfSymbols(readElf(readFileSync(SAMPLE), 'sample')).map(({ name, address }) => [name, address]),
    );
  });
  const at = (name: string): bigint => {
    const found = symbols.get(name);
    assert.ok(found !== undefined, name);
    return found;
  };
  const memory = (name: string, bytes = 8): DataPlace => ({
    kind: 'memory',
    space: virtual,
    address: at(name),
    bytes,
  });

  for (const tier of tiers) {
    it(`find every change that single steps find: ${tier}`, async () => {
      // Where the sample takes its notes of a message, fills tables and asks for a page table.
      const [from, to] = [54_000n, 66_000n];
      const places = ['message', 'counters', 'l1', 'stack_top'].map((name) => ({
        name,
        address: name === 'stack_top' ? at(name) - 0x88n : at(name),
      }));
      const oracle = await make('interpret');
      await runTo(oracle, from);
      const changes: string[] = [];
      const read = async (address: bigint): Promise<bigint> =>
        number(await oracle.readMemory(virtual, address, 8));
      let last = await Promise.all(places.map(({ address }) => read(address)));
      for (let now = from; now < to;) {
        now = (await oracle.run({ instructions: 1n, skipUpcalls: false, stopWhenIdle: true })).at.retired;
        const next = await Promise.all(places.map(({ address }) => read(address)));
        next.forEach((value, i) => {
          if (value !== last[i] && now <= to)
            changes.push(`${now} ${places[i]?.name ?? ''} ${last[i] ?? ''} ${value}`);
        });
        last = next;
      }
      assert.ok(changes.length > 20, `${changes.length} changes are not much to go by`);

      const target = await make(tier);
      await runTo(target, from);
      await target.setStops(
        places.map(({ address }, i) => ({
          kind: 'data',
          id: i,
          access: 'write',
          condition: 'changed',
          place: { kind: 'memory', space: virtual, address, bytes: 8 },
        })),
      );
      const found: string[] = [];
      for (;;) {
        const { reason, at: moment } = await target.run({ stopWhenIdle: true });
        if (reason.kind !== 'data' || moment.retired > to) break;
        for (const hit of reason.hits)
          found.push(`${moment.retired} ${places[hit.id]?.name ?? ''} ${number(hit.old)} ${number(hit.now)}`);
      }
      assert.deepEqual(found, changes);
    });

    it(`leave no trace in the run: ${tier}`, async () => {
      const plain = await make(tier);
      await plain.run({});
      const target = await make(tier);
      const hits = await hitsOf(
        target,
        { kind: 'data', id: 1, access: 'readWrite', place: memory('message', 64) },
        { kind: 'data', id: 2, access: 'readWrite', place: memory('l1', 4096) },
        {
          kind: 'data',
          id: 3,
          access: 'write',
          place: { kind: 'entry', vcpu: V0, address: at('l1'), level: 1 },
        },
      );
      assert.ok(hits.length > 100);
      await target.setStops([]);
      assert.equal(await target.stateHash(), await plain.stateHash());
      assert.deepEqual(await target.now(), await plain.now());
    });
  }

  it('tell a read from a write, and both from what lies beside', async () => {
    const kinds = async (access: 'read' | 'write' | 'readWrite'): Promise<string[]> =>
      (await hitsOf(await make(), { kind: 'data', id: 1, access, place: memory('message', 1) })).map(
        (hit) => `${hit.at} ${hit.access}`,
      );
    const [reads, writes, both] = [await kinds('read'), await kinds('write'), await kinds('readWrite')];
    assert.ok(reads.length > 0 && writes.length > 0);
    assert.ok(reads.every((one) => one.endsWith('read')) && writes.every((one) => one.endsWith('write')));
    assert.deepEqual([...reads, ...writes].sort(), [...both].sort());
  });

  it('mean the same place in all three address spaces', async () => {
    const target = await make();
    await runTo(target, 20_000n);
    const { machineAddress = 0n } = await target.walk(V0, at('message'));
    const { pfn = 0 } = await target.frame(Number(machineAddress >> 12n));
    const places: DataPlace[] = [
      memory('message'),
      { kind: 'memory', space: { kind: 'machine' }, address: machineAddress, bytes: 8 },
      { kind: 'memory', space: { kind: 'pseudophysical', domain: 1 }, address: (BigInt(pfn) << 12n) | (machineAddress & 0xfffn), bytes: 8 }, // prettier-ignore
    ];
    const points = places.map((place, id): StopPoint => ({ kind: 'data', id, access: 'write', place }));
    let stops = 0;
    for await (const { reason } of stopsOf(target, points)) {
      assert.ok(reason.kind === 'data');
      assert.deepEqual(reason.ids, [0, 1, 2]);
      stops++;
    }
    assert.ok(stops > 8);
  });

  it('see what the hypervisor does to a page-table entry, and name the hypercall', async () => {
    const target = await make();
    const hits = await hitsOf(
      target,
      {
        kind: 'data',
        id: 1,
        access: 'write',
        place: { kind: 'entry', vcpu: V0, address: at('echo_page'), level: 1 },
      },
      {
        kind: 'data',
        id: 2,
        access: 'write',
        place: memory('l1', 4096),
      },
    );
    const calls = hits.flatMap(({ call }) => (call === undefined ? [] : [call]));
    assert.ok(calls.includes('mmu_update.normal_pt_update'), calls.join());
    assert.ok(hits.every(({ by, call }) => call === undefined || by === 'hypervisor'));
  });

  it('hear of a store of the hypervisor’s that changes nothing', async () => {
    const machine = await machineOf(domain(SAMPLE));
    const { memory: frames } = machine.hypervisor;
    const [v] = machine.hypervisor.domains.get(1)?.vcpus ?? [];
    assert.ok(v !== undefined);
    const mfn = v.domain.state.p2m[0] ?? -1;
    const place: DataPlace = { kind: 'memory', space: { kind: 'machine' }, address: BigInt(mfn) * 4096n + 16n, bytes: 8 }; // prettier-ignore
    frames.write64(mfn, 2, 7n);
    machine.setStops([
      { kind: 'data', id: 1, access: 'write', place },
      { kind: 'data', id: 2, access: 'write', place, condition: 'changed' },
      { kind: 'data', id: 3, access: 'read', place },
    ]);
    const hits = (): string[] =>
      (machine.watches.take(v)?.hits ?? []).map(
        ({ id, by, old, now }) => `${id} ${by} ${number(old)} ${number(now)}`,
      );
    frames.write64(mfn, 2, 7n);
    assert.deepEqual(hits(), ['1 hypervisor 7 7']);
    frames.write64(mfn, 3, 9n);
    frames.setByteAt(mfn, 15, 9);
    assert.deepEqual(hits(), [], 'its neighbours are none of it');
    frames.write(mfn, 23, Uint8Array.of(0, 1));
    assert.deepEqual(hits(), ['1 hypervisor 7 7']);
    frames.write64(mfn, 2, 8n);
    assert.deepEqual(hits(), ['1 hypervisor 7 8', '2 hypervisor 7 8']);
    // Nobody says here to which bytes: only changes are seen.
    frames.writable(mfn)[16] = 8;
    assert.deepEqual(hits(), []);
  });

  it('follow a virtual address when the guest maps something else there', async () => {
    const [first] = await hitsOf(await make(), {
      kind: 'data',
      id: 1,
      access: 'write',
      place: memory('grant_table', 64),
    });
    assert.deepEqual([first?.by, first?.call], ['mapping', 'update_va_mapping']);
  });

  it('hear of a register that changes, on whichever instruction', async () => {
    const [from, to] = [30_000n, 31_000n];
    const rbx = async (of: Target): Promise<bigint> =>
      number((await of.registers(V0)).find(({ name }) => name === 'rbx')?.bytes);
    const oracle = await make();
    await runTo(oracle, from);
    const changes: string[] = [];
    let last = await rbx(oracle);
    for (let now = from; now < to;) {
      now = (await oracle.run({ instructions: 1n, skipUpcalls: false })).at.retired;
      const value = await rbx(oracle);
      if (value !== last) changes.push(`${now} ${value}`);
      last = value;
    }
    assert.ok(changes.length > 3);
    const target = await make();
    await runTo(target, from);
    await target.setStops([
      { kind: 'data', id: 1, access: 'write', place: { kind: 'register', vcpu: V0, name: 'rbx' } },
    ]);
    for (const change of changes) {
      const { reason, at: moment } = await target.run({});
      assert.ok(reason.kind === 'data');
      assert.equal(`${moment.retired} ${number(reason.hits[0]?.now)}`, change);
    }
  });

  it('are decided about in the machine: old and new values, registers, and how often', async () => {
    const point = (more: Partial<StopPoint>): StopPoint =>
      ({ kind: 'data', id: 1, access: 'write', place: memory('message', 1), ...more }) as StopPoint;
    const all = await hitsOf(await make(), point({}));
    const grown = await hitsOf(await make(), point({ condition: 'new > old && $rsp != 0 && dom == 1' }));
    assert.deepEqual(
      grown.map((hit) => hit.at),
      all.filter((hit) => number(hit.now) > number(hit.old)).map((hit) => hit.at),
    );
    const [third, ...others] = await hitsOf(await make(), point({ hits: '3' }));
    assert.deepEqual([third?.at, others.length], [all[2]?.at, 0]);
  });

  it('say what cannot be watched', async () => {
    const target = await make();
    const set = (place: DataPlace): Promise<void> =>
      target.setStops([{ kind: 'data', id: 1, access: 'write', place }]);
    await assert.rejects(set({ kind: 'register', vcpu: V0, name: 'r99' }), /no register 'r99'/);
    await assert.rejects(set({ ...memory('message'), bytes: 0 } as DataPlace), /0 bytes: from 1 to/);
  });

  it('survive a mark: what a seek changes is nobody’s doing', async () => {
    const target = await make();
    await runTo(target, 20_000n);
    const mark = await target.mark();
    const point: StopPoint = { kind: 'data', id: 1, access: 'write', place: memory('message') };
    const first = await hitsOf(target, point);
    await target.seek(mark);
    assert.deepEqual(await hitsOf(target, point), first);
  });
});

describe('stop points at what happens', function () {
  this.timeout(60_000);
  const texts = async (...points: StopPoint[]): Promise<string[]> => {
    const found: string[] = [];
    for await (const { reason } of stopsOf(await make(), points))
      found.push(reason.kind === 'event' ? (reason.text ?? '') : reason.kind);
    return found;
  };

  it('an exception by its vector', async () => {
    const all = await texts({ kind: 'event', id: 1, filter: 'guest-fault' });
    const gp = await texts({ kind: 'event', id: 1, filter: 'guest-fault', only: { vector: 13n } });
    assert.ok(gp.length > 0 && gp.every((text) => text.startsWith('#GP')));
    assert.deepEqual(
      gp,
      all.filter((text) => text.startsWith('#GP')),
    );
  });

  it('an event by its port, before the guest is told', async () => {
    const all = await texts({ kind: 'event', id: 1, filter: 'event-port' });
    const ports = new Set(all);
    assert.ok(ports.size > 1, [...ports].join());
    const [one = ''] = ports;
    const port = BigInt(/port (\d+)/.exec(one)?.[1] ?? '-1');
    assert.deepEqual(
      await texts({ kind: 'event', id: 1, filter: 'event-port', only: { port } }),
      all.filter((text) => text === one),
    );
  });

  it('xenstore by path and everything below, by who asks, by what for', async () => {
    const all = await texts({ kind: 'event', id: 1, filter: 'xenstore', only: { path: '/' } });
    assert.ok(
      all.some((text) => text.startsWith('xenstore: d1 read')),
      all.slice(0, 9).join('\n'),
    );
    const below = await texts({
      kind: 'event',
      id: 1,
      filter: 'xenstore',
      only: { path: '/local/domain/1' },
    });
    assert.deepEqual(
      below,
      all.filter((text) => /\/local\/domain\/1(\/|$| )/.test(text)),
    );
    const writes = await texts({
      kind: 'event',
      id: 1,
      filter: 'xenstore',
      only: { path: '/', access: 'write' },
      condition: 'dom == 1',
    });
    assert.deepEqual(
      writes,
      all.filter((text) => text.startsWith('xenstore: d1 write')),
    );
  });

  it('a condition that is false a hundred thousand times sends nothing over the channel', async () => {
    const { port1, port2 } = new MessageChannel();
    let messages = 0;
    const port = (of: MessagePort): Port => ({
      post: (message) => {
        messages++;
        of.postMessage(message);
      },
      onMessage: (listener) => of.on('message', listener),
      close: () => of.close(),
    });
    serveTarget(port(port2), (config) => createEmbeddedTarget(config, machineHost({ paced: false })));
    const target = await connectTarget(
      port(port1),
      { domains: [domain(SAMPLE)] },
      new Promise(() => undefined),
    );
    const falsely: StopPoint = {
      kind: 'data',
      id: 1,
      access: 'write',
      place: { kind: 'register', vcpu: V0, name: 'rip' },
      condition: 'new == 1 || $rsp == 2',
    };
    await target.setStops([falsely]);
    messages = 0;
    const stop = await target.run({ instructions: 100_000n, skipUpcalls: false });
    assert.deepEqual([stop.reason.kind, stop.at.retired], ['step', 100_000n]);
    // The request, the answer, and what the guest printed meanwhile.
    assert.ok(messages < 200, `${messages} messages`);
    await target.dispose();
    port1.close();
    port2.close();
  });
});
