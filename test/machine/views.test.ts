import assert from 'node:assert/strict';
import { join } from 'node:path';
import { samplesFolder } from '../../src/host/node';
import type { StopPoint } from '../../src/machine/target';
import { SAMPLE, domain, watch, type Watched } from '../support/machines';

// What the editor's views are made of, on machines that run.

const FIRST = { domain: 1, vcpu: 0 };
const NEIGHBOURS = join(samplesFolder, 'neighbours', 'neighbours.elf');

async function stopAt(run: Watched, name: string, domainId?: number): Promise<void> {
  const point: StopPoint = {
    kind: 'hypercall',
    id: 1,
    name,
    when: 'return',
    ...(domainId === undefined ? {} : { domain: domainId }),
  };
  await run.target.setStops([point]);
  const { reason } = await run.target.run({});
  assert.equal(reason.kind, 'hypercall');
  await run.target.setStops([]);
}

describe('views of a machine', function () {
  this.timeout(60_000);

  it('an address space in ranges says what walking it says, page for page at the ends', async () => {
    const run = await watch(domain(SAMPLE));
    await stopAt(run, 'mmuext_op');
    const ranges = await run.target.mappedRanges(FIRST);
    assert.ok(ranges.length > 2);
    let pages = 0;
    for (const { virtual, pages: count, flags, mfn, pfn } of ranges) {
      pages += count;
      const first = await run.target.walk(FIRST, virtual);
      assert.equal(first.machineAddress, BigInt(mfn) << 12n);
      assert.equal(first.levels[3]?.pfn, pfn);
      const asked = first.levels[3]?.flags.filter((flag) => flag !== 'A' && flag !== 'D');
      assert.deepEqual(asked, flags);
      const last = await run.target.walk(FIRST, virtual + BigInt(count - 1) * 0x1000n);
      assert.notEqual(last.machineAddress, undefined);
      if (pfn !== undefined) assert.equal(last.levels[3]?.pfn, pfn + count - 1);
    }
    for (const range of ranges) {
      const { virtual, pages: count } = range;
      for (const at of [virtual, virtual + BigInt(count) * 0x1000n - 1n])
        assert.deepEqual(await run.target.mappedRanges(FIRST, at), [range], at.toString(16));
      const isMapped = ranges.some((one) => one.virtual === virtual + BigInt(count) * 0x1000n);
      if (!isMapped)
        assert.deepEqual(await run.target.mappedRanges(FIRST, virtual + BigInt(count) * 0x1000n), []);
    }
    // The kernel, its tables and all of its memory: 16 MiB are 4096 pages.
    assert.ok(pages > 1000, `${pages} pages`);
  });

  it('who maps a frame: every entry that names it is one through which walking comes to it', async () => {
    const run = await watch(domain(SAMPLE));
    await stopAt(run, 'mmuext_op');
    const own = (await run.target.mappedRanges(FIRST)).find(({ pfn }) => pfn !== undefined);
    const { levels } = await run.target.walk(FIRST, own?.virtual ?? 0n);
    const root = levels[0];
    assert.ok(root);
    const asTable = await run.target.frameUses(root.tableMfn);
    assert.deepEqual(
      asTable.roots.map(({ domain: id, vcpu, as }) => [id, vcpu, as]),
      [[1, 0, 'kernel table']],
    );
    // The L1 table of the first address: named by an L2, and readable by the guest at an address of its own.
    const l1 = levels[3]?.tableMfn ?? 0;
    const { frame, entries, more } = await run.target.frameUses(l1);
    assert.equal(more, 0);
    assert.equal(frame.type, 'L1');
    assert.ok(entries.some(({ level }) => level === 2));
    let leaves = 0;
    for (const { level, virtual, table, index, entry } of entries) {
      for (const address of virtual) {
        const walk = await run.target.walk(FIRST, address);
        const at = walk.levels[4 - level];
        assert.deepEqual([at?.tableMfn, at?.index, at?.entry, at?.mfn], [table, index, entry, l1]);
        leaves += level === 1 ? 1 : 0;
      }
    }
    assert.ok(leaves > 0, 'the guest reads its own tables');
    await assert.rejects(run.target.frameUses(1 << 30), /is not among the machine's/);
  });

  it('xenstore by nodes; what is written there reaches the log, and the same run comes of it', async () => {
    const run = await watch(domain(SAMPLE));
    const name = await run.target.storeNode('/local/domain/1/name');
    assert.equal(name?.value, 'guest');
    assert.deepEqual(name.permissions, ['n0', 'r1']);
    const top = await run.target.storeNode('/');
    assert.ok(top?.children.some(({ name: child, below }) => child === 'local' && below === 1));
    assert.equal(await run.target.storeNode('/nowhere'), undefined);
    await run.target.storeInput('/local/domain/1/data/note', 'hello');
    assert.equal((await run.target.storeNode('/local/domain/1/data/note'))?.value, 'hello');
    await run.target.storeInput('/local/domain/1/data/note', undefined);
    assert.equal(await run.target.storeNode('/local/domain/1/data/note'), undefined);
    for (const wrong of ['relative', '/', '/a b', '/two//slashes', '@releaseDomain'])
      await assert.rejects(run.target.storeInput(wrong, 'x'), wrong);

    // Written in the middle, and again from the log after going back.
    const mark = await run.target.mark();
    await run.target.run({ instructions: 500n });
    await run.target.storeInput('/local/domain/1/name', 'renamed');
    await run.target.run({});
    const hash = await run.target.stateHash();
    await run.target.seek(mark);
    assert.equal((await run.target.storeNode('/local/domain/1/name'))?.value, 'guest');
    await run.target.run({});
    assert.equal((await run.target.storeNode('/local/domain/1/name'))?.value, 'renamed');
    assert.equal(await run.target.stateHash(), hash);
  });

  it('event channels and grants between two domains, from both sides', async () => {
    const run = await watch(
      domain(NEIGHBOURS, { name: 'giver', cmdline: 'role=giver peer=2' }),
      domain(NEIGHBOURS, { name: 'taker', cmdline: 'role=taker peer=1' }),
    );
    await stopAt(run, 'grant_table_op.map_grant_ref', 2);
    const [giver, taker] = await run.target.grants();
    assert.ok(giver !== undefined && taker !== undefined);
    const shared = giver.grants.find(({ to, mappedBy }) => to === 2 && mappedBy.length > 0);
    assert.ok(shared, JSON.stringify(giver.grants));
    assert.deepEqual(shared.mappedBy, [{ domain: 2, writable: true }]);
    assert.deepEqual(shared.marks, ['reading', 'writing']);
    const map = taker.maps.find(({ ref }) => ref === shared.ref);
    assert.deepEqual(map && [map.from, map.mfn, map.writable], [1, shared.mfn, true]);
    // The frame is the giver's, and both have it mapped.
    const { frame, entries, grants } = await run.target.frameUses(shared.mfn);
    assert.equal(frame.owner, 'd1');
    assert.deepEqual(new Set(entries.map(({ owner }) => owner)), new Set(['d1', 'd2']));
    assert.deepEqual(
      grants.map(({ domain: id, ref, to }) => [id, ref, to]),
      [[1, shared.ref, 2]],
    );

    const channels = await run.target.channels();
    const between = channels.map(({ domain: id, channels: list }) => ({
      id,
      list: list.filter(({ kind, remote }) => kind === 'interdomain' && remote === 3 - id),
    }));
    const [one, two] = [between[0]?.list[0], between[1]?.list[0]];
    assert.deepEqual([one?.remotePort, two?.remotePort], [two?.port, one?.port]);
    assert.ok(channels[0]?.channels.some(({ kind, remote }) => kind === 'interdomain' && remote === 0));
  });
});
