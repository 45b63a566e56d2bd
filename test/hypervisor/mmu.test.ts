import assert from 'node:assert/strict';
import { DOMID } from '../../src/abi/domains';
import { u32 } from '../../src/abi/layout';
import { MMUEXT, PTE, makePte, mmu_update, mmuext_op } from '../../src/abi/mmu';
import { EXIT } from '../../src/cpu/exits';
import { checkFrames } from '../../src/hypervisor/check';
import { walkTables } from '../../src/hypervisor/guest-memory';
import { SCRATCH, VIRT_BASE, testMachine, type Answer, type TestMachine } from './machine';

const RO = PTE.PRESENT | PTE.USER;
const RW = RO | PTE.RW;
/** A page that nothing uses, and where it is mapped. */
const PAGE = VIRT_BASE + 300n * 4096n;
const OTHER = VIRT_BASE + 301n * 4096n;

const ext = (m: TestMachine, cmd: number, mfn: number | bigint, second = 0n): Answer =>
  m.call(
    'mmuext_op',
    m.put(mmuext_op, {
      cmd,
      arg1: { mfn: BigInt(mfn), linear_addr: BigInt(mfn) },
      arg2: { nr_ents: 0, vcpumask: 0n, src_mfn: second },
    }),
    1,
    0,
    DOMID.SELF,
  );

const update = (m: TestMachine, ptr: bigint, val: bigint): Answer =>
  m.call('mmu_update', m.put(mmu_update, { ptr, val }), 1, 0, DOMID.SELF);

function leafOf(m: TestMachine, va: bigint): bigint {
  const leaf = walkTables(m.core.memory, m.v.state.kernelTable, va)[3];
  assert.ok(leaf);
  return leaf.entry;
}
function leafAddress(m: TestMachine, va: bigint): bigint {
  const leaf = walkTables(m.core.memory, m.v.state.kernelTable, va)[3];
  assert.ok(leaf);
  return (BigInt(leaf.table) << 12n) + BigInt(leaf.index * 8);
}

const refused = (answer: Answer, errno: string, reason: RegExp): void => {
  assert.equal(answer.errno, errno, answer.reason);
  assert.match(answer.reason ?? '', reason);
};

describe('page tables', () => {
  it('adds what ring 3 needs to an entry, and marks the kernel’s pages', () => {
    const m = testMachine();
    const mfn = m.frameOf(PAGE);
    assert.equal(m.call('update_va_mapping', PAGE, makePte(mfn, PTE.PRESENT | PTE.RW), 0).result, 0n);
    assert.equal(leafOf(m, PAGE), makePte(mfn, RW | PTE.GUEST_KERNEL));
    assert.equal(m.call('update_va_mapping', PAGE, makePte(mfn, RW), 0).result, 0n);
    assert.equal(leafOf(m, PAGE), makePte(mfn, RW | PTE.GLOBAL));
  });

  it('refuses flags that are not the guest’s to set', () => {
    const m = testMachine();
    const mfn = m.frameOf(PAGE);
    refused(
      m.call('update_va_mapping', PAGE, makePte(mfn, RW | PTE.PCD), 0),
      'EINVAL',
      /flags that are not the guest's to set: 0x10 \(PCD\)/,
    );
    // Bits 52 to 62 are the guest's, whatever a Xen built for debugging makes of the last.
    assert.equal(m.call('update_va_mapping', PAGE, makePte(mfn, RW | (1n << 62n)), 0).errno, undefined);
    assert.equal(m.call('update_va_mapping', PAGE, makePte(mfn, RW | (1n << 61n)), 0).result, 0n);
  });

  it('refuses frames that are not the domain’s, and I/O space', () => {
    const m = testMachine({ domains: 2 });
    const theirs = [...m.hv.domains.values()][1]?.state.p2m[300] ?? 0;
    const xen = m.core.slots.m2pFrame;
    refused(m.call('update_va_mapping', PAGE, makePte(theirs, RO), 0), 'EBUSY', /does not belong to d1/);
    refused(m.call('update_va_mapping', PAGE, makePte(xen, RO), 0), 'EBUSY', /Xen.*does not belong to d1/);
    refused(m.call('update_va_mapping', PAGE, makePte(0xfee00, RO), 0), 'EPERM', /may not map I\/O space/);
    assert.deepEqual(checkFrames(m.core), []);
  });

  it('keeps tables from being mapped writable, in either order', () => {
    const m = testMachine();
    const table = m.frameOf(PAGE);
    refused(
      ext(m, MMUEXT.MMUEXT_PIN_L1_TABLE, table),
      'EINVAL',
      /in use as writable, so it cannot become L1/,
    );
    assert.equal(m.call('update_va_mapping', PAGE, makePte(table, RO), 0).result, 0n);
    const flushes = m.cpu.flushes;
    assert.equal(ext(m, MMUEXT.MMUEXT_PIN_L1_TABLE, table).result, 0n);
    assert.ok(m.cpu.flushes > flushes, 'stale writable translations are flushed');
    refused(
      m.call('update_va_mapping', PAGE, makePte(table, RW), 0),
      'EBUSY',
      /writable, but it is in use as L1/,
    );
    refused(m.call('update_va_mapping', OTHER, makePte(table, RW), 0), 'EBUSY', /in use as L1/);
    assert.equal(ext(m, MMUEXT.MMUEXT_UNPIN_TABLE, table).result, 0n);
    assert.equal(m.call('update_va_mapping', PAGE, makePte(table, RW), 0).result, 0n);
    assert.deepEqual(checkFrames(m.core), []);
  });

  it('checks every entry of a frame before it becomes a table, and undoes the rest', () => {
    const m = testMachine();
    const table = m.frameOf(PAGE);
    m.core.memory.write64(table, 3, makePte(m.frameOf(OTHER), RO));
    m.core.memory.write64(table, 9, makePte(m.core.slots.m2pFrame, RW));
    m.call('update_va_mapping', PAGE, makePte(table, RO), 0);
    refused(
      ext(m, MMUEXT.MMUEXT_PIN_L1_TABLE, table),
      'EBUSY',
      /cannot become an L1 table, entry 9: L1 entry/,
    );
    refused(ext(m, MMUEXT.MMUEXT_PIN_L2_TABLE, table), 'EINVAL', /cannot become an L2 table, entry 3/);
    assert.deepEqual(checkFrames(m.core), []);
  });

  it('refuses pinning twice, and unpinning what is not pinned', () => {
    const m = testMachine();
    const table = m.frameOf(PAGE);
    m.call('update_va_mapping', PAGE, makePte(table, RO), 0);
    refused(ext(m, MMUEXT.MMUEXT_UNPIN_TABLE, table), 'EINVAL', /is not pinned/);
    assert.equal(ext(m, MMUEXT.MMUEXT_PIN_L1_TABLE, table).result, 0n);
    refused(ext(m, MMUEXT.MMUEXT_PIN_L1_TABLE, table), 'EINVAL', /pinned already/);
  });

  it('lets a table name itself read-only only', () => {
    const m = testMachine();
    const l4 = m.v.state.kernelTable;
    const slot = (BigInt(l4) << 12n) + 300n * 8n;
    assert.equal(update(m, slot, makePte(l4, RO)).result, 0n);
    refused(update(m, slot, makePte(l4, RW)), 'EINVAL', /maps its own table writable/);
    assert.deepEqual(checkFrames(m.core), []);
  });

  it('keeps Xen’s slots of an L4', () => {
    const m = testMachine();
    const at = (slot: number): bigint => (BigInt(m.v.state.kernelTable) << 12n) + BigInt(slot * 8);
    for (const slot of [256, 260, 271])
      refused(update(m, at(slot), 0n), 'EINVAL', new RegExp(`L4 slot ${slot} .*Xen's`));
    assert.equal(update(m, at(272), 0n).result, 0n);
    assert.equal(update(m, at(255), 0n).result, 0n);
  });

  it('writes ordinary pages and keeps accessed and dirty bits when asked', () => {
    const m = testMachine();
    const page = BigInt(m.frameOf(PAGE)) << 12n;
    assert.equal(update(m, page + 16n, 0x1234n).result, 0n);
    assert.equal(m.core.memory.read64(m.frameOf(PAGE), 2), 0x1234n);
    const mfn = m.frameOf(OTHER);
    m.call('update_va_mapping', OTHER, makePte(mfn, RW | PTE.ACCESSED | PTE.DIRTY), 0);
    update(m, leafAddress(m, OTHER) | 2n, makePte(mfn, RW));
    assert.equal(leafOf(m, OTHER) & (PTE.ACCESSED | PTE.DIRTY), PTE.ACCESSED | PTE.DIRTY);
    update(m, leafAddress(m, OTHER), makePte(mfn, RW));
    assert.equal(leafOf(m, OTHER) & (PTE.ACCESSED | PTE.DIRTY), 0n);
    refused(update(m, page | 5n, 0n), 'ENOSYS', /no command 5/);
  });

  it('says which element of a batch failed, and how many were done', () => {
    const m = testMachine();
    const page = BigInt(m.frameOf(PAGE)) << 12n;
    m.put(mmu_update, { ptr: page, val: 1n }, SCRATCH);
    m.put(mmu_update, { ptr: page + 8n, val: 2n }, SCRATCH + 16n);
    m.put(mmu_update, { ptr: page | 7n, val: 3n }, SCRATCH + 32n);
    const done = SCRATCH + 256n;
    const answer = m.call('mmu_update', SCRATCH, 3, done, DOMID.SELF);
    refused(answer, 'ENOSYS', /^element 2 of 3: /);
    assert.equal(m.fetch(u32, done), 2);
  });

  it('names the address and the level when arguments cannot be read', () => {
    const m = testMachine();
    refused(
      m.call('mmu_update', VIRT_BASE - 4096n, 1, 0, DOMID.SELF),
      'EFAULT',
      /0xffffffff7ffff000: the L3 entry 509 of mfn .* is not present/,
    );
    refused(
      m.call('mmu_update', 0xffff_8000_0000_0000n, 1, 0, DOMID.SELF),
      'EFAULT',
      /not in the guest's part/,
    );
    refused(m.call('mmu_update', 0x1_0000_0000_0000n, 1, 0, DOMID.SELF), 'EFAULT', /guest's part|canonical/);
  });

  it('refuses other domains', () => {
    const m = testMachine({ domains: 2 });
    refused(
      m.call('mmu_update', SCRATCH, 1, 0, 2),
      'EPERM',
      /may not update the tables or map the frames of domain 2/,
    );
    refused(m.call('mmu_update', SCRATCH, 1, 0, 9), 'ESRCH', /no domain 9/);
    refused(m.call('update_va_mapping_otherdomain', PAGE, 0, 0, 2), 'EPERM', /domain 2/);
  });

  it('switches base tables, and refuses what is no L4', () => {
    const m = testMachine();
    refused(ext(m, MMUEXT.MMUEXT_NEW_BASEPTR, m.frameOf(PAGE)), 'EINVAL', /in use as writable/);
    const l4 = m.frameOf(PAGE);
    const old = m.v.state.kernelTable;
    for (const slot of [0, 511]) m.core.memory.write64(l4, slot, m.core.memory.read64(old, slot));
    m.call('update_va_mapping', PAGE, makePte(l4, RO), 0);
    assert.equal(ext(m, MMUEXT.MMUEXT_PIN_L4_TABLE, l4).result, 0n);
    assert.equal(ext(m, MMUEXT.MMUEXT_NEW_BASEPTR, l4).result, 0n);
    assert.equal(m.v.cpu.get('cr3'), BigInt(l4) << 12n);
    assert.equal(ext(m, MMUEXT.MMUEXT_NEW_USER_BASEPTR, old).result, 0n);
    assert.equal(m.v.state.userTable, old);
    assert.equal(ext(m, MMUEXT.MMUEXT_NEW_USER_BASEPTR, 0).result, 0n);
    assert.equal(m.v.state.userTable, undefined);
    assert.deepEqual(checkFrames(m.core), []);
  });

  it('clears and copies ordinary pages only', () => {
    const m = testMachine();
    const mfn = m.frameOf(PAGE);
    m.core.memory.write64(mfn, 0, 7n);
    assert.equal(ext(m, MMUEXT.MMUEXT_COPY_PAGE, m.frameOf(OTHER), BigInt(mfn)).result, 0n);
    assert.equal(m.core.memory.read64(m.frameOf(OTHER), 0), 7n);
    assert.equal(ext(m, MMUEXT.MMUEXT_CLEAR_PAGE, mfn).result, 0n);
    assert.equal(m.core.memory.read64(mfn, 0), 0n);
    refused(ext(m, MMUEXT.MMUEXT_CLEAR_PAGE, m.v.state.kernelTable), 'EINVAL', /in use as L4/);
    refused(ext(m, MMUEXT.MMUEXT_FLUSH_CACHE, 0), 'EACCES', /no caches/);
    refused(ext(m, MMUEXT.MMUEXT_MARK_SUPER, 0), 'EOPNOTSUPP', /superpages/);
    refused(ext(m, 14, 0), 'ENOSYS', /no command 14/);
  });

  it('checks descriptors, and holds the pages of a GDT', () => {
    const m = testMachine();
    const page = m.frameOf(PAGE);
    const data = 0x00cf_9300_0000_ffffn;
    m.core.memory.write64(page, 1, data);
    m.put(u32, page);
    m.core.memory.write64(m.frameOf(SCRATCH), 0, BigInt(page));
    refused(m.call('set_gdt', SCRATCH, 16), 'EINVAL', /GDT page 0.*in use as writable/);
    m.call('update_va_mapping', PAGE, makePte(page, RO), 0);
    m.core.memory.write64(m.frameOf(SCRATCH), 0, BigInt(page));
    assert.equal(m.call('set_gdt', SCRATCH, 16).result, 0n);
    assert.equal(m.core.memory.read64(page, 1), data | (3n << 45n), 'the privilege level is raised to 3');
    refused(m.call('update_va_mapping', PAGE, makePte(page, RW), 0), 'EBUSY', /in use as segdesc/);
    const at = (BigInt(page) << 12n) + 16n;
    assert.equal(m.call('update_descriptor', at, data).result, 0n);
    refused(m.call('update_descriptor', at, 0x0000_8b00_0000_0067n), 'EINVAL', /system segment of type 0xb/);
    refused(m.call('set_gdt', SCRATCH, 7169), 'EINVAL', /7168 on are Xen's/);
    assert.deepEqual(checkFrames(m.core), []);
  });

  it('maps pages of an LDT when the processor misses them, and lets go when the guest does', () => {
    const m = testMachine();
    const page = m.frameOf(PAGE);
    const LDT_AREA = 0xffff_8200_0001_0000n;
    const miss = (offset: bigint): string => {
      m.v.cpu.setInt('exit_vector', 14);
      m.v.cpu.set('exit_error', 0n);
      m.v.cpu.set('exit_address', LDT_AREA + offset);
      return m.hv.handleExit(m.v, EXIT.EXCEPTION);
    };
    m.core.memory.write64(page, 1, 0x00cf_9300_0000_ffffn);
    m.call('update_va_mapping', PAGE, makePte(page, RO), 0);
    const set = m.put(mmuext_op, {
      cmd: MMUEXT.MMUEXT_SET_LDT,
      arg1: { mfn: PAGE, linear_addr: PAGE },
      arg2: { nr_ents: 0, vcpumask: 0n, src_mfn: 16n },
    });
    assert.equal(m.call('mmuext_op', set, 1, 0, DOMID.SELF).result, 0n);
    assert.equal(m.v.cpu.get('ldt_base'), LDT_AREA);
    assert.equal(miss(8n), 'run');
    const entry = new Uint8Array(8);
    assert.equal(m.v.cpu.readLinear(LDT_AREA + 8n, entry, 0), 8);
    assert.equal(
      new DataView(entry.buffer).getBigUint64(0, true),
      0x00cf_f300_0000_ffffn,
      'checked, at level 3',
    );
    refused(m.call('update_va_mapping', PAGE, makePte(page, RW), 0), 'EBUSY', /in use as segdesc/);
    assert.deepEqual(checkFrames(m.core), []);
    // Taking the mapping away takes the page out of the LDT, so that it can become something else.
    assert.equal(m.call('update_va_mapping', PAGE, 0n, 0).result, 0n);
    assert.equal(m.v.state.ldtPages.length, 0);
    assert.deepEqual(checkFrames(m.core), []);
    // Now the fault is the guest's, at the address that it knows.
    m.v.state.traps[14] = { cs: 0xe033, flags: 0, address: VIRT_BASE + 0x1000n };
    m.v.cpu.set('rsp', VIRT_BASE + 0x7000n);
    assert.equal(miss(8n), 'run');
    assert.equal(m.v.state.cr2, PAGE + 8n);
  });
});
