/** Mappings that are taken away without asking for a flush, and what may still be stored through them. */
import assert from 'node:assert/strict';
import { DOMID } from '../../src/abi/domains';
import { xen_memory_reservation } from '../../src/abi/memory';
import { MMUEXT, PTE, makePte, mmuext_op } from '../../src/abi/mmu';
import { ulong, type Type } from '../../src/abi/layout';
import type { GuestVcpu } from '../../src/hypervisor/types';
import { checkFrames } from '../../src/hypervisor/check';
import { FRAME_TYPE } from '../../src/hypervisor/frames';
import { seeded } from '../support/random';
import { STORE, access, realCpu, writableTranslations, type RealCpu } from './real-cpu';
import { SCRATCH, VIRT_BASE, testMachine, type TestMachine } from './machine';

const encoded = <T>(type: Type<T>, value: T): Uint8Array => {
  const bytes = new Uint8Array(type.size);
  type.write(new DataView(bytes.buffer), 0, value);
  return bytes;
};

const PAGE = VIRT_BASE + 0x20_0000n;

interface Warm {
  readonly m: TestMachine;
  readonly mfn: number;
  readonly cpu: RealCpu;
  /** vCPU 0 in both sets, and vCPU 1: all of them have stored to the page. */
  readonly stores: (() => boolean)[];
  /** Translations to the page that a store would use without a walk. */
  readonly ways: () => number;
}

function warm(): Warm {
  const cpus: RealCpu[] = [];
  const m = testMachine({
    vcpus: 2,
    processor: (frames, vcpus) => {
      const cpu = realCpu(frames, vcpus);
      cpus.push(cpu);
      return cpu;
    },
  });
  const [cpu] = cpus;
  const [v, other] = m.domain.vcpus;
  assert.ok(cpu && v && other);
  v.cpu.writeLinear(VIRT_BASE, Uint8Array.from([...STORE, 0xeb, 0xfe]), 0);
  other.cpu.set('cr3', v.cpu.get('cr3'));
  for (const name of ['cr0', 'cr4', 'efer', 'cpl', 'cs', 'ss', 'rflags'] as const) {
    other.cpu.set(name, v.cpu.get(name));
  }
  const store = (on: GuestVcpu, set: 0 | 1) => (): boolean => {
    on.cpu.selectTlb(set);
    on.cpu.set('rax', 0n);
    const could = access(on, VIRT_BASE, PAGE + 64n);
    on.cpu.selectTlb(0);
    return could;
  };
  const stores = [store(v, 0), store(v, 1), store(other, 0)];
  const mfn = m.frameOf(PAGE);
  const ways = (): number => writableTranslations(cpu.mem).filter((t) => t.mfn === mfn).length;
  for (const each of stores) assert.ok(each());
  assert.equal(ways(), stores.length, 'the test itself: every set is warm');
  return { m, mfn, cpu, stores, ways };
}

const pin = (m: TestMachine, mfn: number): bigint => {
  const at = m.put(mmuext_op, {
    cmd: MMUEXT.MMUEXT_PIN_L1_TABLE,
    arg1: { mfn: BigInt(mfn), linear_addr: BigInt(mfn) },
    arg2: { nr_ents: 0, vcpumask: 0n, src_mfn: 0n },
  });
  return m.call('mmuext_op', at, 1, 0, DOMID.SELF).result;
};

describe('stale translations', () => {
  it('of a page made read-only are gone from every set of every vCPU when it becomes a table', () => {
    const { m, mfn, stores, ways } = warm();
    assert.equal(m.call('update_va_mapping', PAGE, makePte(mfn, PTE.PRESENT), 0).result, 0n);
    assert.equal(ways(), stores.length, 'no flush was asked for: the guest may go on storing for now');
    assert.equal(pin(m, mfn), 0n);
    assert.equal(ways(), 0);
    for (const each of stores) assert.equal(each(), false);
  });

  it('are gone when it becomes a descriptor table', () => {
    const { m, mfn, stores, ways } = warm();
    assert.equal(m.call('update_va_mapping', PAGE, makePte(mfn, PTE.PRESENT), 0).result, 0n);
    assert.equal(m.call('set_gdt', m.put(ulong, BigInt(mfn)), 512).result, 0n);
    assert.equal(ways(), 0);
    for (const each of stores) assert.equal(each(), false);
  });

  it('are gone when the frame is given back', () => {
    const { m, mfn, ways, stores } = warm();
    assert.equal(m.call('update_va_mapping', PAGE, 0, 0).result, 0n);
    m.put(ulong, BigInt(mfn));
    const reservation = { extent_start: SCRATCH, nr_extents: 1n, extent_order: 0, mem_flags: 0, domid: DOMID.SELF };
    assert.equal(m.call('memory_op', 1, m.put(xen_memory_reservation, reservation, SCRATCH + 64n)).result, 1n);
    assert.equal(ways(), 0);
    for (const each of stores) assert.equal(each(), false);
  }); // prettier-ignore

  it('do not outlive the table they came from', () => {
    const { m, ways, stores } = warm();
    // The L2 entry goes, and with it the L1 table that mapped the page; the page itself stays writable.
    const { kernelTable } = m.v.state;
    const walk = (table: number, level: number): number =>
      Number((m.core.memory.read64(table, Number((PAGE >> BigInt(3 + 9 * level)) & 511n)) >> 12n) & 0xffffffffffn);
    const l2 = walk(walk(kernelTable, 4), 3);
    const at = (BigInt(l2) << 12n) | (((PAGE >> 21n) & 511n) << 3n);
    m.put(ulong, at);
    m.put(ulong, 0n, SCRATCH + 8n);
    assert.equal(m.call('mmu_update', SCRATCH, 1, 0, DOMID.SELF).result, 0n);
    // It is pinned only through the tree, so it is no table any more.
    assert.equal(ways(), 0);
    for (const each of stores) assert.equal(each(), false);
  }); // prettier-ignore
});

/** Two domains change what some pages of theirs are, at random and never asking for a flush, and store to them. */
function soak(
  seed: number,
  steps: number,
): { readonly stored: number; readonly pinned: number; readonly most: number } {
  const cpus: RealCpu[] = [];
  const m = testMachine({
    domains: 2,
    vcpus: 2,
    processor: (frames, vcpus) => {
      const cpu = realCpu(frames, vcpus);
      cpus.push(cpu);
      return cpu;
    },
  });
  const [cpu] = cpus;
  assert.ok(cpu);
  const r = seeded(seed);
  const owners = [...m.hv.domains.values()].flatMap((d) => d.vcpus.map(() => d.id));
  const counts = { stored: 0, pinned: 0, most: 0 };
  const bootVcpus = [...m.hv.domains.values()].flatMap((d) => [...d.vcpus].slice(0, 1));
  for (const v of bootVcpus) {
    v.cpu.writeLinear(VIRT_BASE, Uint8Array.from([...STORE, 0xeb, 0xfe]), 0);
    const other = v.domain.vcpus[1];
    assert.ok(other);
    other.cpu.set('cr3', v.cpu.get('cr3'));
    for (const name of ['cr0', 'cr4', 'efer', 'cpl', 'cs', 'ss', 'rflags'] as const)
      other.cpu.set(name, v.cpu.get(name));
  }
  const ok = (v: GuestVcpu, name: string, ...args: (bigint | number)[]): boolean =>
    m.callOn(v, name, ...args).result >= 0n;
  const ext = (v: GuestVcpu, cmd: number, mfn: number): boolean => {
    const op = {
      cmd,
      arg1: { mfn: BigInt(mfn), linear_addr: BigInt(mfn) },
      arg2: { nr_ents: 0, vcpumask: 0n, src_mfn: 0n },
    };
    v.cpu.writeLinear(SCRATCH, encoded(mmuext_op, op), 3);
    return ok(v, 'mmuext_op', SCRATCH, 1, 0, DOMID.SELF);
  };
  const reserve = (v: GuestVcpu, cmd: number, extent: bigint): boolean => {
    const value = { extent_start: SCRATCH, nr_extents: 1n, extent_order: 0, mem_flags: 0, domid: DOMID.SELF };
    v.cpu.writeLinear(SCRATCH, encoded(ulong, extent), 3);
    v.cpu.writeLinear(SCRATCH + 64n, encoded(xen_memory_reservation, value), 3);
    return m.callOn(v, 'memory_op', cmd, SCRATCH + 64n).result === 1n;
  };
  for (let n = 0; n < steps; n++) {
    const v = r.pick(bootVcpus);
    const pfn = 512 + r.below(12);
    const at = VIRT_BASE + BigInt(pfn) * 4096n;
    const mfn = v.domain.state.p2m[pfn] ?? -1;
    const anyMfn = v.domain.state.p2m[512 + r.below(12)] ?? -1;
    const actions: Readonly<Record<string, () => boolean>> = {
      store: () => {
        const on = v.domain.vcpus[r.below(2)] ?? v;
        on.cpu.selectTlb(r.chance(3) ? 1 : 0);
        const registers = on.cpu.saveState();
        on.cpu.set('rax', 0n);
        const could = access(on, VIRT_BASE, at + 8n * BigInt(r.below(512)));
        on.cpu.restoreState(registers);
        on.cpu.selectTlb(0);
        if (could) counts.stored++;
        return could;
      },
      writable: () =>
        mfn >= 0 &&
        ok(v, 'update_va_mapping', at, makePte(r.chance(4) ? anyMfn : mfn, PTE.PRESENT | PTE.RW), 0),
      readOnly: () => mfn >= 0 && ok(v, 'update_va_mapping', at, makePte(mfn, PTE.PRESENT), 0),
      unmap: () => ok(v, 'update_va_mapping', at, 0, 0),
      pin: () => {
        const pinned = mfn >= 0 && ext(v, r.below(4), mfn);
        if (pinned) counts.pinned++;
        return pinned;
      },
      unpin: () => mfn >= 0 && ext(v, MMUEXT.MMUEXT_UNPIN_TABLE, mfn),
      giveBack: () => r.chance(4) && mfn >= 0 && reserve(v, 1, BigInt(mfn)),
      // An absent page comes back, perhaps as a frame that the other domain had.
      populate: () => mfn < 0 && reserve(v, 6, BigInt(pfn)),
    };
    const name = r.chance(2) ? 'store' : r.pick(Object.keys(actions));
    actions[name]?.();
    const translations = writableTranslations(cpu.mem);
    counts.most = Math.max(counts.most, translations.length);
    const { frames } = m.core;
    const stale = translations
      .filter((t) => frames.type[t.mfn] !== FRAME_TYPE.writable || frames.owner[t.mfn] !== owners[t.vcpu])
      .map((t) => `vCPU ${t.vcpu} set ${t.set}: 0x${t.linear.toString(16)}, ${frames.describe(t.mfn)}`);
    assert.deepEqual(stale, [], `seed ${seed}, step ${n}: '${name}'`);
    if (n % 256 === 0) assert.deepEqual(checkFrames(m.core), []);
  }
  assert.deepEqual(
    m.log.filter((l) => l.startsWith('error')),
    [],
  );
  return counts;
}

describe('translations under attack', function () {
  this.timeout(60_000);

  it('never let a store reach a frame that became a table, went away, or is another domain’s', () => {
    for (let seed = 1; seed <= 2; seed++) {
      const { stored, pinned, most } = soak(seed, 1500);
      assert.ok(
        stored > 200 && pinned > 20 && most > 5,
        `${stored} stores, ${pinned} pinned, ${most} translations`,
      );
    }
  });
});
