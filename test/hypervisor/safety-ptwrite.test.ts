/** Stores of the guest's kernel to its own page tables, by the real processor: what comes out is checked like mmu_update. */
import assert from 'node:assert/strict';
import { DOMID } from '../../src/abi/domains';
import { MMUEXT, PTE, VMASST_TYPE, makePte, mmuext_op } from '../../src/abi/mmu';
import { EXIT } from '../../src/cpu/exits';
import { checkFrames } from '../../src/hypervisor/check';
import { realCpu, writableTranslations, type RealCpu } from './real-cpu';
import { VIRT_BASE, testMachine, type TestMachine } from './machine';

const TABLE = VIRT_BASE + 0x20_0000n;
const PAGE = VIRT_BASE + 0x21_0000n;

interface Machine {
  readonly m: TestMachine;
  readonly cpu: RealCpu;
  /** An L1 table of the guest's, mapped read-only at TABLE. */
  readonly table: number;
}

function machine(): Machine {
  const cpus: RealCpu[] = [];
  const m = testMachine({
    processor: (frames, vcpus) => {
      const cpu = realCpu(frames, vcpus);
      cpus.push(cpu);
      return cpu;
    },
  });
  const [cpu] = cpus;
  assert.ok(cpu);
  const assist = VMASST_TYPE.VMASST_TYPE_writable_pagetables;
  assert.equal(m.call('vm_assist', 0, assist).result, 0n);
  const table = m.frameOf(TABLE);
  assert.equal(m.call('update_va_mapping', TABLE, makePte(table, PTE.PRESENT), 0).result, 0n);
  const at = m.put(mmuext_op, {
    cmd: MMUEXT.MMUEXT_PIN_L1_TABLE,
    arg1: { mfn: BigInt(table), linear_addr: BigInt(table) },
    arg2: { nr_ents: 0, vcpumask: 0n, src_mfn: 0n },
  });
  assert.equal(m.call('mmuext_op', at, 1, 0, DOMID.SELF).result, 0n);
  return { m, cpu, table };
}

/** Runs one instruction until it is through, or the domain has ended. @returns whether it went through */
function execute({ m }: Machine, code: readonly number[], registers: Readonly<Record<string, bigint>>): boolean {
  const { v } = m;
  v.cpu.writeLinear(VIRT_BASE, Uint8Array.from([...code, 0xeb, 0xfe]), 0);
  v.cpu.set('rip', VIRT_BASE);
  for (const [name, value] of Object.entries(registers)) v.cpu.set(name as 'rax', value);
  for (let round = 0; round < 20; round++) {
    if (v.cpu.get('rip') !== VIRT_BASE) return true;
    if (v.cpu.run(v.cpu.get('icount') + 1n) === EXIT.LIMIT) continue;
    if (m.hv.handleExit(v, EXIT.EXCEPTION) === 'shutdown') return false;
  }
  return v.cpu.get('rip') !== VIRT_BASE;
} // prettier-ignore

const MOV_STORE = [0x48, 0x89, 0x07];
const REP_STOSQ = [0xf3, 0x48, 0xab];
const MOVSQ = [0x48, 0xa5];

function settled({ m, cpu, table }: Machine): void {
  assert.deepEqual(checkFrames(m.core), []);
  const { frames } = m.core;
  assert.equal(frames.type[table], 1);
  for (const t of writableTranslations(cpu.mem)) {
    assert.notEqual(t.mfn, table, 'no way to write to the table is left');
    assert.equal(frames.owner[t.mfn], m.domain.id, frames.describe(t.mfn));
  }
  assert.deepEqual(
    m.log.filter((l) => l.startsWith('error')),
    [],
  );
}

describe('stores to page tables', () => {
  it('take effect when the entry may be', () => {
    const x = machine();
    const data = x.m.frameOf(PAGE);
    assert.ok(execute(x, MOV_STORE, { rdi: TABLE + 8n, rax: makePte(data, PTE.PRESENT | PTE.RW) }));
    assert.equal(x.m.core.memory.read64(x.table, 1) & 3n, 3n);
    settled(x);
  });

  it('fault when they would map a table writable: itself, another, or what is not the guest’s', () => {
    const l4 = (x: Machine): number => x.m.v.state.kernelTable;
    const forbidden: ((x: Machine) => number)[] = [
      (x) => x.table,
      l4,
      (x) => x.m.core.slots.m2pFrame,
      () => 0xfffff,
    ];
    for (const frame of forbidden) {
      const x = machine();
      const entry = makePte(frame(x), PTE.PRESENT | PTE.RW | PTE.USER);
      assert.equal(execute(x, MOV_STORE, { rdi: TABLE + 8n, rax: entry }), false);
      assert.match(x.m.domain.state.crashText ?? '', /#PF/);
      assert.equal(x.m.core.memory.read64(x.table, 1), 0n);
      settled(x);
    }
  });

  it('copied from the table itself leave no translation of the stand-in', () => {
    const x = machine();
    // The same table under a second address: read there, written here, in one instruction.
    assert.equal(x.m.call('update_va_mapping', PAGE, makePte(x.table, PTE.PRESENT), 0).result, 0n);
    assert.ok(execute(x, MOVSQ, { rsi: PAGE, rdi: TABLE + 16n }));
    settled(x);
  });

  it('repeated over the end of the table keep what they stored', () => {
    const x = machine();
    const data = x.m.frameOf(PAGE);
    const entry = makePte(data, PTE.PRESENT);
    // The page behind the table is a table, too.
    const next = x.m.frameOf(TABLE + 0x1000n);
    assert.equal(x.m.call('update_va_mapping', TABLE + 0x1000n, makePte(next, PTE.PRESENT), 0).result, 0n);
    const at = x.m.put(mmuext_op, {
      cmd: MMUEXT.MMUEXT_PIN_L1_TABLE,
      arg1: { mfn: BigInt(next), linear_addr: BigInt(next) },
      arg2: { nr_ents: 0, vcpumask: 0n, src_mfn: 0n },
    });
    assert.equal(x.m.call('mmuext_op', at, 1, 0, DOMID.SELF).result, 0n);
    assert.ok(execute(x, REP_STOSQ, { rdi: TABLE + 0xff0n, rcx: 4n, rax: entry }));
    assert.equal(x.m.v.cpu.get('rcx'), 0n);
    assert.equal(x.m.v.cpu.get('rdi'), TABLE + 0x1010n);
    const present = (mfn: number, i: number): boolean => (x.m.core.memory.read64(mfn, i) & PTE.PRESENT) !== 0n;
    assert.deepEqual(
      [present(x.table, 509), present(x.table, 510), present(x.table, 511), present(next, 0), present(next, 1), present(next, 2)],
      [false, true, true, true, true, false],
    );
    settled(x);
  }); // prettier-ignore

  it('do not work through Xen’s own slots', () => {
    const x = machine();
    const l4 = x.m.v.state.kernelTable;
    // The linear page table, slot 258: the L4 seen as a page, and the guest's L1 table through it.
    const linear = 0xffff_8100_0000_0000n;
    const index = (level: number): bigint => (TABLE >> BigInt(3 + 9 * level)) & 511n;
    const entryOf = linear | (index(4) << 30n) | (index(3) << 21n) | (index(2) << 12n) | (index(1) << 3n);
    const before = x.m.core.memory.bytes(l4).slice();
    assert.equal(execute(x, MOV_STORE, { rdi: entryOf, rax: 0n }), false);
    assert.deepEqual(x.m.core.memory.bytes(l4).slice(), before);
    settled(x);
  });
});
