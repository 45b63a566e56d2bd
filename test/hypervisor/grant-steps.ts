/** What a hostile kernel tries with grants: steps for the random sequences of the safety test. */
import { DOMID } from '../../src/abi/domains';
import {
  GNTCOPY_dest_gref,
  GNTCOPY_source_gref,
  GNTMAP,
  GNTTABOP,
  GTF,
  gnttab_copy,
  gnttab_map_grant_ref,
  gnttab_set_version,
  gnttab_transfer,
  gnttab_unmap_and_replace,
  gnttab_unmap_grant_ref,
} from '../../src/abi/grant';
import type { Type } from '../../src/abi/layout';
import { PTE, makePte, mmu_update } from '../../src/abi/mmu';
import { FRAME_TYPE } from '../../src/hypervisor/frames';
import { writeGrant } from '../../src/hypervisor/grantentries';
import { walkTables } from '../../src/hypervisor/guest-memory';
import type { Domain, GuestVcpu } from '../../src/hypervisor/types';
import type { Random } from '../support/random';
import { SCRATCH, VIRT_BASE, type TestMachine } from './machine';

interface Step {
  readonly name: string;
  run(): boolean;
}

/** Grants in use, from the first that is not reserved. */
const GRANTS = 8;

function put<T>(v: GuestVcpu, type: Type<T>, value: T): bigint {
  const bytes = new Uint8Array(type.size);
  type.write(new DataView(bytes.buffer), 0, value);
  v.cpu.writeLinear(SCRATCH, bytes, 3);
  return SCRATCH;
}

/** @param pool frames that were `v`'s at first */
export function grantSteps(
  m: TestMachine,
  v: GuestVcpu,
  other: Domain,
  r: Random,
  pool: readonly number[],
): readonly Step[] {
  const { core } = m;
  const owned = (): number => r.pick(pool);
  const va = (): bigint => VIRT_BASE + BigInt(r.below(1024)) * 4096n;
  const done = (name: string, ...args: (bigint | number)[]): boolean =>
    m.callOn(v, name, ...args).result >= 0n;
  const flags = (): bigint => (r.chance(3) ? 0n : PTE.PRESENT) | (r.chance(2) ? PTE.RW : 0n);
  const update = (ptr: bigint, val: bigint): boolean =>
    done('mmu_update', put(v, mmu_update, { ptr, val }), 1, 0, DOMID.SELF);
  /** L1 tables that the builder made, and those made of the pool. */
  const tables = (): number[] => {
    const first = v.state.kernelTable;
    const found = pool.filter(
      (f) => core.frames.type[f] === FRAME_TYPE.l1 && (core.frames.typeCount[f] ?? 0) > 0,
    );
    const leaf = walkTables(core.memory, first, va())[3];
    return leaf === undefined ? found : [...found, leaf.table];
  };
  const grantOp = <T>(type: Type<T>, cmd: number, value: T): T | undefined => {
    const at = put(v, type, value);
    if (!done('grant_table_op', cmd, at, 1)) return undefined;
    const bytes = new Uint8Array(type.size);
    if (v.cpu.readLinear(at, bytes, 3) < bytes.length) return undefined;
    return type.read(new DataView(bytes.buffer), 0);
  };
  const mapped: { readonly handle: number; readonly host_addr: bigint; readonly dev_bus_addr: bigint }[] = [];
  /** One that was made, perhaps long gone; or its handle with another's place. */
  const aMapping = (): (typeof mapped)[number] | undefined => {
    if (mapped.length === 0) return undefined;
    const recent = mapped.slice(-8);
    const one = r.pick(recent);
    return r.chance(8) ? { ...one, handle: r.pick(recent).handle } : one;
  };

  return [
    // Grants to the other domain and to itself, of frames it should and should not give.
    { name: 'grant', run: () => {
      const [first] = v.domain.state.grantFrames;
      if (first === undefined) return false;
      const flags = r.pick([GTF.permit_access, GTF.permit_access, GTF.permit_access | GTF.readonly, GTF.accept_transfer, 0]);
      const domid = r.chance(10) ? v.domain.id : other.id;
      const frame = r.chance(4) ? r.below(core.frames.count) : owned();
      const kind = v.domain.state.grantVersion === 2 && r.chance(4) ? r.pick([GTF.sub_page, GTF.transitive]) : 0;
      writeGrant(core, v.domain, 8 + r.below(GRANTS), domid, frame, flags | kind);
      return true;
    } },
    // Refused while a grant is in use, or a status frame mapped.
    { name: 'change version', run: () => r.chance(3) && grantOp(gnttab_set_version, GNTTABOP.GNTTABOP_set_version, { version: r.pick([1, 2]) }) !== undefined },
    { name: 'map a status frame', run: () => {
      const mfn = v.domain.state.statusFrames[0];
      return mfn !== undefined && done('update_va_mapping', va(), makePte(mfn, flags() | PTE.PRESENT), 0);
    } },
    { name: 'copy by grants', run: () => {
      const end = (byRef: boolean): { u: { gmfn: bigint; ref: number }; domid: number; offset: number } => ({
        u: { gmfn: BigInt(owned()), ref: 8 + r.below(GRANTS) },
        domid: byRef ? other.id : DOMID.SELF,
        offset: r.below(4096),
      });
      const by = r.below(4);
      const bytes = new Uint8Array(gnttab_copy.size);
      const view = new DataView(bytes.buffer);
      gnttab_copy.write(view, 0, { source: end((by & GNTCOPY_source_gref) !== 0), dest: end((by & GNTCOPY_dest_gref) !== 0), len: r.below(64), flags: by, status: 1 });
      // The reference lies where the frame's number does, and goes last.
      if ((by & GNTCOPY_source_gref) !== 0) view.setBigUint64(0, BigInt(8 + r.below(GRANTS)), true);
      if ((by & GNTCOPY_dest_gref) !== 0) view.setBigUint64(16, BigInt(8 + r.below(GRANTS)), true);
      v.cpu.writeLinear(SCRATCH, bytes, 3);
      if (!done('grant_table_op', GNTTABOP.GNTTABOP_copy, SCRATCH, 1)) return false;
      v.cpu.readLinear(SCRATCH, bytes, 3);
      return gnttab_copy.read(view, 0).status === 0;
    } },
    { name: 'map grant', run: () => {
      const into = tables();
      const byEntry = into.length > 0 && r.chance(2);
      const host_addr = byEntry ? (BigInt(r.pick(into)) << 12n) | BigInt(r.below(512) * 8) : va();
      let flags = byEntry ? GNTMAP.GNTMAP_contains_pte : r.chance(50) ? GNTMAP.GNTMAP_contains_pte : 0;
      if (!r.chance(5)) flags |= GNTMAP.GNTMAP_host_map;
      if (r.chance(4)) flags |= GNTMAP.GNTMAP_device_map;
      if (r.chance(2)) flags |= GNTMAP.GNTMAP_readonly;
      const dom = r.chance(10) ? v.domain.id : other.id;
      const got = grantOp(gnttab_map_grant_ref, GNTTABOP.GNTTABOP_map_grant_ref, { host_addr, flags, ref: 8 + r.below(GRANTS), dom, status: 1, handle: 0, dev_bus_addr: 0n });
      if (got?.status !== 0) return false;
      mapped.push({ handle: got.handle, host_addr, dev_bus_addr: got.dev_bus_addr });
      return true;
    } },
    { name: 'unmap grant', run: () => {
      const at = aMapping();
      if (at === undefined) return false;
      const got = grantOp(gnttab_unmap_grant_ref, GNTTABOP.GNTTABOP_unmap_grant_ref, { ...at, host_addr: r.chance(6) ? 0n : at.host_addr, dev_bus_addr: r.chance(2) ? 0n : at.dev_bus_addr, status: 1 });
      return got?.status === 0;
    } },
    { name: 'replace grant', run: () => {
      const at = aMapping();
      if (at === undefined) return false;
      const got = grantOp(gnttab_unmap_and_replace, GNTTABOP.GNTTABOP_unmap_and_replace, { host_addr: at.host_addr, handle: at.handle, new_addr: va(), status: 1 });
      return got?.status === 0;
    } },
    { name: 'overwrite a grant entry', run: () => {
      // The entry of a mapping, moved, copied or overwritten by a plain update.
      const at = aMapping();
      if (at === undefined) return false;
      const into = tables();
      const mfn = Number(at.dev_bus_addr >> 12n);
      const to = r.chance(2) || into.length === 0 ? at.host_addr & ~7n : (BigInt(r.pick(into)) << 12n) | BigInt(r.below(512) * 8);
      return update(to, r.chance(3) ? 0n : makePte(mfn, flags() | (r.chance(2) ? 1n << 62n : 0n)));
    } },
    { name: 'transfer', run: () => {
      const got = grantOp(gnttab_transfer, GNTTABOP.GNTTABOP_transfer, { mfn: BigInt(owned()), domid: other.id, ref: 8 + r.below(GRANTS), status: 1 });
      return r.chance(2) && got?.status === 0;
    } },
  ]; // prettier-ignore
}
