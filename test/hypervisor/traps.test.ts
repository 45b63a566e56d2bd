import assert from 'node:assert/strict';
import { u32, ulong } from '../../src/abi/layout';
import { CALLBACKTYPE, callback_register, iret_context, trap_info } from '../../src/abi/traps';
import { arch_vcpu_info, vcpu_info } from '../../src/abi/info';
import { EXIT, INT_KIND } from '../../src/cpu/exits';
import type { Outcome } from '../../src/hypervisor/types';
import { setUpcallMask, setUpcallPending, upcallMasked } from '../../src/hypervisor/vcpu';
import { SCRATCH, VIRT_BASE, testMachine, type TestMachine } from './machine';

const HANDLER = VIRT_BASE + 0x1000n;
const STACK = VIRT_BASE + 0x7f08n;

function raise(m: TestMachine, vector: number, error = -1, address = 0n): Outcome {
  m.v.cpu.setInt('exit_vector', vector);
  m.v.cpu.set('exit_error', BigInt.asUintN(32, BigInt(error)));
  m.v.cpu.set('exit_address', address);
  return m.hv.handleExit(m.v, EXIT.EXCEPTION);
}

function withHandlers(m: TestMachine, ...entries: { vector: number; flags?: number }[]): void {
  let at = SCRATCH;
  for (const { vector, flags = 0 } of entries) {
    m.put(trap_info, { vector, flags, cs: 0xe030, address: HANDLER + BigInt(vector) }, at);
    at += BigInt(trap_info.size);
  }
  m.put(trap_info, { vector: 0, flags: 0, cs: 0, address: 0n }, at);
  assert.equal(m.call('set_trap_table', SCRATCH).result, 0n);
}

const frame = (m: TestMachine, words: number): bigint[] =>
  Array.from({ length: words }, (_, i) => m.fetch(ulong, m.v.cpu.get('rsp') + BigInt(i * 8)));

describe('traps', () => {
  it('bounces a fault with the frame that Xen pushes', () => {
    const m = testMachine();
    withHandlers(m, { vector: 14, flags: 4 });
    const { cpu } = m.v;
    cpu.set('rsp', STACK);
    cpu.set('rip', 0x1234n);
    cpu.set('rcx', 0xccn);
    cpu.set('r11', 0x11n);
    cpu.rflags = 0x10202n;
    setUpcallMask(m.core, m.v, false);
    assert.equal(raise(m, 14, 6, 0xdead_b000n), 'run');
    // rcx r11 error rip cs rflags rsp ss; USER is dropped from the error code, RF from the flags that go on.
    assert.deepEqual(frame(m, 8), [0xccn, 0x11n, 2n, 0x1234n, 0xe030n, 0x10202n, STACK, 0xe028n]);
    assert.equal(cpu.get('rsp') + 64n, STACK & ~15n);
    assert.equal(cpu.get('rip'), HANDLER + 14n);
    assert.equal(cpu.rflags, 0x202n);
    assert.ok(upcallMasked(m.core, m.v), 'the gate masks events');
    const info = m.core.memory.view(m.v.state.infoFrame);
    assert.equal(
      info.getBigUint64(m.v.state.infoOffset + vcpu_info.offset.arch + arch_vcpu_info.offset.cr2, true),
      0xdead_b000n,
    );
  });

  it('saves the event mask with cs, and shows IF accordingly', () => {
    const m = testMachine();
    withHandlers(m, { vector: 13 });
    m.v.cpu.set('rsp', STACK);
    m.v.cpu.set('rip', 0xffff_ffff_ffff_0000n);
    setUpcallMask(m.core, m.v, true);
    raise(m, 13, 0x28);
    const [, , error, , cs, rflags] = frame(m, 8);
    assert.equal(error, 0x28n);
    assert.equal(cs, 0x1_0000_e030n);
    assert.equal((rflags ?? 0n) & 0x200n, 0n);
  });

  it('ends the domain when there is no handler, or no stack for it', () => {
    const none = testMachine();
    assert.equal(raise(none, 6), 'shutdown');
    assert.match(none.domain.state.crashText ?? '', /#UD, and the guest has no handler/);
    const bad = testMachine();
    withHandlers(bad, { vector: 6 });
    bad.v.cpu.set('rsp', 0x5000n);
    assert.equal(raise(bad, 6), 'shutdown');
    assert.match(
      bad.domain.state.crashText ?? '',
      /#UD cannot be delivered, its kernel stack at 0x5000 faults: 0x4fc8: the L4 entry 0/,
    );
    const xen = testMachine();
    withHandlers(xen, { vector: 6 });
    xen.v.cpu.set('rsp', 0xffff_8000_0000_1000n);
    raise(xen, 6);
    assert.match(xen.domain.state.crashText ?? '', /lies in Xen's part/);
  });

  it('goes from user to kernel and back, with both GS bases and the stack', () => {
    const m = testMachine();
    const { cpu, state } = m.v;
    m.put(callback_register, { type: CALLBACKTYPE.CALLBACKTYPE_syscall, flags: 1, address: HANDLER });
    assert.equal(m.call('callback_op', 0, SCRATCH).result, 0n);
    m.call('stack_switch', 0, STACK);
    assert.equal(m.call('set_segment_base', 1, 0x1111_0000n).result, 0n);
    assert.equal(m.call('set_segment_base', 2, 0x2222_0000n).result, 0n);
    assert.equal(m.call('set_segment_base', 1, 1n << 50n).errno, 'EINVAL');
    state.userTable = state.kernelTable;
    m.put(iret_context, {
      rax: 0x77n, r11: 1n, rcx: 2n, flags: 0n, rip: 0x4000n, cs: 0xe033n, rflags: 0x3202n, rsp: 0x6000n, ss: 0xe02bn,
    }); // prettier-ignore
    cpu.set('rsp', SCRATCH);
    m.call('iret');
    assert.equal(state.kernelMode, false);
    assert.equal(cpu.get('rax'), 0x77n, 'rax comes from the frame');
    assert.deepEqual(
      [cpu.get('rip'), cpu.get('rsp'), cpu.get('rcx'), cpu.get('r11')],
      [0x4000n, 0x6000n, 2n, 1n],
    );
    assert.equal(cpu.rflags, 0x202n, 'IOPL is dropped');
    assert.equal(cpu.get('gs_base'), 0x1111_0000n);
    assert.equal(upcallMasked(m.core, m.v), false);

    cpu.set('rip', 0x4002n);
    cpu.rflags = 0x602n;
    assert.equal(m.hv.handleExit(m.v, EXIT.SYSCALL), 'run');
    assert.equal(state.kernelMode, true);
    assert.equal(cpu.get('gs_base'), 0x2222_0000n);
    assert.deepEqual(frame(m, 7), [0x4002n, 0x602n, 0x4002n, 0xe033n, 0x602n, 0x6000n, 0xe02bn]);
    assert.equal(cpu.rflags & 0x400n, 0n, 'DF is clear in the handler');
    assert.ok(upcallMasked(m.core, m.v), 'CALLBACKF_mask_events');
  });

  it('crashes an iret to user without a user table', () => {
    const m = testMachine();
    m.put(iret_context, {
      rax: 0n,
      r11: 0n,
      rcx: 0n,
      flags: 0n,
      rip: 0n,
      cs: 0xe033n,
      rflags: 2n,
      rsp: 0n,
      ss: 0n,
    });
    m.v.cpu.set('rsp', SCRATCH);
    assert.equal(m.call('iret').outcome, 'shutdown');
    assert.match(m.domain.state.crashText ?? '', /without a user base table/);
  });

  it('gives what cannot be returned to, to the failsafe callback', () => {
    const good = {
      rax: 0n,
      r11: 0n,
      rcx: 0n,
      flags: 0n,
      rip: 0x4000n,
      cs: 0xe030n,
      rflags: 2n,
      rsp: STACK,
      ss: 0xe028n,
    };
    for (const [change, why] of [
      [{ cs: 0n }, /CS 0x3: it is null/],
      [{ cs: 0xe028n }, /CS 0xe02b: 0xcff3000000ffff is no code segment of ring 3/],
      [{ ss: 0x7ff8n }, /SS 0x7ffb: its descriptor 0x0 is not present/],
      [{ rip: 1n << 50n }, /rip 0x4000000000000 is not canonical/],
    ] as const) {
      const m = testMachine();
      m.put(iret_context, { ...good, ...change });
      m.v.cpu.set('rsp', SCRATCH);
      assert.equal(m.call('iret').outcome, 'shutdown');
      assert.match(m.domain.state.crashText ?? '', why);
      assert.match(m.domain.state.crashText ?? '', /failsafe callback .* and the guest has no handler/);
    }
    const m = testMachine();
    m.call('set_callbacks', 0, HANDLER, 0);
    m.put(iret_context, { ...good, cs: 0n });
    for (const [i, name] of (['ds', 'es', 'fs', 'gs'] as const).entries()) m.v.cpu.set(name, BigInt(i + 1));
    m.v.cpu.set('rsp', SCRATCH);
    assert.equal(m.call('iret').outcome, 'run');
    assert.equal(m.v.cpu.get('rip'), HANDLER);
    assert.deepEqual(frame(m, 11).slice(2, 8), [1n, 2n, 3n, 4n, 0x4000n, 0x1_0000_0000n]);
    const user32 = testMachine();
    user32.put(iret_context, { ...good, cs: 0xe020n });
    user32.v.cpu.set('rsp', SCRATCH);
    user32.call('iret');
    assert.match(user32.domain.state.crashText ?? '', /is 32-bit code, which this processor does not run/);
  });

  it('ends the domain at an instruction that the processor does not have', () => {
    const m = testMachine();
    assert.equal(m.hv.handleExit(m.v, EXIT.UNIMPLEMENTED), 'shutdown');
    assert.match(m.domain.state.crashText ?? '', /does not implement this instruction/);
  });

  it('delivers an event upcall when it is due and not masked', () => {
    const m = testMachine();
    m.call('set_callbacks', HANDLER, HANDLER + 1n, HANDLER + 2n);
    m.v.cpu.set('rsp', STACK);
    setUpcallPending(m.core, m.v);
    assert.equal(m.hv.deliverPending(m.v), 'run');
    assert.notEqual(m.v.cpu.get('rip'), HANDLER);
    setUpcallMask(m.core, m.v, false);
    m.hv.deliverPending(m.v);
    assert.equal(m.v.cpu.get('rip'), HANDLER);
    assert.ok(upcallMasked(m.core, m.v));
    assert.deepEqual(m.traps, ['event-upcall']);
  });

  it('opens INT n to those the gate is for', () => {
    const m = testMachine();
    withHandlers(m, { vector: 13 }, { vector: 0x80, flags: 3 }, { vector: 0x81, flags: 0 });
    const int = (vector: number): void => {
      m.v.cpu.set('rsp', STACK);
      m.v.cpu.set('rip', 0x1002n);
      m.v.cpu.setInt('exit_vector', vector);
      m.v.cpu.setInt('exit_info', INT_KIND.INT);
      m.hv.handleExit(m.v, EXIT.INT);
    };
    int(0x80);
    assert.equal(m.v.cpu.get('rip'), HANDLER + 0x80n);
    assert.equal(frame(m, 7)[2], 0x1002n);
    int(0x81);
    assert.equal(m.v.cpu.get('rip'), HANDLER + 13n);
    assert.deepEqual(frame(m, 4).slice(2), [BigInt(0x81 * 8 + 2), 0x1000n]);
  });

  it('refuses handlers that are not canonical and lists without an end', () => {
    const m = testMachine();
    m.put(trap_info, { vector: 3, flags: 0, cs: 0, address: 1n << 50n });
    assert.match(m.call('set_trap_table', SCRATCH).reason ?? '', /vector 3 0x4000000000000 is not canonical/);
    assert.equal(m.call('set_trap_table', 0x10n).errno, 'EFAULT');
    assert.equal(m.call('set_trap_table', 0).result, 0n);
  });
});

describe('privileged instructions', () => {
  /** Runs bytes as the guest's kernel would, up to their #GP. */
  function emulate(m: TestMachine, bytes: readonly number[], vector = 13): Outcome {
    bytes.forEach((b, i) => m.core.memory.writable(m.frameOf(VIRT_BASE))[i] = b); // prettier-ignore
    m.v.cpu.set('rip', VIRT_BASE);
    m.v.cpu.set('rsp', STACK);
    return raise(m, vector, vector === 13 ? 0 : -1);
  }
  const done = (m: TestMachine, length: number): void =>
    assert.equal(m.v.cpu.get('rip'), VIRT_BASE + BigInt(length), m.domain.state.crashText);

  it('reads all ones from ports once the guest raised its IOPL', () => {
    const m = testMachine();
    withHandlers(m, { vector: 13 });
    emulate(m, [0xe4, 0x61]);
    assert.equal(m.v.cpu.get('rip'), HANDLER + 13n, 'IOPL 0: the guest gets its fault');
    m.put(u32, 1);
    assert.equal(m.call('physdev_op', 6, SCRATCH).result, 0n);
    m.v.cpu.set('rax', 0x1234_5678_9abc_de00n);
    emulate(m, [0xe4, 0x61]);
    done(m, 2);
    assert.equal(m.v.cpu.get('rax'), 0x1234_5678_9abc_deffn);
    emulate(m, [0x66, 0xed]);
    done(m, 2);
    assert.equal(m.v.cpu.get('rax'), 0x1234_5678_9abc_ffffn);
    emulate(m, [0xed]);
    assert.equal(m.v.cpu.get('rax'), 0xffff_ffffn);
    emulate(m, [0xfa]);
    done(m, 1);
  });

  it('shows control registers, debug registers and MSRs', () => {
    const m = testMachine();
    withHandlers(m, { vector: 13 });
    const { cpu } = m.v;
    emulate(m, [0x0f, 0x20, 0xd8]);
    done(m, 3);
    assert.equal(cpu.get('rax'), BigInt(m.v.state.kernelTable) << 12n);
    m.call('fpu_taskswitch', 1);
    emulate(m, [0x41, 0x0f, 0x20, 0xc1]);
    done(m, 4);
    assert.equal(cpu.get('r9') & 8n, 8n, 'mov r9, cr0 shows TS');
    emulate(m, [0x0f, 0x06]);
    assert.equal(cpu.get('cr0') & 8n, 0n);
    cpu.set('rax', 0x5000n);
    emulate(m, [0x0f, 0x23, 0xc0]);
    assert.equal(cpu.get('dr0'), 0x5000n);
    cpu.set('rcx', 0xc000_0101n);
    cpu.set('rax', 0x9000n);
    cpu.set('rdx', 0xffff_8880n);
    emulate(m, [0x0f, 0x30]);
    assert.equal(cpu.get('gs_base'), 0xffff_8880_0000_9000n);
    emulate(m, [0x0f, 0x32]);
    assert.deepEqual([cpu.get('rax'), cpu.get('rdx')], [0x9000n, 0xffff_8880n]);
    cpu.set('rcx', 0x1234n);
    emulate(m, [0x0f, 0x32]);
    assert.equal(cpu.get('rip'), HANDLER + 13n, 'an unknown MSR is the guest’s #GP');
    assert.deepEqual(m.traps.filter((t) => t === 'rdmsr').length, 1);
  });

  it('answers CPUID behind the emulation prefix, and gives other #UD to the guest', () => {
    const m = testMachine();
    withHandlers(m, { vector: 6 });
    m.v.cpu.set('rax', 0x4000_0000n);
    emulate(m, [0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2], 6);
    done(m, 7);
    const text = (['rbx', 'rcx', 'rdx'] as const).map((r) =>
      String.fromCharCode(...new Uint8Array(new BigUint64Array([m.v.cpu.get(r)]).buffer).slice(0, 4)),
    );
    assert.equal(text.join(''), 'XenVMMXenVMM');
    emulate(m, [0x0f, 0x0b, 0x90, 0x90, 0x90, 0x90, 0x90], 6);
    assert.equal(m.v.cpu.get('rip'), HANDLER + 6n);
  });

  it('leaves HLT and friends to the guest', () => {
    const m = testMachine();
    withHandlers(m, { vector: 13 });
    for (const bytes of [[0xf4], [0x0f, 0x01, 0x3f], [0x0f, 0x22, 0xc0]]) {
      m.v.cpu.set('rax', 0n);
      emulate(m, bytes);
      assert.equal(m.v.cpu.get('rip'), HANDLER + 13n);
    }
  });
});
