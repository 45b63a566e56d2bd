/** Every hypercall with random arguments, from wild pointers to nearly right structures: nothing may break. */
import assert from 'node:assert/strict';
import { errnoName } from '../../src/abi/errno';
import { EXIT } from '../../src/cpu/exits';
import { checkFrames } from '../../src/hypervisor/check';
import { Refusal, hypercall } from '../../src/hypervisor/hypercall';
import { HYPERCALLS } from '../../src/hypervisor/hypercalls/table';
import { seeded } from '../support/random';
import { SCRATCH, testMachine, type TestMachine } from './machine';

/** Calls that end the domain, by design. */
const deadly = new Set(['sched_op', 'sched_op_compat', 'iret']);

function fuzz(seed: number, steps: number): { machine: TestMachine; ended: number } {
  const r = seeded(seed);
  let m = testMachine({ vcpus: 2 });
  let ended = 0;
  for (let n = 0; n < steps; n++) {
    const page = new Uint8Array(512);
    for (let i = 0; i < page.length; i += 4) {
      // Small numbers are commands, counts and ports; now and then a frame or an address.
      const value = r.chance(3) ? Number(r.wild() & 0xffff_ffffn) : r.below(40);
      new DataView(page.buffer).setUint32(i, value, true);
    }
    m.v.cpu.writeLinear(SCRATCH, page, 3);
    const arg = (): bigint =>
      r.chance(2) ? BigInt(r.below(48)) : r.chance(2) ? SCRATCH + BigInt(r.below(64) * 8) : r.wild();
    const declared = r.pick(HYPERCALLS);
    const nr = r.chance(30) ? r.below(200) : declared.nr;
    if (deadly.has(declared.name) && !r.chance(4)) continue;
    const registers = ['rdi', 'rsi', 'rdx', 'r10', 'r8', 'r9'] as const;
    const args = registers.map(arg);
    // Counts are kept small: a batch of 2^32 elements is only slow.
    if (declared.name.startsWith('mmu') || declared.name === 'grant_table_op')
      args[declared.nr === 20 ? 2 : 1] = BigInt(r.below(4));
    if (declared.nr === 13) args[1] = BigInt(r.below(6));
    m.v.cpu.set('rax', BigInt(nr));
    registers.forEach((name, i) => m.v.cpu.set(name, args[i] ?? 0n));
    m.v.cpu.set('rsp', SCRATCH + 2048n);
    m.hv.scheduled(m.v, true);
    m.hv.handleExit(m.v, EXIT.SYSCALL);
    const call = m.calls[m.calls.length - 1];
    if (call !== undefined) {
      const view = m.hv.view(m.v, call);
      assert.ok(view.name.length > 0);
      if (call.errno !== undefined)
        assert.ok((call.reason ?? '').length > 4, `${view.name} refuses without a reason`);
      assert.equal(call.errno === undefined ? undefined : errnoName(call.result ?? 0n), call.errno);
    }
    assert.deepEqual(
      m.log.filter((l) => l.startsWith('error')),
      [],
      `seed ${seed}, step ${n}: ${declared.name}(${args.map((a) => a.toString(16)).join(', ')})`,
    );
    if (n % 200 === 0) assert.deepEqual(checkFrames(m.core), [], `seed ${seed}, step ${n}`);
    if (m.domain.state.shutdown !== undefined || m.v.state.run !== 'running' || !m.v.state.kernelMode) {
      ended++;
      m = testMachine({ vcpus: 2 });
    }
  }
  return { machine: m, ended };
}

describe('the hypercall table under random arguments', function () {
  this.timeout(120_000);

  it('answers each with a result or a reason, and keeps its frames in order', () => {
    for (let seed = 1; seed <= 6; seed++) fuzz(seed, 3000);
  });

  it('declares every number once, and every sub-operation once', () => {
    const numbers = HYPERCALLS.map((d) => d.nr);
    assert.equal(new Set(numbers).size, numbers.length);
    for (const d of HYPERCALLS) {
      const cmds = d.ops.map((o) => o.cmd);
      assert.equal(new Set(cmds).size, cmds.length, d.name);
      assert.ok(d.doc.length > 0, d.name);
    }
  });

  it('says so, once, when something declared is missing', () => {
    const m = testMachine();
    // Nothing in the table is, at present.
    const missing = hypercall({ name: 'missing_op', nr: 63, doc: 'nowhere', args: {} });
    assert.equal(missing.status, 'unimplemented');
    const { core, domain, v } = m;
    const context = {
      core,
      domain,
      vcpu: v,
      guest: v.guest,
      note: () => undefined,
      spend: () => false,
      goOnWith: () => undefined,
    };
    for (let i = 0; i < 3; i++) {
      assert.throws(
        () => missing.run(context, []),
        (e) =>
          e instanceof Refusal &&
          e.errno === 'ENOSYS' &&
          e.reason === 'missing_op is declared but not implemented',
      );
    }
    assert.equal(m.log.filter((l) => l.includes('missing_op')).length, 1);
  });
});
