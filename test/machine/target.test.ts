/** What a debugger asks of a machine, answered by a real one that runs the sample. */
import assert from 'node:assert/strict';
import type { Translation, Untranslated } from '../../src/cpu/types';
import { loadImage } from '../../src/guest/image';
import { guestSymbols } from '../../src/debugger/guest-symbols';
import type { Machine } from '../../src/machine/machine';
import type { Register, Stop, StopPoint, Target, VcpuRef } from '../../src/machine/target';
import {
  HOSTILE,
  SAMPLE,
  domain,
  machineOf,
  runTo,
  watch,
  wholeTrace,
  type Watched,
} from '../support/machines';
import { VIRT_BASE, noteSegment, pvKernel, pvNotes, xenNote } from '../support/elf-builder';

const vcpu: VcpuRef = { domain: 1, vcpu: 0 };
const virtual = { kind: 'virtual', vcpu } as const;
const config = domain(SAMPLE);

const number = (bytes: Uint8Array): bigint =>
  bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
const bytes = (value: bigint, length = 8): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));

async function register(target: Target, name: string): Promise<bigint> {
  const found: Register | undefined = (await target.registers(vcpu)).find((r) => r.name === name);
  assert.ok(found, name);
  return number(found.bytes);
}

/** Where the sample's symbols are. */
let symbol: (name: string) => bigint;
before(async () => {
  const index = await guestSymbols(config.kernel);
  symbol = (name) => {
    const found = index.find(name);
    assert.ok(found !== undefined, `the sample has no symbol ${name}`);
    return found;
  };
});

const make = (): Promise<Watched> => watch(config);

/** A kernel of these bytes of code. */
function codeKernel(...code: number[]): Uint8Array {
  const data = new Uint8Array(4096);
  data.set(code);
  const entry = VIRT_BASE + 0x100000n;
  return pvKernel({
    entry,
    segments: [{ vaddr: entry, paddr: 0x100000n, data }, noteSegment(pvNotes(xenNote(3, VIRT_BASE)))],
  });
}

async function stoppedAt(
  points: readonly StopPoint[],
): Promise<{ target: Target; stop: Stop; run: Watched }> {
  const run = await make();
  await run.target.setStops(points);
  return { target: run.target, stop: await run.target.run({}), run };
}

describe('stops', () => {
  it('instruction: before the instruction, once, and on with the run', async () => {
    const address = symbol('guest_main');
    const { target, stop } = await stoppedAt([{ kind: 'instruction', id: 7, address }]);
    assert.deepEqual(stop.reason, { kind: 'instruction', ids: [7] });
    assert.equal(await register(target, 'rip'), address);
    assert.equal((await target.run({})).reason.kind, 'shutdown');
  });

  it('instruction: of another domain is none of ours', async () => {
    const { stop } = await stoppedAt([
      { kind: 'instruction', id: 7, address: symbol('guest_main'), domain: 2 },
    ]);
    assert.equal(stop.reason.kind, 'shutdown');
  });

  it('hypercall entry: decoded arguments, nothing done yet', async () => {
    const { target, stop } = await stoppedAt([
      { kind: 'hypercall', id: 3, name: 'mmu_update', when: 'entry' },
    ]);
    assert.ok(stop.reason.kind === 'hypercall', stop.reason.kind);
    assert.deepEqual(
      [stop.reason.ids, stop.reason.when, stop.reason.call.name],
      [[3], 'entry', 'mmu_update'],
    );
    assert.equal(stop.reason.call.result, undefined);
    assert.deepEqual(
      stop.reason.call.args.map(({ name }) => name),
      ['ureqs', 'count', 'pdone', 'foreigndom'],
    );
    const current = await target.currentHypercall(vcpu);
    assert.equal(current?.name, 'mmu_update');
    assert.ok(!(await wholeTrace(target)).some(({ call }) => call.name === 'mmu_update'));
  });

  it('hypercall return: with its result, and in the trace', async () => {
    const { target, stop } = await stoppedAt([
      { kind: 'hypercall', id: 3, name: 'mmu_update', when: 'return' },
    ]);
    assert.ok(stop.reason.kind === 'hypercall' && stop.reason.when === 'return');
    assert.notEqual(stop.reason.call.result, undefined);
    assert.equal(await register(target, 'rax'), stop.reason.call.result);
    assert.equal((await wholeTrace(target)).at(-1)?.call.name, 'mmu_update');
  });

  it('every hypercall once: as many returns as the trace has records', async () => {
    const { target, stop } = await stoppedAt([{ kind: 'hypercall', id: 1, name: '*', when: 'return' }]);
    let last = stop;
    let returns = 0;
    for (; last.reason.kind === 'hypercall'; returns++) last = await target.run({});
    // shutdown is traced, and does not return.
    const { total } = await target.traceSummary();
    assert.ok(total - returns >= 0 && total - returns <= 1, `${returns} returns, ${total} records`);
    assert.equal((await wholeTrace(target)).length, total);
  });

  it('a sub-operation by name, and only it', async () => {
    const { target, stop } = await stoppedAt([
      { kind: 'hypercall', id: 1, name: 'event_channel_op.alloc_unbound', when: 'entry' },
    ]);
    assert.ok(stop.reason.kind === 'hypercall' && stop.reason.call.op === 'alloc_unbound');
    assert.equal((await target.run({})).reason.kind, 'shutdown');
  });

  const conditions: [string, string][] = [
    ['update_va_mapping', 'errno == EBUSY'],
    ['update_va_mapping', 'result != 0'],
    ['mmuext_op', 'errno == "EINVAL"'],
  ];
  for (const [name, condition] of conditions) {
    it(`hypercall return under the condition ${condition}`, async () => {
      const { target, stop } = await stoppedAt([
        { kind: 'hypercall', id: 1, name, when: 'return', condition },
      ]);
      assert.ok(stop.reason.kind === 'hypercall', stop.reason.kind);
      assert.ok(stop.reason.call.errno === (name === 'mmuext_op' ? 'EINVAL' : 'EBUSY'));
      assert.ok((stop.reason.call.reason ?? '') !== '');
      await target.dispose();
    });
  }

  it('hypercall entry under a condition over its arguments', async () => {
    const { stop } = await stoppedAt([
      {
        kind: 'hypercall',
        id: 1,
        name: 'event_channel_op.bind_virq',
        when: 'entry',
        condition: 'virq == 0 && vcpu == 0',
      },
      { kind: 'hypercall', id: 2, name: 'event_channel_op.bind_virq', when: 'entry', condition: 'virq == 5' },
    ]);
    assert.ok(stop.reason.kind === 'hypercall');
    assert.deepEqual(stop.reason.ids, [1]);
  });

  it('a condition that asks for what is not there: told once, and it does not hold', async () => {
    const run = await make();
    const told: string[] = [];
    run.target.onLog((text) => told.push(text));
    await run.target.setStops([
      { kind: 'hypercall', id: 5, name: 'event_channel_op', when: 'entry', condition: 'nobody == 1' },
      { kind: 'hypercall', id: 6, name: '*', when: 'entry', condition: 'nobody == 1' },
    ]);
    assert.equal((await run.target.run({})).reason.kind, 'shutdown');
    assert.deepEqual(
      told.filter((text) => text.includes('condition')),
      ["(machine) warn: the condition of breakpoint 5 does not hold: there is no 'nobody' here"],
    );
  });

  const filters: [Extract<StopPoint, { kind: 'event' }>['filter'], RegExp][] = [
    ['hypercall-failed', /^mmuext_op\.\w+ failed: EINVAL: .{10,}/i],
    ['guest-fault', /^#PF error 0x3 at 0xffffffff[0-9a-f]+$/],
    ['event-upcall', /^event upcall on d1v0$/],
  ];
  for (const [filter, text] of filters) {
    it(`event ${filter}`, async () => {
      const { target, stop } = await stoppedAt([{ kind: 'event', id: 9, filter }]);
      assert.ok(stop.reason.kind === 'event', stop.reason.kind);
      assert.deepEqual(stop.reason.ids, [9]);
      assert.match(stop.reason.text ?? '', text);
      await target.setStops([]);
      assert.equal((await target.run({})).reason.kind, 'shutdown');
    });
  }

  it('event guest-fault under a condition', async () => {
    const { stop } = await stoppedAt([
      { kind: 'event', id: 9, filter: 'guest-fault', condition: 'vector == 13' },
      { kind: 'event', id: 10, filter: 'guest-fault', condition: 'address == 1' },
    ]);
    assert.ok(stop.reason.kind === 'event');
    assert.deepEqual([stop.reason.ids, stop.reason.text], [[9], '#GP error 0x0']);
  });

  it('event domain-crash, and the crash itself after it', async () => {
    const run = await make();
    await run.target.setStops([{ kind: 'event', id: 4, filter: 'domain-crash' }]);
    await runTo(run.target, 3n);
    await run.target.setRegister(vcpu, 'rip', bytes(0x1000n));
    const stop = await run.target.run({});
    assert.ok(stop.reason.kind === 'event', stop.reason.kind);
    assert.match(stop.reason.text ?? '', /#PF/);
    const end = await run.target.run({});
    assert.ok(end.reason.kind === 'crash');
    assert.match(end.reason.text, /0x1000/);
  });

  it('event privileged-op, by mnemonic; a step from there is one instruction', async () => {
    const run = await watch({
      ...config,
      kernel: { name: 'clts.elf', bytes: codeKernel(0x90, 0x0f, 0x06, 0x0f, 0x20, 0xc0, 0xeb, 0xfe) },
    });
    await run.target.setStops([
      { kind: 'event', id: 6, filter: 'privileged-op', condition: 'mnemonic == "mov from cr"' },
      { kind: 'event', id: 7, filter: 'privileged-op', condition: 'mnemonic == "clts"' },
    ]);
    const stop = await run.target.run({});
    assert.ok(stop.reason.kind === 'event', stop.reason.kind);
    assert.deepEqual([stop.reason.ids, stop.at.retired], [[7], 1n]);
    const rip = await register(run.target, 'rip');
    const stepped = await run.target.run({ instructions: 1n, vcpu });
    // Over the CLTS, and not yet into MOV RAX, CR0.
    assert.deepEqual([stepped.reason.kind, stepped.at.retired], ['step', 2n]);
    assert.equal(await register(run.target, 'rip'), rip + 2n);
    const next = await run.target.run({});
    assert.ok(next.reason.kind === 'event');
    assert.deepEqual(next.reason.ids, [6]);
  });

  it('a condition that is no expression is refused when it is set', async () => {
    const run = await make();
    await assert.rejects(
      run.target.setStops([{ kind: 'hypercall', id: 1, name: '*', when: 'entry', condition: 'a +' }]),
      { name: 'ExpressionError' },
    );
  });
});

describe('steps', () => {
  it('one instruction: exactly one', async () => {
    const { target } = await make();
    for (let i = 1n; i <= 50n; i++) {
      const stop = await target.run({ instructions: 1n, vcpu });
      assert.equal(stop.reason.kind, 'step');
      assert.equal(stop.at.retired, i);
    }
  });

  it('a hypercall instruction is one step, and its work is done', async () => {
    const { target } = await stoppedAt([{ kind: 'hypercall', id: 1, name: 'set_trap_table', when: 'entry' }]);
    const entered = await target.now();
    const rip = await register(target, 'rip');
    await target.setStops([]);
    const stop = await target.run({ instructions: 1n, vcpu });
    // Held in the call, the step ends where the call returns.
    assert.equal(stop.reason.kind, 'step');
    assert.equal(stop.at.retired, entered.retired);
    assert.equal(await register(target, 'rip'), rip);
    assert.equal(await target.currentHypercall(vcpu), undefined);
    assert.equal((await wholeTrace(target)).at(-1)?.call.name, 'set_trap_table');
    await target.run({ instructions: 1n, vcpu });
    assert.equal((await target.now()).retired, entered.retired + 1n);
  });

  it('a fault is a step to the first instruction of its handler', async () => {
    const { target, stop } = await stoppedAt([
      { kind: 'event', id: 1, filter: 'guest-fault', condition: 'vector == 14' },
    ]);
    const faulting = await register(target, 'rip');
    await target.setStops([]);
    const held = await target.run({ instructions: 1n, vcpu });
    assert.equal(held.reason.kind, 'step');
    assert.equal(held.at.retired, stop.at.retired);
    const handler = await register(target, 'rip');
    assert.notEqual(handler, faulting);
    const fresh = await make();
    await runTo(fresh.target, stop.at.retired);
    assert.equal(await register(fresh.target, 'rip'), faulting);
    await fresh.target.run({ instructions: 1n, vcpu });
    assert.equal(await register(fresh.target, 'rip'), handler, 'the same without the stop');
  });

  it('an upcall is stepped over, or into when asked to', async () => {
    const { stop } = await stoppedAt([{ kind: 'event', id: 1, filter: 'event-upcall' }]);
    const upcall = symbol('event_entry');
    const [over, into] = [await make(), await make()];
    for (const { target } of [over, into]) await runTo(target, stop.at.retired);
    const start = await register(over.target, 'rip');
    const stepped = await over.target.run({ instructions: 1n, vcpu });
    assert.equal(stepped.reason.kind, 'step');
    const after = await register(over.target, 'rip');
    assert.ok(
      after > start && after - start < 16n,
      `from 0x${start.toString(16)} to 0x${after.toString(16)}`,
    );
    assert.ok(stepped.at.retired > stop.at.retired + 10n, 'the handler ran meanwhile');
    await into.target.run({ instructions: 1n, vcpu, skipUpcalls: false });
    const inside = await register(into.target, 'rip');
    assert.ok(inside >= upcall && inside < upcall + 16n, `0x${inside.toString(16)}`);
  });

  it('to an address, with a guard against deeper calls', async () => {
    const { target } = await stoppedAt([{ kind: 'instruction', id: 1, address: symbol('guest_main') }]);
    await target.setStops([]);
    const rsp = await register(target, 'rsp');
    const back = number(await target.readMemory(virtual, rsp, 8));
    // hypercall() is called from everywhere below guest_main: with the guard none of those is taken.
    const at = symbol('open_console');
    const stop = await target.run({ address: { at, vcpu } });
    assert.deepEqual([stop.reason.kind, await register(target, 'rip')], ['address', at]);
    const inner = await register(target, 'rsp');
    assert.ok(inner < rsp);
    const restarted = await stoppedAt([{ kind: 'instruction', id: 1, address: symbol('guest_main') }]);
    await restarted.target.setStops([]);
    const guarded = await restarted.target.run({ address: { at, minRsp: rsp, vcpu } });
    assert.equal(guarded.reason.kind, 'shutdown');
    assert.ok(back > 0n);
  });

  it('outside of a range', async () => {
    const { target } = await stoppedAt([{ kind: 'instruction', id: 1, address: symbol('guest_main') }]);
    await target.setStops([]);
    const low = symbol('guest_main');
    const stop = await target.run({ outside: { low, high: low + 8n, vcpu } });
    const rip = await register(target, 'rip');
    assert.equal(stop.reason.kind, 'step');
    assert.ok(rip < low || rip >= low + 8n);
    assert.ok(stop.at.retired > 0n);
  });

  it('a breakpoint within a step wins', async () => {
    const { target } = await make();
    const address = symbol('guest_main');
    await target.setStops([{ kind: 'instruction', id: 5, address }]);
    const stop = await target.run({ instructions: 1_000_000n });
    assert.deepEqual(stop.reason, { kind: 'instruction', ids: [5] });
  });

  it('pause ends a run; one that comes too late does not end the next', async () => {
    const { target } = await make();
    target.onConsole(() => target.pause());
    const stop = await target.run({});
    assert.equal(stop.reason.kind, 'pause');
    target.pause();
    assert.equal((await target.run({ instructions: 1n })).reason.kind, 'step');
  });

  it('only one run at a time', async () => {
    const { target } = await watch(domain(HOSTILE, { cmdline: 'mode=loop' }));
    const first = target.run({});
    await assert.rejects(target.run({}), /running already/);
    await assert.rejects(target.restart(), /pause the machine/);
    target.pause();
    assert.equal((await first).reason.kind, 'pause');
  });

  it('a run of a domain that has ended ends at once', async () => {
    const { target } = await make();
    await target.run({});
    const { retired } = await target.now();
    for (const until of [{}, { instructions: 1n }, { address: { at: 0n } }])
      assert.equal((await target.run(until)).at.retired, retired);
  });
});

describe('registers and memory', () => {
  it('what is set is what is read', async () => {
    const { target } = await make();
    await target.setRegister(vcpu, 'rbx', bytes(0x1234_5678_9abc_def0n));
    await target.setRegister(vcpu, 'xmm3', bytes(0x11_2233_4455n, 16));
    assert.equal(await register(target, 'rbx'), 0x1234_5678_9abc_def0n);
    assert.equal(await register(target, 'xmm3'), 0x11_2233_4455n);
    await assert.rejects(target.setRegister(vcpu, 'cr3', bytes(0n)), /belongs to the hypervisor/);
    await assert.rejects(target.setRegister(vcpu, 'nonsense', bytes(0n)), /no register 'nonsense'/);
    await assert.rejects(target.setRegister(vcpu, 'rax', bytes(0n, 4)), /has 64 bits, not 32/);
    await assert.rejects(target.registers({ domain: 1, vcpu: 3 }), /no vCPU d1v3/);
  });

  it('flags that a guest may not have cannot be given to it', async () => {
    const { target } = await make();
    const before = await register(target, 'rflags');
    await target.setRegister(vcpu, 'rflags', bytes(0xffff_ffff_ffff_ffffn));
    const after = await register(target, 'rflags');
    const IOPL_IF_VM = 0x2_3200n;
    assert.equal(after & IOPL_IF_VM, before & IOPL_IF_VM);
  });

  it('one page is the same through all three address spaces', async () => {
    const { target } = await make();
    const at = symbol('guest_main');
    const code = await target.readMemory(virtual, at, 64);
    const { machineAddress, levels } = await target.walk(vcpu, at);
    assert.ok(machineAddress !== undefined);
    const pfn = levels.at(-1)?.pfn;
    assert.ok(pfn !== undefined);
    assert.deepEqual(await target.readMemory({ kind: 'machine' }, machineAddress, 64), code);
    const pseudo = (BigInt(pfn) << 12n) | (at & 0xfffn);
    assert.deepEqual(await target.readMemory({ kind: 'pseudophysical', domain: 1 }, pseudo, 64), code);
    const image = await loadImage(config.kernel.bytes, 'sample');
    const segment = image.segments.find((s) => at >= s.virtual && at < s.virtual + BigInt(s.data.length));
    assert.ok(segment);
    assert.deepEqual(
      code,
      Uint8Array.from(segment.data.slice(Number(at - segment.virtual), Number(at - segment.virtual) + 64)),
    );
  });

  it('a hole ends a read, and nothing is read where there is nothing', async () => {
    const { target } = await make();
    assert.equal((await target.readMemory(virtual, 0n, 16)).length, 0);
    assert.equal((await target.readMemory(virtual, 0x8000_0000_0000n, 16)).length, 0);
    assert.equal((await target.readMemory(virtual, 0xffff_ffff_ffff_fff0n, 64)).length, 0);
    assert.equal((await target.readMemory({ kind: 'machine' }, 1n << 40n, 16)).length, 0);
    const top = BigInt((await target.domains())[0]?.frames ?? 0) << 12n;
    const end = await target.readMemory({ kind: 'pseudophysical', domain: 1 }, top - 8n, 64);
    assert.ok(end.length <= 8);
    await assert.rejects(target.readMemory({ kind: 'pseudophysical', domain: 9 }, 0n, 8), /no domain 9/);
  });

  it('code may be written, read-only or not, and runs as written', async () => {
    const { target } = await make();
    const at = symbol('build_page_table');
    await runTo(target, 10n);
    assert.equal(await target.writeMemory(virtual, at, Uint8Array.of(0x0f, 0x0b)), 2);
    await target.setStops([{ kind: 'event', id: 1, filter: 'guest-fault' }]);
    const stop = await target.run({});
    assert.ok(stop.reason.kind === 'event' || stop.reason.kind === 'crash');
    assert.match(stop.reason.text ?? '', /#UD/);
  });

  it('page tables are the guest’s to change, by hypercall', async () => {
    const { target } = await make();
    const walk = await target.walk(vcpu, symbol('guest_main'));
    for (const { tableMfn } of walk.levels) {
      const machine = BigInt(tableMfn) << 12n;
      const before = await target.readMemory({ kind: 'machine' }, machine, 16);
      await assert.rejects(
        target.writeMemory({ kind: 'machine' }, machine, new Uint8Array(8)),
        /in use as L[1-4]/,
      );
      assert.deepEqual(await target.readMemory({ kind: 'machine' }, machine, 16), before);
    }
  });

  it('what is not a domain’s cannot be written', async () => {
    const { target } = await make();
    // The M2P, mapped for the guest to read (arch-x86/xen-x86_64.h MACH2PHYS_VIRT_START).
    assert.ok((await target.readMemory(virtual, 0xffff_8000_0000_0000n, 8)).length === 8);
    assert.equal(await target.writeMemory(virtual, 0xffff_8000_0000_0000n, new Uint8Array(8)), 0);
  });
});

describe('page tables', () => {
  for (const when of ['at the first instruction', 'in the middle'] as const) {
    it(`the walk agrees with the processor on every page, ${when}`, async () => {
      const machine: Machine = await machineOf(config);
      const end = when === 'in the middle' ? 60_000n : 1n;
      machine.run({}).slice(end, true);
      const target = await watch(config);
      await runTo(target.target, machine.clock.retired());
      const [v] = machine.vcpus();
      assert.ok(v);
      let leaves = 0;
      const visit = async (path: readonly number[]): Promise<void> => {
        for (const e of await target.target.tableEntries(vcpu, path)) {
          if (e.table) {
            if (path.length < 3) await visit([...path, e.index]);
            continue;
          }
          for (let i = 0; i < e.run; i++) {
            leaves++;
            const size = 1n << BigInt(12 + 9 * (3 - path.length));
            const address = BigInt.asUintN(64, e.virtual + BigInt(i) * size) + 0x123n;
            const walk = await target.target.walk(vcpu, address);
            const truth: Translation | Untranslated = v.cpu.translate(address, 'read', 0);
            assert.ok(truth.ok, `0x${address.toString(16)} is mapped`);
            assert.equal(walk.machineAddress, BigInt(truth.machineAddress));
            assert.equal(walk.levels.at(-1)?.index, e.index + i);
            const all = (flag: string): boolean => walk.levels.every(({ flags }) => flags.includes(flag));
            assert.equal(all('RW'), truth.writable, `0x${address.toString(16)} writable`);
            assert.equal(all('US'), truth.user, `0x${address.toString(16)} user`);
            assert.equal(!walk.levels.some(({ flags }) => flags.includes('NX')), truth.executable);
          }
        }
      };
      await visit([]);
      assert.ok(leaves > 200, `${leaves} pages`);
    });
  }

  it('says where a walk ends, and why', async () => {
    const { target } = await make();
    assert.match((await target.walk(vcpu, 0x8000_0000_0000n)).problem ?? '', /not canonical/);
    const none = await target.walk(vcpu, 0x1000n);
    assert.equal(none.machineAddress, undefined);
    assert.match(none.problem ?? '', /^L\d entry \d+ is not present$/);
    await assert.rejects(target.tableEntries(vcpu, [3]), /leads to no table/);
    await assert.rejects(target.tableEntries(vcpu, [512]), RangeError);
    await assert.rejects(target.tableEntries(vcpu, [256, 0, 0, 0, 0]), RangeError);
  });

  it('tells a frame’s owner, type and counts', async () => {
    const { target } = await make();
    const [l4] = (await target.walk(vcpu, symbol('guest_main'))).levels;
    assert.ok(l4);
    const frame = await target.frame(l4.tableMfn);
    assert.deepEqual([frame.owner, frame.type, frame.pinned], ['d1', 'L4', true]);
    assert.ok(frame.typeCount >= 1 && frame.count >= frame.typeCount);
    await assert.rejects(target.frame(1 << 30), /is not among the machine's/);
    await assert.rejects(target.frame(-1), RangeError);
    await assert.rejects(target.frame(1.5), RangeError);
  });
});
