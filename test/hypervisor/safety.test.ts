/**
 * No sequence of hypercalls gives a guest a writable mapping of a table, of the hypervisor's memory or of another
 * domain's frame: long random sequences, guided so that they get somewhere, with the frame table checked against
 * a full scan all along.
 */
import assert from 'node:assert/strict';
import { DOMID } from '../../src/abi/domains';
import { EVTCHNOP, evtchn_init_control } from '../../src/abi/events';
import { VCPUOP, vcpu_register_vcpu_info } from '../../src/abi/vcpu';
import { PTE, makePte, mmu_update, mmuext_op, MMUEXT } from '../../src/abi/mmu';
import { xen_memory_exchange, xen_memory_reservation } from '../../src/abi/memory';
import { ulong } from '../../src/abi/layout';
import { checkFrames } from '../../src/hypervisor/check';
import { walkTables } from '../../src/hypervisor/guest-memory';
import type { GuestVcpu } from '../../src/hypervisor/types';
import { seeded, type Random } from '../support/random';
import { grantSteps } from './grant-steps';
import { SCRATCH, VIRT_BASE, testMachine, type TestMachine } from './machine';

const FLAGS = [PTE.RW, PTE.USER, PTE.ACCESSED, PTE.DIRTY, PTE.NX, 1n << 9n];
const BAD_FLAGS = [PTE.PSE, PTE.GLOBAL, PTE.PCD, 1n << 62n];

interface Step {
  readonly name: string;
  run(): boolean;
}

/** What a hostile kernel might try next. */
function attacker(
  m: TestMachine,
  v: GuestVcpu,
  r: Random,
  pool: readonly number[],
  extra: readonly Step[] = [],
): () => Step {
  const { core } = m;
  const owned = (): number => r.pick(pool);
  const anyFrame = (): number => {
    const kind = r.below(12);
    if (kind < 8) return owned();
    if (kind === 8) return r.below(core.frames.count);
    if (kind === 9) return core.frames.count + r.below(1000);
    if (kind === 10) return core.slots.m2pFrame + r.below(4);
    return m.domain.state.sharedInfo;
  };
  const flags = (): bigint => {
    let f = r.chance(8) ? 0n : PTE.PRESENT;
    for (const bit of FLAGS) if (r.chance(3)) f |= bit;
    if (r.chance(40)) f |= r.pick(BAD_FLAGS);
    return f;
  };
  const entry = (): bigint => (r.chance(6) ? 0n : makePte(anyFrame(), flags()));
  const va = (): bigint => VIRT_BASE + BigInt(r.below(1024)) * 4096n;
  const put = <T>(type: Parameters<typeof m.put<T>>[0], value: T): bigint => {
    const bytes = new Uint8Array(type.size);
    type.write(new DataView(bytes.buffer), 0, value);
    v.cpu.writeLinear(SCRATCH, bytes, 3);
    return SCRATCH;
  };
  const done = (name: string, ...args: (bigint | number)[]): boolean =>
    m.callOn(v, name, ...args).result >= 0n;
  const tables = (): number[] =>
    pool.filter((f) => (core.frames.type[f] ?? 0) <= 4 && (core.frames.typeCount[f] ?? 0) > 0);

  const ext = (cmd: number, mfn: number, src = 0): boolean => {
    const at = put(mmuext_op, {
      cmd,
      arg1: { mfn: BigInt(mfn), linear_addr: BigInt(mfn) },
      arg2: { nr_ents: 0, vcpumask: 0n, src_mfn: BigInt(src) },
    });
    return done('mmuext_op', at, 1, 0, DOMID.SELF);
  };
  const update = (ptr: bigint, val: bigint): boolean => {
    const at = put(mmu_update, { ptr, val });
    return done('mmu_update', at, 1, 0, DOMID.SELF);
  };
  const reservation = (frame: bigint): { at: bigint } => {
    put(ulong, frame);
    const at = SCRATCH + 64n;
    const value = { extent_start: SCRATCH, nr_extents: 1n, extent_order: 0, mem_flags: 0, domid: DOMID.SELF };
    const bytes = new Uint8Array(xen_memory_reservation.size);
    xen_memory_reservation.write(new DataView(bytes.buffer), 0, value);
    v.cpu.writeLinear(at, bytes, 3);
    return { at };
  };

  const steps: readonly Step[] = [
    // Taking a page's mapping away or making it read-only is what lets it become a table.
    { name: 'map read-only', run: () => {
      const f = owned();
      const at = mappingOf(m, f) ?? va();
      return done('update_va_mapping', at, makePte(f, PTE.PRESENT | PTE.USER), 0);
    } },
    { name: 'unmap', run: () => {
      const at = mappingOf(m, owned());
      return at !== undefined && done('update_va_mapping', at, 0, 0);
    } },
    { name: 'map anything', run: () => done('update_va_mapping', va(), entry(), r.below(8)) },
    { name: 'pin', run: () => ext(r.below(4), anyFrame()) },
    { name: 'pin an own frame', run: () => ext(r.below(4), owned()) },
    { name: 'unpin', run: () => ext(MMUEXT.MMUEXT_UNPIN_TABLE, owned()) },
    { name: 'fill a table', run: () => {
      const into = tables();
      const table = into.length > 0 && !r.chance(4) ? r.pick(into) : owned();
      return update((BigInt(table) << 12n) | BigInt(r.below(512) * 8) | BigInt(r.chance(20) ? r.below(8) : 0), entry());
    } },
    { name: 'set an L4 entry', run: () => update((BigInt(v.state.kernelTable) << 12n) | BigInt(r.below(300) * 8), entry()) },
    { name: 'machphys', run: () => update((BigInt(anyFrame()) << 12n) | 1n, r.wild()) },
    { name: 'clear page', run: () => ext(MMUEXT.MMUEXT_CLEAR_PAGE, anyFrame()) },
    { name: 'copy page', run: () => ext(MMUEXT.MMUEXT_COPY_PAGE, anyFrame(), anyFrame()) },
    { name: 'new user base', run: () => ext(MMUEXT.MMUEXT_NEW_USER_BASEPTR, r.chance(3) ? 0 : owned()) },
    { name: 'new base', run: () => {
      const old = v.state.kernelTable;
      // Only to a table that maps what the test needs: itself, or back.
      return ext(MMUEXT.MMUEXT_NEW_BASEPTR, r.chance(2) ? old : (core.frames.type[owned()] ?? 0) === 0 ? old : anyFrame() + core.frames.count);
    } },
    { name: 'set_gdt', run: () => {
      put(ulong, BigInt(anyFrame()));
      return done('set_gdt', SCRATCH, r.pick([0, 8, 512, 600]));
    } },
    { name: 'set_ldt', run: () => {
      const at = put(mmuext_op, { cmd: MMUEXT.MMUEXT_SET_LDT, arg1: { mfn: va(), linear_addr: va() }, arg2: { nr_ents: 512, vcpumask: 0n, src_mfn: 512n } });
      return done('mmuext_op', at, 1, 0, DOMID.SELF);
    } },
    { name: 'update_descriptor', run: () => done('update_descriptor', (BigInt(anyFrame()) << 12n) | BigInt(r.below(512) * 8), r.wild()) },
    { name: 'decrease', run: () => done('memory_op', 1, reservation(BigInt(anyFrame())).at) && r.chance(1) },
    { name: 'increase', run: () => done('memory_op', 0, reservation(0n).at) },
    { name: 'populate', run: () => done('memory_op', 6, reservation(BigInt(r.below(2000))).at) },
    { name: 'exchange', run: () => {
      put(ulong, BigInt(owned()));
      const side = (extent_start: bigint): { extent_start: bigint; nr_extents: bigint; extent_order: number; mem_flags: number; domid: number } =>
        ({ extent_start, nr_extents: 1n, extent_order: 0, mem_flags: 0, domid: DOMID.SELF });
      const at = SCRATCH + 64n;
      const bytes = new Uint8Array(xen_memory_exchange.size);
      xen_memory_exchange.write(new DataView(bytes.buffer), 0, { in: side(SCRATCH), out: side(SCRATCH), nr_exchanged: 0n });
      v.cpu.writeLinear(at, bytes, 3);
      return done('memory_op', 11, at);
    } },
    { name: 'init_control', run: () => {
      const at = put(evtchn_init_control, { control_gfn: BigInt(anyFrame()), offset: 0, vcpu: 0, link_bits: 0, _pad: new Uint8Array(7) });
      return done('event_channel_op', EVTCHNOP.EVTCHNOP_init_control, at);
    } },
    { name: 'expand_array', run: () => done('event_channel_op', EVTCHNOP.EVTCHNOP_expand_array, put(ulong, BigInt(anyFrame()))) },
    { name: 'reset', run: () => r.chance(10) && done('event_channel_op', EVTCHNOP.EVTCHNOP_reset, put(ulong, BigInt(DOMID.SELF))) },
    { name: 'vcpu_info', run: () => {
      const at = put(vcpu_register_vcpu_info, { mfn: BigInt(anyFrame()), offset: 0, rsvd: 0 });
      return r.chance(20) && done('vcpu_op', VCPUOP.VCPUOP_register_vcpu_info, 0, at);
    } },
    { name: 'vm_assist', run: () => done('vm_assist', r.below(2), r.pick([2, 32])) },
  ]; // prettier-ignore
  const all = [...steps, ...extra];
  return () => r.pick(all);
}

/** Where the region that the builder mapped shows a frame. */
function mappingOf(m: TestMachine, frame: number): bigint | undefined {
  const pfn = m.core.slots.m2p(frame);
  return pfn < 1024n ? VIRT_BASE + pfn * 4096n : undefined;
}

/** Frames in the middle of the region: not the image, not what the start of day put behind it. */
const poolOf = (v: GuestVcpu): number[] => [...v.domain.state.p2m.slice(256, 288)];

function soak(seed: number, steps: number): Map<string, number> {
  const m = testMachine({ domains: 2 });
  const r = seeded(seed);
  const vcpus = [...m.hv.domains.values()].flatMap((d) => [...d.vcpus]);
  const pools = vcpus.map(poolOf);
  // Each sees the other's frames, too.
  const attackers = vcpus.map((v, i) =>
    attacker(
      m,
      v,
      r,
      [...(pools[i] ?? []), ...(pools[1 - i] ?? []).slice(0, 3)],
      grantSteps(m, v, (vcpus[1 - i] ?? v).domain, r, pools[i] ?? []),
    ),
  );
  const succeeded = new Map<string, number>();
  for (let n = 0; n < steps; n++) {
    const who = r.below(vcpus.length);
    const v = vcpus[who];
    const next = attackers[who];
    if (v === undefined || next === undefined || v.domain.state.shutdown !== undefined) continue;
    const step = next();
    if (step.run()) succeeded.set(step.name, (succeeded.get(step.name) ?? 0) + 1);
    if (n % 64 === 0 || n === steps - 1) {
      assert.deepEqual(
        checkFrames(m.core),
        [],
        `seed ${seed}, after step ${n}, the last of which was '${step.name}'`,
      );
    }
  }
  assert.deepEqual(
    m.log.filter((l) => l.startsWith('error')),
    [],
  );
  for (const d of m.hv.domains.values()) assert.equal(d.state.shutdown, undefined, d.state.crashText);
  // The scratch page is what the attack runs on: it must not have been lost.
  for (const v of vcpus) {
    const leaf = walkTables(m.core.memory, v.state.kernelTable, SCRATCH)[3];
    if (leaf !== undefined && (leaf.entry & PTE.PRESENT) !== 0n) continue;
    succeeded.set('scratch lost', 1);
  }
  return succeeded;
}

/** HYPERSTEP_SEEDS=n runs longer. */
const SEEDS = Number(process.env['HYPERSTEP_SEEDS'] ?? 6);

describe('safety of the frame table', function () {
  this.timeout(0);

  it('holds over random sequences of hypercalls', () => {
    const reached = new Set<string>();
    for (let seed = 1; seed <= SEEDS; seed++) for (const name of soak(seed, 4000).keys()) reached.add(name);
    for (const name of [
      'map read-only', 'unmap', 'map anything', 'pin an own frame', 'unpin', 'fill a table', 'set an L4 entry',
      'machphys', 'clear page', 'copy page', 'new user base', 'set_gdt', 'update_descriptor', 'decrease', 'increase',
      'populate', 'exchange', 'init_control', 'expand_array', 'vcpu_info', 'map grant', 'unmap grant', 'replace grant',
      'overwrite a grant entry', 'transfer', 'change version', 'map a status frame', 'copy by grants',
    ]) assert.ok(reached.has(name), `no sequence ever managed: ${name}`); // prettier-ignore
  });
});
