/** A call does a bounded amount of work at a time, whatever counts the guest gives, and nothing of it is lost. */
import assert from 'node:assert/strict';
import { DOMID } from '../../src/abi/domains';
import { EVTCHNOP, evtchn_alloc_unbound, evtchn_init_control, evtchn_unmask } from '../../src/abi/events';
import { GNTTABOP, gnttab_copy } from '../../src/abi/grant';
import { u32, ulong } from '../../src/abi/layout';
import { MMU, MMUEXT, PTE, makePte, mmu_update, mmuext_op, multicall_entry } from '../../src/abi/mmu';
import { xen_memory_exchange } from '../../src/abi/memory';
import { iret_context } from '../../src/abi/traps';
import { EXIT } from '../../src/cpu/exits';
import { BUDGET } from '../../src/hypervisor/budget';
import { checkFrames } from '../../src/hypervisor/check';
import { SCRATCH, VIRT_BASE, testMachine, type TestMachine } from './machine';

/** Where the tests keep long lists: behind the image, mapped by the builder, used by nothing. */
const LIST = VIRT_BASE + 0x10_0000n;
const REST = { arg0: 0n, arg1: 0n, arg2: 0n, arg3: 0n, arg4: 0n, arg5: 0n, result: 0x5555n };

interface Run {
  readonly result: bigint;
  /** How often the guest executed `syscall`. */
  readonly rounds: number;
  /** Most work done in one round. */
  readonly most: number;
}

/** Calls, and executes `syscall` again for as long as the guest is sent back to it. */
function callThrough(m: TestMachine, name: string, ...args: (bigint | number)[]): Run {
  const { cpu } = m.v;
  const rip = cpu.get('rip');
  let before = m.core.work.spent;
  let answer = m.call(name, ...args);
  let rounds = 1;
  let most = m.core.work.spent - before;
  while (cpu.get('rip') === rip - 2n) {
    assert.equal(answer.outcome, 'run');
    cpu.set('rip', rip);
    before = m.core.work.spent;
    const outcome = m.hv.handleExit(m.v, EXIT.SYSCALL);
    answer = { ...answer, outcome, result: BigInt.asIntN(64, cpu.get('rax')) };
    most = Math.max(most, m.core.work.spent - before);
    assert.ok(++rounds < 1000);
  }
  assert.equal(cpu.get('rip'), rip);
  return { result: answer.result, rounds, most };
}

const noErrors = (m: TestMachine): void => {
  assert.deepEqual(
    m.log.filter((l) => l.startsWith('error')),
    [],
  );
  assert.equal(m.domain.state.shutdown, undefined, m.domain.state.crashText);
  assert.deepEqual(checkFrames(m.core), []);
};

describe('work of a hypercall', () => {
  it('of a multicall does not nest: many thousand entries are as good as two', () => {
    const m = testMachine();
    const count = 20_000;
    for (let i = 0; i < count; i++) m.put(multicall_entry, { ...REST, op: 17n }, LIST + BigInt(i * 64));
    const { result, rounds } = callThrough(m, 'multicall', LIST, count);
    assert.equal(result, 0n);
    assert.ok(rounds > 1, 'it was interrupted');
    for (const i of [0, 1, 9_999, count - 1]) {
      assert.equal(m.fetch(multicall_entry, LIST + BigInt(i * 64)).result, 0x4_0011n, `entry ${i}`);
    }
    noErrors(m);
  });

  it('of a batch is interrupted, counted on in pdone, and each element done once', () => {
    const m = testMachine();
    const count = 40_000;
    const mfn = m.frameOf(VIRT_BASE + 0x20_0000n);
    for (let i = 0; i < count; i++) {
      const ptr = (BigInt(mfn) << 12n) | BigInt(MMU.MMU_MACHPHYS_UPDATE);
      m.put(mmu_update, { ptr, val: BigInt(i) }, LIST + BigInt(i * 16));
    }
    const { result, rounds, most } = callThrough(m, 'mmu_update', LIST, count, SCRATCH, DOMID.SELF);
    assert.deepEqual([result, rounds], [0n, 2]);
    assert.ok(most <= BUDGET + 1);
    assert.equal(m.fetch(u32, SCRATCH), count);
    assert.equal(m.core.slots.m2p(mfn), BigInt(count - 1));
    noErrors(m);
  });

  it('of a batch within a multicall goes on in its entry', () => {
    const m = testMachine();
    const count = 40_000;
    const mfn = BigInt(m.frameOf(VIRT_BASE + 0x20_0000n));
    for (let i = 0; i < count; i++) {
      const ptr = (mfn << 12n) | BigInt(MMU.MMU_MACHPHYS_UPDATE);
      m.put(mmu_update, { ptr, val: BigInt(i) }, LIST + BigInt(i * 16));
    }
    const batch = { ...REST, op: 1n, arg0: LIST, arg1: BigInt(count), arg2: SCRATCH + 512n, arg3: BigInt(DOMID.SELF) };
    m.put(multicall_entry, { ...REST, op: 17n }, SCRATCH);
    m.put(multicall_entry, batch, SCRATCH + 64n);
    m.put(multicall_entry, { ...REST, op: 17n }, SCRATCH + 128n);
    const { result, rounds } = callThrough(m, 'multicall', SCRATCH, 3);
    assert.deepEqual([result, rounds], [0n, 2]);
    assert.equal(m.fetch(u32, SCRATCH + 512n), count);
    for (const i of [0, 2]) {
      assert.equal(m.fetch(multicall_entry, SCRATCH + BigInt(i * 64)).result, 0x4_0011n);
    }
    assert.equal(m.fetch(multicall_entry, SCRATCH + 64n).result, 0n);
    assert.equal(m.core.slots.m2p(Number(mfn)), BigInt(count - 1));
    noErrors(m);
  }); // prettier-ignore

  it('counts tables that are checked: pinning over and over does not hold the machine up', () => {
    const m = testMachine();
    const va = VIRT_BASE + 0x20_0000n;
    const mfn = m.frameOf(va);
    assert.equal(m.call('update_va_mapping', va, makePte(mfn, PTE.PRESENT), 0).result, 0n);
    const op = (cmd: number): Parameters<typeof m.put<unknown>>[1] => ({
      cmd,
      arg1: { mfn: BigInt(mfn), linear_addr: BigInt(mfn) },
      arg2: { nr_ents: 0, vcpumask: 0n, src_mfn: 0n },
    });
    const count = 2000;
    for (let i = 0; i < count; i++) {
      const cmd = i % 2 === 0 ? MMUEXT.MMUEXT_PIN_L1_TABLE : MMUEXT.MMUEXT_UNPIN_TABLE;
      m.put(mmuext_op, op(cmd) as never, LIST + BigInt(i * mmuext_op.size));
    }
    const { result, rounds, most } = callThrough(m, 'mmuext_op', LIST, count, 0, DOMID.SELF);
    assert.equal(result, 0n);
    assert.ok(rounds > 3 && most < BUDGET + 200, `${rounds} rounds, at most ${most}`);
    noErrors(m);
  });

  it('of grant copies and exchanges is interrupted, too', () => {
    const m = testMachine();
    const own = BigInt(m.frameOf(VIRT_BASE + 0x38_0000n));
    const count = 35_000;
    const end = { u: { ref: Number(own), gmfn: own }, domid: DOMID.SELF, offset: 0 };
    for (let i = 0; i < count; i++) {
      const copy = { source: end, dest: { ...end, offset: 8 }, len: 8, flags: 0, status: 0x55 };
      m.put(gnttab_copy, copy, LIST + BigInt(i * gnttab_copy.size));
    }
    const copied = callThrough(m, 'grant_table_op', GNTTABOP.GNTTABOP_copy, LIST, count);
    assert.deepEqual([copied.result, copied.rounds], [0n, 2]);
    assert.equal(m.fetch(gnttab_copy, LIST + BigInt((count - 1) * gnttab_copy.size)).status, 0);

    // One page of extents, seen under many addresses, is enough to exchange for ever.
    const page = m.frameOf(LIST);
    for (let i = 0; i < 512; i++) {
      const va = VIRT_BASE + 0x18_0000n + BigInt(i * 4096);
      m.put(ulong, BigInt(m.frameOf(va)), LIST + BigInt(i * 8));
      assert.equal(m.call('update_va_mapping', va, 0, 0).result, 0n);
    }
    for (let i = 1; i < 32; i++) {
      const pte = makePte(page, PTE.PRESENT | PTE.RW | PTE.USER);
      assert.equal(m.call('update_va_mapping', LIST + BigInt(i * 4096), pte, 0).result, 0n);
    }
    const extents = 32n * 512n;
    const side = {
      extent_start: LIST,
      nr_extents: extents,
      extent_order: 0,
      mem_flags: 0,
      domid: DOMID.SELF,
    };
    m.put(xen_memory_exchange, { in: side, out: side, nr_exchanged: 0n }, SCRATCH);
    const exchanged = callThrough(m, 'memory_op', 11, SCRATCH);
    assert.deepEqual([exchanged.result, exchanged.rounds], [0n, 3]);
    assert.equal(m.fetch(xen_memory_exchange, SCRATCH).nr_exchanged, extents);
    noErrors(m);
  });

  it('ends a multicall at an iret, whose registers stand', () => {
    const m = testMachine();
    const stack = SCRATCH + 1024n;
    m.v.cpu.set('rsp', stack);
    const frame = {
      rax: 0x1234n, r11: 0n, rcx: 0n, flags: 0n, rip: VIRT_BASE + 0x100n, cs: 0xe030n, rflags: 0x202n, rsp: SCRATCH + 3072n,
      ss: 0xe028n,
    }; // prettier-ignore
    m.put(iret_context, frame, stack);
    m.put(multicall_entry, { ...REST, op: 23n }, SCRATCH);
    m.put(multicall_entry, { ...REST, op: 3n, arg1: 0x7000n }, SCRATCH + 64n);
    m.call('multicall', SCRATCH, 2);
    assert.equal(m.v.cpu.get('rip'), VIRT_BASE + 0x100n);
    assert.equal(m.v.cpu.get('rax'), 0x1234n);
    assert.notEqual(m.v.state.kernelSp, 0x7000n, 'what follows an iret is not run');
    assert.equal(m.v.state.multicall, undefined);
    noErrors(m);
  });
});

describe('ports beyond the two-level ABI', () => {
  it('are gone after a reset from the FIFO ABI', () => {
    const m = testMachine();
    const control = BigInt(m.frameOf(VIRT_BASE + 0x20_0000n));
    const init = { control_gfn: control, offset: 0, vcpu: 0, link_bits: 0, _pad: new Uint8Array(7) };
    assert.equal(m.call('event_channel_op', EVTCHNOP.EVTCHNOP_init_control, m.put(evtchn_init_control, init)).result, 0n);
    // As if the guest had allocated them all, which takes a while.
    const { ports } = m.domain.state;
    const at = m.put(evtchn_alloc_unbound, { dom: DOMID.SELF, remote_dom: 0, port: 0 });
    assert.equal(m.call('event_channel_op', EVTCHNOP.EVTCHNOP_alloc_unbound, at).result, 0n);
    const sample = ports[ports.length - 1];
    assert.ok(sample);
    while (ports.length < 60_000) ports.push({ ...sample, channel: { kind: 'unbound', remote: m.domain.id } });
    assert.equal(m.call('event_channel_op', EVTCHNOP.EVTCHNOP_reset, m.put(ulong, BigInt(DOMID.SELF))).result, 0n);
    assert.equal(m.call('event_channel_op', EVTCHNOP.EVTCHNOP_unmask, m.put(evtchn_unmask, { port: 50_000 })).errno, 'EINVAL');
    noErrors(m);
  }); // prettier-ignore
});

describe('a back end that fails', () => {
  it('ends neither the guest nor whoever runs the machine', () => {
    const m = testMachine();
    const connections = m.hv.backend.connections()[0];
    assert.ok(connections);
    m.hv.backend.onEvent(connections.consolePort, () => {
      throw new RangeError('made to fail');
    });
    let heard = 0;
    m.hv.backend.onEvent(connections.consolePort, () => heard++);
    const at = m.put(u32, connections.guestConsolePort);
    assert.equal(m.call('event_channel_op', EVTCHNOP.EVTCHNOP_send, at).result, 0n);
    assert.equal(heard, 1, 'others hear of it all the same');
    assert.equal(m.log.filter((l) => l.includes('made to fail')).length, 1);
    assert.equal(m.domain.state.shutdown, undefined);
  });
});
