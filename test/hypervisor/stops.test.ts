/** Holding a vCPU at a hypercall, a fault or an upcall, going on from there, and snapshots in between. */
import assert from 'node:assert/strict';
import { multicall_entry, mmu_update, MMU } from '../../src/abi/mmu';
import { DOMID } from '../../src/abi/domains';
import { EXIT } from '../../src/cpu/exits';
import type { Observer } from '../../src/hypervisor/observer';
import { setUpcallMask, setUpcallPending } from '../../src/hypervisor/vcpu';
import { SCRATCH, VIRT_BASE, testMachine, type TestMachine } from './machine';

const HANDLER = VIRT_BASE + 0x1000n;

function stoppingAt(what: keyof Observer, times = 100): { m: TestMachine; seen: string[] } {
  const seen: string[] = [];
  const observer: Observer = {
    [what]: () => {
      seen.push(what);
      return seen.length <= times;
    },
  };
  return { m: testMachine({ observer }), seen };
}

describe('holding a vCPU', () => {
  it('stops before the handler runs, with arguments decoded, and goes on into it', () => {
    const { m } = stoppingAt('hypercallEntry');
    m.put(mmu_update, { ptr: 0x5000n | BigInt(MMU.MMU_MACHPHYS_UPDATE), val: 0x123n });
    const answer = m.call('mmu_update', SCRATCH, 1, 0, DOMID.SELF);
    assert.equal(answer.outcome, 'hold');
    assert.equal(m.v.cpu.get('rax'), 1n, 'not run yet');
    const call = m.hv.currentCall(m.v);
    assert.ok(call);
    const view = m.hv.view(m.v, call);
    assert.deepEqual(
      [view.name, view.op, view.nr, view.result],
      ['mmu_update', 'machphys_update', 1, undefined],
    );
    const [ureqs, count] = view.args;
    assert.equal(count?.text, '1');
    const [ptr] = ureqs?.children ?? [];
    assert.ok(ptr);
    assert.equal(ptr.name, 'ptr');
    assert.match(ptr.text, /MMU_MACHPHYS_UPDATE 0x5000/);
    assert.deepEqual(m.hv.namesOf(m.v, call), ['mmu_update', 'mmu_update.machphys_update']);
    assert.equal(m.hv.deliverPending(m.v), 'hold');
    assert.equal(m.hv.resume(m.v), 'run');
    assert.equal(m.v.state.held, undefined);
    assert.notEqual(m.v.cpu.get('rax'), 1n);
    assert.equal(m.calls.length, 1);
  });

  it('stops after the handler, with result and reason', () => {
    const { m } = stoppingAt('hypercallReturn');
    assert.equal(m.call('vm_assist', 0, 99).outcome, 'hold');
    const call = m.hv.currentCall(m.v);
    assert.ok(call);
    const view = m.hv.view(m.v, call);
    assert.deepEqual([view.errno, BigInt.asIntN(64, view.result ?? 0n)], ['EINVAL', -22n]);
    assert.match(view.reason ?? '', /no type 99/);
    assert.equal(m.hv.resume(m.v), 'run');
  });

  it('stops at each entry of a multicall, and survives a snapshot there', () => {
    const { m, seen } = stoppingAt('hypercallEntry');
    const zero = { result: 0n, arg0: 0n, arg1: 0x7000n, arg2: 0n, arg3: 0n, arg4: 0n, arg5: 0n };
    m.put(multicall_entry, { ...zero, op: 17n }, SCRATCH);
    m.put(multicall_entry, { ...zero, op: 3n }, SCRATCH + 64n);
    assert.equal(m.call('multicall', SCRATCH, 2).outcome, 'hold');
    assert.equal(m.hv.resume(m.v), 'hold');
    assert.equal(m.hv.currentCall(m.v)?.nr, 17);
    assert.equal(m.hv.resume(m.v), 'hold');
    assert.equal(m.hv.currentCall(m.v)?.nr, 3);
    const saved = m.hv.save();
    const rax = m.v.cpu.get('rax');
    assert.equal(m.hv.resume(m.v), 'run');
    assert.equal(m.v.state.kernelSp, 0x7000n);
    assert.equal(seen.length, 3);
    m.hv.restore(saved);
    m.v.cpu.set('rax', rax);
    assert.notEqual(m.v.state.kernelSp, 0x7000n);
    assert.equal(m.hv.currentCall(m.v)?.nr, 3);
    assert.equal(m.hv.resume(m.v), 'run');
    assert.equal(m.v.state.kernelSp, 0x7000n);
    assert.equal(m.v.state.multicall, undefined);
  });

  it('stops at a fault with the registers of the faulting instruction', () => {
    const { m } = stoppingAt('fault');
    m.v.state.traps[6] = { cs: 0xe033, flags: 0, address: HANDLER };
    m.v.cpu.set('rip', 0x4444n);
    m.v.cpu.setInt('exit_vector', 6);
    assert.equal(m.hv.handleExit(m.v, EXIT.EXCEPTION), 'hold');
    assert.equal(m.v.cpu.get('rip'), 0x4444n);
    assert.equal(m.hv.resume(m.v), 'run');
    assert.equal(m.v.cpu.get('rip'), HANDLER);
  });

  it('stops at an event upcall', () => {
    const { m } = stoppingAt('upcall');
    m.call('set_callbacks', HANDLER, HANDLER, HANDLER);
    setUpcallPending(m.core, m.v);
    setUpcallMask(m.core, m.v, false);
    assert.equal(m.hv.deliverPending(m.v), 'hold');
    assert.equal(m.hv.resume(m.v), 'run');
    assert.equal(m.v.cpu.get('rip'), HANDLER);
  });

  it('ends the domain, not the adapter, when the hypervisor itself fails', () => {
    const m = testMachine({
      observer: {
        hypercallEntry: () => {
          throw new Error('made to fail');
        },
      },
    });
    assert.equal(m.call('xen_version', 0).outcome, 'shutdown');
    assert.match(m.domain.state.crashText ?? '', /the hypervisor failed in an exit: Error: made to fail/);
  });
});

describe('snapshots', () => {
  it('give back exactly what was saved', () => {
    const m = testMachine({ vcpus: 2 });
    m.call('vm_assist', 0, 2);
    const saved = m.hv.save();
    m.call('vm_assist', 0, 4);
    m.call('fpu_taskswitch', 1);
    m.call('stack_switch', 0, 0x1000n);
    assert.notDeepEqual(m.hv.save(), saved);
    m.hv.restore(saved);
    assert.deepEqual(m.hv.save(), saved);
    m.call('vm_assist', 0, 3);
    m.hv.restore(saved);
    assert.deepEqual(m.hv.save(), saved, 'restoring twice from the same snapshot');
  });

  it('inspects a vCPU as trees', () => {
    const m = testMachine();
    const names = m.hv.inspect(m.v).map((d) => d.name);
    for (const name of ['mode', 'base tables', 'trap table', 'callbacks', 'event channels', 'timers']) {
      assert.ok(names.includes(name), name);
    }
  });
});
