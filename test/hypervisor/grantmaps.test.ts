/** Two domains: one grants, the other maps, unmaps, replaces and is given frames. */
import assert from 'node:assert/strict';
import { DOMID } from '../../src/abi/domains';
import {
  GNTMAP,
  GNTST,
  GNTTABOP,
  GTF,
  gnttab_map_grant_ref,
  gnttab_transfer,
  gnttab_unmap_and_replace,
  gnttab_unmap_grant_ref,
  grant_entry_v1,
} from '../../src/abi/grant';
import { ulong, type Type, type ValueOf } from '../../src/abi/layout';
import { PTE, makePte, mmu_update, pteFrame } from '../../src/abi/mmu';
import { checkFrames } from '../../src/hypervisor/check';
import { walkTables } from '../../src/hypervisor/guest-memory';
import type { Domain, GuestVcpu } from '../../src/hypervisor/types';
import { SCRATCH, VIRT_BASE, testMachine, type TestMachine } from './machine';

const PAGE = VIRT_BASE + 300n * 4096n;
const OTHER = PAGE + 4096n;
const REF = 8;
const { GNTMAP_host_map, GNTMAP_device_map, GNTMAP_readonly, GNTMAP_contains_pte } = GNTMAP;

interface Pair {
  readonly m: TestMachine;
  readonly granter: Domain;
  readonly mapper: Domain;
  readonly v: GuestVcpu;
  /** The frame that grant REF gives. */
  readonly mfn: number;
  grant(flags?: number, domid?: number, frame?: number): void;
  marks(): number;
  map(over?: Partial<ValueOf<typeof gnttab_map_grant_ref>>): ValueOf<typeof gnttab_map_grant_ref>;
  unmap(over?: Partial<ValueOf<typeof gnttab_unmap_grant_ref>>): number;
  replace(host_addr: bigint, new_addr: bigint, handle?: number): number;
  op<T>(cmd: number, type: Type<T>, value: T): T;
  /** The mapper's entry for an address, and where it stands. */
  entry(va: bigint): { readonly value: bigint; readonly address: bigint };
  write(va: bigint, value: bigint): number;
  reason(): string;
  check(): void;
}

function pair(): Pair {
  const m = testMachine({ domains: 2 });
  const [granter, mapper] = [...m.hv.domains.values()];
  const v = mapper?.vcpus[0];
  const [gv] = granter?.vcpus ?? [];
  if (granter === undefined || mapper === undefined || v === undefined || gv === undefined)
    throw new Error('two domains');
  const frameIn = (of: GuestVcpu, va: bigint): number =>
    pteFrame(walkTables(m.core.memory, of.state.kernelTable, va)[3]?.entry ?? 0n);
  const mfn = frameIn(gv, PAGE);
  const table = (): DataView => m.core.memory.view(granter.state.grantFrames[0] ?? 0);
  const p: Pair = {
    m,
    granter,
    mapper,
    v,
    mfn,
    grant: (flags = GTF.permit_access, domid = mapper.id, frame = mfn) =>
      grant_entry_v1.write(table(), REF * 8, { flags, domid, frame }),
    marks: () => grant_entry_v1.read(table(), REF * 8).flags,
    op: (cmd, type, value) => {
      const bytes = new Uint8Array(type.size);
      type.write(new DataView(bytes.buffer), 0, value);
      v.cpu.writeLinear(SCRATCH, bytes, 3);
      assert.equal(m.callOn(v, 'grant_table_op', cmd, SCRATCH, 1).result, 0n);
      v.cpu.readLinear(SCRATCH, bytes, 3);
      return type.read(new DataView(bytes.buffer), 0);
    },
    map: (over = {}) =>
      p.op(GNTTABOP.GNTTABOP_map_grant_ref, gnttab_map_grant_ref, {
        host_addr: PAGE,
        flags: GNTMAP_host_map,
        ref: REF,
        dom: granter.id,
        status: 1,
        handle: 0,
        dev_bus_addr: 0n,
        ...over,
      }),
    unmap: (over = {}) =>
      p.op(GNTTABOP.GNTTABOP_unmap_grant_ref, gnttab_unmap_grant_ref, {
        host_addr: PAGE,
        dev_bus_addr: 0n,
        handle: 0,
        status: 1,
        ...over,
      }).status,
    replace: (host_addr, new_addr, handle = 0) =>
      p.op(GNTTABOP.GNTTABOP_unmap_and_replace, gnttab_unmap_and_replace, {
        host_addr,
        new_addr,
        handle,
        status: 1,
      }).status,
    entry: (va) => {
      const leaf = walkTables(m.core.memory, v.state.kernelTable, va)[3];
      if (leaf === undefined) throw new Error('no L1 entry');
      return { value: leaf.entry, address: (BigInt(leaf.table) << 12n) | BigInt(leaf.index * 8) };
    },
    write: (va, value) => {
      const bytes = new Uint8Array(8);
      ulong.write(new DataView(bytes.buffer), 0, value);
      return v.cpu.writeLinear(va, bytes, 3);
    },
    reason: () => m.calls[m.calls.length - 1]?.reason ?? '',
    check: () => assert.deepEqual(checkFrames(m.core), []),
  };
  p.grant();
  return p;
}

describe('mapping grants of another domain', () => {
  it('maps writable, holds the frame, and gives it back', () => {
    const p = pair();
    const { frames } = p.m.core;
    const refs = frames.refs[p.mfn] ?? 0;
    const got = p.map();
    assert.equal(got.status, GNTST.GNTST_okay);
    assert.equal(got.dev_bus_addr, BigInt(p.mfn) << 12n);
    assert.equal(p.marks(), GTF.permit_access | GTF.reading | GTF.writing);
    assert.equal(frames.refs[p.mfn], refs + 1);
    assert.equal(p.write(PAGE, 0x1234n), 8);
    assert.equal(p.m.core.memory.read64(p.mfn, 0), 0x1234n);
    p.check();
    // While it is mapped writable, the granter cannot make a table of it, nor give it away.
    const [gv] = p.granter.vcpus;
    assert.ok(gv);
    assert.equal(p.m.callOn(gv, 'update_va_mapping', PAGE, 0, 0).result, 0n);
    assert.notEqual(p.m.core.types.getType(p.mfn, 1), undefined);
    assert.equal(p.unmap(), GNTST.GNTST_okay);
    assert.equal(p.entry(PAGE).value, 0n);
    assert.equal(p.marks(), GTF.permit_access);
    assert.equal(p.m.core.types.getType(p.mfn, 1), undefined);
    p.m.core.types.putType(p.mfn);
    assert.equal(p.unmap(), GNTST.GNTST_bad_handle);
    p.check();
  });

  it('maps by the address of an entry, read-only, and for devices', () => {
    const p = pair();
    p.grant(GTF.permit_access | GTF.readonly);
    assert.equal(p.map().status, GNTST.GNTST_general_error);
    assert.match(p.reason(), /for reading only/);
    const host_addr = p.entry(PAGE).address;
    const flags = GNTMAP_host_map | GNTMAP_device_map | GNTMAP_readonly | GNTMAP_contains_pte;
    const got = p.map({ host_addr, flags: flags | (5 << 16) });
    assert.equal(got.status, GNTST.GNTST_okay);
    const { value } = p.entry(PAGE);
    assert.equal(pteFrame(value), p.mfn);
    assert.equal(value & PTE.RW, 0n);
    assert.equal(value & (7n << 9n), 5n << 9n, 'GNTMAP_guest_avail');
    assert.equal(p.write(PAGE, 1n), 0);
    assert.equal(p.marks(), GTF.permit_access | GTF.readonly | GTF.reading);
    p.check();
    assert.equal(p.unmap({ host_addr: PAGE }), GNTST.GNTST_general_error, 'a virtual address');
    assert.equal(p.unmap({ host_addr, dev_bus_addr: 0x1000n }), GNTST.GNTST_bad_dev_addr);
    assert.match(p.reason(), /bus address/);
    assert.equal(p.unmap({ host_addr }), GNTST.GNTST_okay);
    assert.equal(p.marks(), GTF.permit_access | GTF.readonly | GTF.reading, 'for devices still');
    p.check();
    assert.equal(p.unmap({ host_addr: 0n, dev_bus_addr: got.dev_bus_addr }), GNTST.GNTST_okay);
    assert.equal(p.marks(), GTF.permit_access | GTF.readonly);
    p.check();
  });

  it('says why not', () => {
    const p = pair();
    const said = (status: number, reason: RegExp, over: Parameters<typeof p.map>[0]): void => {
      assert.equal(p.map(over).status, status, String(reason));
      assert.match(p.reason(), reason);
      assert.equal(p.marks() & (GTF.reading | GTF.writing), 0);
      p.check();
    };
    said(GNTST.GNTST_bad_gntref, /neither a host nor a device/, { flags: GNTMAP_readonly });
    said(GNTST.GNTST_bad_domain, /no domain 77/, { dom: 77 });
    said(GNTST.GNTST_bad_domain, /no domain 32752/, { dom: DOMID.SELF });
    said(GNTST.GNTST_bad_gntref, /512 entries/, { ref: 600 });
    said(GNTST.GNTST_general_error, /do not permit/, { ref: 9 });
    said(GNTST.GNTST_general_error, /no L1 entry/, { host_addr: 0x5000n });
    said(GNTST.GNTST_general_error, /no L1 entry/, { host_addr: 0xffff_8000_0000_0000n });
    const flags = GNTMAP_host_map | GNTMAP_contains_pte;
    said(GNTST.GNTST_general_error, /not the address of/, { host_addr: 3n, flags });
    said(GNTST.GNTST_general_error, /no such frame|not a frame of/, { host_addr: 1n << 50n, flags });
    const own = BigInt(pteFrame(p.entry(OTHER).value)) << 12n;
    said(GNTST.GNTST_general_error, /no L1 table/, { host_addr: own, flags });
    said(GNTST.GNTST_general_error, /no L1 table/, {
      host_addr: BigInt(p.v.state.kernelTable) << 12n,
      flags,
    });
    p.grant(GTF.permit_access, p.granter.id);
    said(GNTST.GNTST_general_error, /it is for d/, {});
    const [gv] = p.granter.vcpus;
    p.grant(GTF.permit_access, p.mapper.id, gv?.state.kernelTable ?? 0);
    said(GNTST.GNTST_general_error, /in use as L4/, {});
    p.grant(GTF.permit_access, p.mapper.id, pteFrame(p.entry(OTHER).value));
    said(GNTST.GNTST_bad_page, /does not belong/, {});
  });

  it('goes on as first mapped, whatever the entry says later', () => {
    const p = pair();
    assert.equal(p.map({ flags: GNTMAP_host_map | GNTMAP_readonly }).handle, 0);
    p.grant(0, 0, 0);
    const second = p.map({ host_addr: OTHER, flags: GNTMAP_host_map | GNTMAP_readonly });
    assert.equal(second.status, GNTST.GNTST_okay);
    assert.equal(second.handle, 1);
    assert.equal(pteFrame(p.entry(OTHER).value), p.mfn);
    p.grant(GTF.readonly | GTF.reading, 0, 0);
    assert.equal(
      p.map({ host_addr: OTHER }).status,
      GNTST.GNTST_general_error,
      'to write, only this is looked at again',
    );
    p.check();
    assert.equal(p.unmap({ handle: 0 }), GNTST.GNTST_okay);
    assert.equal(p.marks(), GTF.readonly | GTF.reading);
    assert.equal(p.map({ flags: GNTMAP_host_map | GNTMAP_readonly }).handle, 0, 'the lowest that is free');
    p.check();
  });

  it('replaces a mapping by another entry', () => {
    const p = pair();
    const { value } = p.entry(OTHER);
    assert.equal(p.map().status, GNTST.GNTST_okay);
    assert.equal(p.replace(PAGE, OTHER), GNTST.GNTST_okay);
    assert.equal(p.entry(PAGE).value, value);
    assert.equal(p.entry(OTHER).value, 0n);
    assert.equal(p.marks(), GTF.permit_access);
    p.check();
    const host_addr = p.entry(OTHER).address;
    assert.equal(p.map({ host_addr, flags: GNTMAP_host_map | GNTMAP_contains_pte }).status, GNTST.GNTST_okay);
    assert.equal(p.replace(host_addr, PAGE), GNTST.GNTST_general_error);
    p.check();
    assert.equal(p.unmap({ host_addr }), GNTST.GNTST_okay);
    // A wrong place: the entry that was to move is lost, as in Xen.
    assert.equal(p.map({ host_addr: OTHER }).status, GNTST.GNTST_okay);
    assert.equal(p.replace(OTHER + 4096n, PAGE), GNTST.GNTST_general_error);
    assert.equal(p.entry(PAGE).value, 0n);
    p.check();
  });

  it('lets no entry of this kind be made, copied or taken over by other calls', () => {
    const p = pair();
    assert.equal(p.map().status, GNTST.GNTST_okay);
    const { value, address } = p.entry(PAGE);
    const tried = (val: bigint, at: bigint): string | undefined => {
      const bytes = new Uint8Array(mmu_update.size);
      mmu_update.write(new DataView(bytes.buffer), 0, { ptr: at, val });
      p.v.cpu.writeLinear(SCRATCH, bytes, 3);
      const answer = p.m.callOn(p.v, 'mmu_update', SCRATCH, 1, 0, DOMID.SELF);
      p.check();
      return answer.errno;
    };
    const other = p.entry(OTHER).address;
    assert.equal(tried(value, other), 'EBUSY', 'copied');
    assert.equal(tried(value & ~PTE.RW, address), 'EBUSY', 'changed');
    assert.equal(tried(value & ~PTE.ACCESSED, address), undefined, 'changed in a way that does not matter');
    assert.equal(tried(makePte(p.mfn, PTE.PRESENT), address), 'EBUSY', 'made one of the own kind');
    assert.equal(p.m.callOn(p.v, 'update_va_mapping', OTHER, value, 0).errno, 'EBUSY');
    // Overwriting it drops what the entry held; the grant stays in use, since nobody unmapped it.
    assert.equal(tried(0n, address), undefined);
    assert.equal(p.marks(), GTF.permit_access | GTF.reading | GTF.writing);
    assert.equal(p.unmap(), GNTST.GNTST_general_error);
    assert.match(p.reason(), /does not map the grant/);
    p.check();
  });

  it('ends with the domain that mapped', () => {
    const p = pair();
    assert.equal(p.map({ flags: GNTMAP_host_map | GNTMAP_device_map }).status, GNTST.GNTST_okay);
    assert.equal(p.map({ host_addr: OTHER, flags: GNTMAP_host_map | GNTMAP_readonly }).status, 0);
    p.m.hv.crash(p.mapper, 'for the test');
    assert.equal(p.marks(), GTF.permit_access);
    assert.equal(p.entry(PAGE).value, 0n);
    p.check();
  });

  it('is saved and restored', () => {
    const p = pair();
    const before = p.m.hv.save();
    assert.equal(p.map().status, GNTST.GNTST_okay);
    const mapped = p.m.hv.save();
    const { value, address } = p.entry(PAGE);
    assert.equal(p.unmap(), GNTST.GNTST_okay);
    p.m.hv.restore(mapped);
    // Frames are the machine's to restore.
    p.m.core.memory.write64(Number(address >> 12n), Number((address & 0xfffn) / 8n), value);
    p.check();
    assert.equal(p.unmap(), GNTST.GNTST_okay);
    p.check();
    p.m.hv.restore(before);
    assert.equal(p.mapper.state.maptrack.length, 0);
  });
});

describe('transferring frames', () => {
  const give = (p: Pair, mfn: number, domid: number): number =>
    p.op(GNTTABOP.GNTTABOP_transfer, gnttab_transfer, { mfn: BigInt(mfn), domid, ref: REF, status: 1 })
      .status;

  it('moves a frame that nobody uses to a domain that asked for one', () => {
    const p = pair();
    const mfn = pteFrame(p.entry(PAGE).value);
    p.grant(GTF.accept_transfer, p.mapper.id, 0);
    assert.equal(give(p, mfn, p.granter.id), GNTST.GNTST_bad_page, 'it is mapped');
    assert.equal(p.write(PAGE, 0x77n), 8);
    assert.equal(p.m.callOn(p.v, 'update_va_mapping', PAGE, 0, 0).result, 0n);
    const total = p.granter.state.totalPages;
    p.granter.state.maxPages = total + 1;
    assert.equal(give(p, mfn, p.granter.id), GNTST.GNTST_okay);
    assert.equal(p.marks(), GTF.accept_transfer | GTF.transfer_committed | GTF.transfer_completed);
    assert.equal(p.m.core.frames.owner[mfn], p.granter.id);
    assert.equal(p.m.core.memory.read64(mfn, 0), 0x77n, 'with what is in it');
    assert.equal(p.granter.state.totalPages, total + 1);
    p.check();
  });

  it('loses the frame when the other side does not want it', () => {
    const p = pair();
    const mfn = pteFrame(p.entry(PAGE).value);
    assert.equal(p.m.callOn(p.v, 'update_va_mapping', PAGE, 0, 0).result, 0n);
    p.granter.state.maxPages++;
    assert.equal(give(p, mfn, p.granter.id), GNTST.GNTST_general_error);
    assert.match(p.reason(), /takes no frame from d\d; the frame is lost/);
    assert.notEqual(p.m.core.frames.owner[mfn], p.mapper.id);
    p.check();
  });
});
