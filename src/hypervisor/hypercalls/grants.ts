/** grant_table_op (xen/common/grant_table.c). */
import { hex } from '../../abi/decoded';
import { DOMID } from '../../abi/domains';
import {
  GNTCOPY_dest_gref,
  GNTCOPY_source_gref,
  GNTST,
  GNTTAB_CACHE_CLEAN,
  GNTTAB_CACHE_INVAL,
  GNTTAB_NR_RESERVED_ENTRIES,
  GNTTABOP,
  gnttab_cache_flush,
  gnttab_copy,
  gnttab_dump_table,
  gnttab_get_status_frames,
  gnttab_get_version,
  gnttab_map_grant_ref,
  gnttab_query_size,
  gnttab_set_version,
  gnttab_setup_table,
  gnttab_swap_grant_ref,
  gnttab_transfer,
  gnttab_unmap_and_replace,
  gnttab_unmap_grant_ref,
} from '../../abi/grant';
import { enumOf, mfnType, pointer, u32, type ValueOf } from '../../abi/layout';
import { PAGE_SIZE } from '../../base/branded';
import { COST } from '../budget';
import type { CallContext } from '../context';
import { FRAME_TYPE } from '../frames';
import { acquireForCopy, swapGrants, usesOf, type CopyAccess, type Refused } from '../grants';
import { changeGrantVersion, grantCount, growGrantTable } from '../grantentries';
import { mapGrantRef, transferFrame, unmapGrantRef } from '../grantmaps';
import { addressOk } from '../guest-memory';
import { Refusal, family, fail, opsOf } from '../hypercall';

const args = { cmd: enumOf(u32, GNTTABOP, 'grant_table_op'), uop: pointer(), count: u32 };
const op = opsOf('grant_table_op', args);

/** A refusal that goes into the element's status field: the call itself succeeds. */
function refuse(context: CallContext, status: number, reason: string): number {
  const name = Object.entries(GNTST).find(([, n]) => n === status)?.[0] ?? String(status);
  context.note(`${name}: ${reason}`);
  return status;
}

const statusOf = (context: CallContext, why: Refused | undefined): number =>
  why === undefined ? GNTST.GNTST_okay : refuse(context, why.status, why.reason);

const isSelf = ({ domain }: CallContext, id: number): boolean => id === DOMID.SELF || id === domain.id;
const exists = (context: CallContext, id: number): boolean =>
  isSelf(context, id) || id === DOMID.DOM0 || context.core.domains.has(id);

/** Status for acting on another domain's table. */
function foreign(context: CallContext, id: number): number | undefined {
  if (isSelf(context, id)) return undefined;
  return exists(context, id)
    ? refuse(
        context,
        GNTST.GNTST_permission_denied,
        `d${context.domain.id} may not look at the grants of d${id}`,
      )
    : refuse(context, GNTST.GNTST_bad_domain, `there is no domain ${id}`);
}

type CopyEnd = ValueOf<typeof gnttab_copy>['source'];
const no = (status: number, reason: string): Refused => ({ ok: false, status, reason });

/** Whether the domain of one end may be named so (gnttab_copy_lock_domain). */
function whyNotDomain(context: CallContext, end: CopyEnd, byRef: boolean): Refused | undefined {
  if (!byRef && end.domid !== DOMID.SELF) {
    return no(
      GNTST.GNTST_permission_denied,
      `a frame of d${end.domid} can be named by a grant only; the caller's own with DOMID_SELF`,
    );
  }
  return exists(context, end.domid)
    ? undefined
    : no(GNTST.GNTST_bad_domain, `there is no domain ${end.domid}`);
}

/** One end of a copy: a grant, or a frame of the caller's own. */
function copySide(context: CallContext, end: CopyEnd, byRef: boolean, write: boolean): CopyAccess | Refused {
  const { core, domain } = context;
  if (byRef) {
    const granter = isSelf(context, end.domid) ? domain : core.domains.get(end.domid);
    return granter === undefined
      ? no(GNTST.GNTST_bad_gntref, `d0 has granted nothing: reference ${end.u.ref}`)
      : acquireForCopy(core, granter, end.u.ref, domain.id, write);
  }
  const mfn = Number(end.u.gmfn);
  const problem = core.types.getPage(mfn, domain.id);
  if (problem !== undefined) return no(GNTST.GNTST_bad_page, problem.reason);
  const typed = write ? core.types.getType(mfn, FRAME_TYPE.writable) : undefined;
  if (typed !== undefined) {
    core.types.putPage(mfn);
    return no(GNTST.GNTST_general_error, typed.reason);
  }
  const done = (): void => (write ? core.types.putPageAndType(mfn) : core.types.putPage(mfn));
  return { ok: true, mfn, offset: 0, length: PAGE_SIZE, done };
}

/** @returns why the bytes are not within what each end may touch */
function whyNotBytes(
  { source, dest, len }: ValueOf<typeof gnttab_copy>,
  from: CopyAccess,
  to: CopyAccess,
): Refused | undefined {
  if (source.offset + len > PAGE_SIZE || dest.offset + len > PAGE_SIZE) {
    return no(
      GNTST.GNTST_bad_copy_arg,
      `${len} bytes from offset ${source.offset} to ${dest.offset} leave a page`,
    );
  }
  for (const [end, access] of [
    [source, from],
    [dest, to],
  ] as const) {
    if (end.offset < access.offset || end.offset + len > access.offset + access.length) {
      return no(
        GNTST.GNTST_general_error,
        `${len} bytes at ${end.offset} are not within the ${access.length} at ${access.offset} that are granted`,
      );
    }
  }
  return undefined;
}

function copy(context: CallContext, c: ValueOf<typeof gnttab_copy>): number {
  const fromRef = (c.flags & GNTCOPY_source_gref) !== 0;
  const toRef = (c.flags & GNTCOPY_dest_gref) !== 0;
  const denied = whyNotDomain(context, c.source, fromRef) ?? whyNotDomain(context, c.dest, toRef);
  if (denied !== undefined) return statusOf(context, denied);
  const from = copySide(context, c.source, fromRef, false);
  if (!from.ok) return statusOf(context, from);
  const to = copySide(context, c.dest, toRef, true);
  const why = to.ok ? whyNotBytes(c, from, to) : to;
  if (to.ok && why === undefined) {
    const { memory } = context.core;
    const data = memory.bytes(from.mfn).slice(c.source.offset, c.source.offset + c.len);
    memory.write(to.mfn, c.dest.offset, data);
  }
  if (to.ok) to.done();
  from.done();
  return statusOf(context, why);
}

/** Caches are coherent, so there is little to do; but who may ask is looked at (cache_flush). */
function flushCache({ core, domain }: CallContext, a: ValueOf<typeof gnttab_cache_flush>): number {
  const { offset, length, op: what } = a;
  const leaves = offset >= PAGE_SIZE || length > PAGE_SIZE || offset + length > PAGE_SIZE;
  if (leaves || (what & ~(GNTTAB_CACHE_CLEAN | GNTTAB_CACHE_INVAL)) !== 0)
    return fail('EINVAL', `${length} bytes at ${offset}, operation ${hex(what)}`);
  if (length === 0 || what === 0) return 0;
  const mfn = Number(a.a.dev_bus_addr >> 12n);
  if (mfn >= core.frames.count) return fail('EINVAL', `mfn ${hex(mfn)} is beyond the machine's last frame`);
  const owned = core.frames.owner[mfn] === domain.id;
  if (!owned && !domain.state.maptrack.some((m) => m?.mfn === mfn))
    return fail('EPERM', `${core.frames.describe(mfn)} is neither d${domain.id}'s nor granted to it`);
  return what === GNTTAB_CACHE_INVAL
    ? fail('EOPNOTSUPP', 'a cache cannot be dropped without being written')
    : 0;
}

function setVersion({ core, domain }: CallContext, version: number): number {
  const { state } = domain;
  if (version !== 1 && version !== 2) return fail('EINVAL', `grant tables have no version ${version}`);
  if (version > state.grantMaxVersion)
    return fail('ENOSYS', `version 2 is not offered to d${domain.id} (max_grant_version = 1)`);
  if (state.grantVersion === version) return 0;
  for (let ref = GNTTAB_NR_RESERVED_ENTRIES; ref < grantCount(domain); ref++) {
    if (usesOf(core, domain, ref).length > 0)
      return fail('EBUSY', `grant ${ref} is in use: only tables that are not can change their version`);
  }
  const problem = changeGrantVersion(core, domain, version);
  return problem === undefined ? 0 : fail(...problem);
}

/** The operations that take an array, and those that insist on one element. */
const ARRAYS: ReadonlySet<number> = new Set([
  GNTTABOP.GNTTABOP_map_grant_ref,
  GNTTABOP.GNTTABOP_unmap_grant_ref,
  GNTTABOP.GNTTABOP_transfer,
  GNTTABOP.GNTTABOP_copy,
  GNTTABOP.GNTTABOP_unmap_and_replace,
  GNTTABOP.GNTTABOP_swap_grant_ref,
  GNTTABOP.GNTTABOP_cache_flush,
]);
const ONE_AT_A_TIME: ReadonlySet<number> = new Set([
  GNTTABOP.GNTTABOP_setup_table,
  GNTTABOP.GNTTABOP_query_size,
  GNTTABOP.GNTTABOP_get_status_frames,
]);

/** Writes frame numbers to the guest's list; a place that cannot be written shows in the status. */
function listFrames(context: CallContext, at: bigint, frames: readonly number[]): number {
  try {
    frames.forEach((mfn, i) => {
      context.guest.write(mfnType, at + BigInt(i * 8), BigInt(mfn), `frame_list[${i}]`);
    });
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return refuse(context, GNTST.GNTST_bad_virt_addr, error.reason);
  }
  return GNTST.GNTST_okay;
}

export const grant_table_op = family({
  name: 'grant_table_op',
  nr: 20,
  doc: 'grant_table.h',
  args,
  cmd: ({ cmd }) => cmd,
  pointer: ({ uop }) => uop,
  count: ({ count }) => count,
  before(_context, { cmd, uop, count }) {
    if (BigInt.asIntN(32, BigInt(count)) < 0n) fail('EINVAL', `a count of ${count}`);
    if (ONE_AT_A_TIME.has(cmd) && count !== 1) fail('EINVAL', `a count of ${count}: it must be 1`);
    if (ARRAYS.has(cmd) && !addressOk(uop)) fail('EFAULT', `${hex(uop)} is not the guest's`);
  },
  run(context, a, chosen) {
    const size = BigInt(chosen.struct?.size ?? 0);
    if (!ARRAYS.has(a.cmd)) return chosen.run(context, a, a.uop);
    for (let i = 0; i < a.count; i++) {
      const result = chosen.run(context, a, a.uop + BigInt(i) * size);
      if (result !== 0 && result !== undefined) return result;
      if (context.spend(COST.element) && i + 1 < a.count) {
        const rest = a.uop + BigInt(i + 1) * size;
        context.goOnWith([BigInt(a.cmd), BigInt.asUintN(64, rest), BigInt(a.count - i - 1)]);
        break;
      }
    }
    return 0;
  },
  ops: [
    op({
      name: 'map_grant_ref',
      cmd: GNTTABOP.GNTTABOP_map_grant_ref,
      struct: gnttab_map_grant_ref,
      out: ['status', 'handle', 'dev_bus_addr'],
      run(context, a) {
        const got = mapGrantRef(context, a);
        if (!got.ok) {
          a.status = refuse(context, got.status, got.reason);
          return 0;
        }
        a.status = GNTST.GNTST_okay;
        a.handle = got.handle;
        a.dev_bus_addr = BigInt(got.mfn) << 12n;
        return 0;
      },
    }),
    op({
      name: 'unmap_grant_ref',
      cmd: GNTTABOP.GNTTABOP_unmap_grant_ref,
      struct: gnttab_unmap_grant_ref,
      out: ['status'],
      run(context, a) {
        a.status = statusOf(context, unmapGrantRef(context, { ...a, new_addr: 0n }));
        return 0;
      },
    }),
    op({
      name: 'setup_table',
      cmd: GNTTABOP.GNTTABOP_setup_table,
      struct: gnttab_setup_table,
      out: ['status'],
      run(context, a) {
        const { core, domain } = context;
        if (!addressOk(a.frame_list)) return fail('EFAULT', `${hex(a.frame_list)} is not the guest's`);
        const denied = foreign(context, a.dom);
        if (denied !== undefined) {
          a.status = denied;
          return 0;
        }
        const why = growGrantTable(core, domain, a.nr_frames);
        a.status =
          why === undefined
            ? listFrames(context, a.frame_list, domain.state.grantFrames.slice(0, a.nr_frames))
            : refuse(context, GNTST.GNTST_general_error, why);
        return 0;
      },
    }),
    op({
      name: 'dump_table',
      cmd: GNTTABOP.GNTTABOP_dump_table,
      struct: gnttab_dump_table,
      refuse: ['ENOSYS', 'removed from Xen'],
    }),
    op({
      name: 'transfer',
      cmd: GNTTABOP.GNTTABOP_transfer,
      struct: gnttab_transfer,
      out: ['status'],
      run(context, a) {
        a.status = statusOf(context, transferFrame(context, a));
        return 0;
      },
    }),
    op({
      name: 'copy',
      cmd: GNTTABOP.GNTTABOP_copy,
      struct: gnttab_copy,
      out: ['status'],
      run(context, a) {
        a.status = copy(context, a);
        return 0;
      },
    }),
    op({
      name: 'query_size',
      cmd: GNTTABOP.GNTTABOP_query_size,
      struct: gnttab_query_size,
      out: ['nr_frames', 'max_nr_frames', 'status'],
      run(context, a) {
        const denied = foreign(context, a.dom);
        a.status = denied ?? GNTST.GNTST_okay;
        if (denied === undefined) {
          a.nr_frames = context.domain.state.grantFrames.length;
          a.max_nr_frames = context.domain.state.grantMaxFrames;
        }
        return 0;
      },
    }),
    op({
      name: 'unmap_and_replace',
      cmd: GNTTABOP.GNTTABOP_unmap_and_replace,
      struct: gnttab_unmap_and_replace,
      out: ['status'],
      run(context, a) {
        a.status = statusOf(context, unmapGrantRef(context, { ...a, dev_bus_addr: 0n }));
        return 0;
      },
    }),
    op({
      name: 'set_version',
      cmd: GNTTABOP.GNTTABOP_set_version,
      struct: gnttab_set_version,
      out: ['version'],
      outAlways: true,
      run(context, a) {
        const wanted = a.version;
        a.version = context.domain.state.grantVersion;
        const result = setVersion(context, wanted);
        a.version = context.domain.state.grantVersion;
        return result;
      },
    }),
    op({
      name: 'get_status_frames',
      cmd: GNTTABOP.GNTTABOP_get_status_frames,
      struct: gnttab_get_status_frames,
      out: ['status'],
      run(context, a) {
        const { statusFrames } = context.domain.state;
        if (!addressOk(a.frame_list)) return fail('EFAULT', `${hex(a.frame_list)} is not the guest's`);
        const denied = foreign(context, a.dom);
        if (denied !== undefined) a.status = denied;
        else if (a.nr_frames > statusFrames.length) {
          const why = `${a.nr_frames} status frames: there are ${statusFrames.length}`;
          a.status = refuse(context, GNTST.GNTST_general_error, why);
        } else a.status = listFrames(context, a.frame_list, statusFrames.slice(0, a.nr_frames));
        return 0;
      },
    }),
    op({
      name: 'get_version',
      cmd: GNTTABOP.GNTTABOP_get_version,
      struct: gnttab_get_version,
      out: ['version'],
      run(context, a) {
        if (!exists(context, a.dom)) return fail('ESRCH', `there is no domain ${a.dom}`);
        if (!isSelf(context, a.dom))
          return fail('EPERM', `d${context.domain.id} may not look at the grants of d${a.dom}`);
        a.version = context.domain.state.grantVersion;
        return 0;
      },
    }),
    op({
      name: 'swap_grant_ref',
      cmd: GNTTABOP.GNTTABOP_swap_grant_ref,
      struct: gnttab_swap_grant_ref,
      out: ['status'],
      run(context, a) {
        a.status = statusOf(context, swapGrants(context.core, context.domain, a.ref_a, a.ref_b));
        return 0;
      },
    }),
    op({
      name: 'cache_flush',
      cmd: GNTTABOP.GNTTABOP_cache_flush,
      struct: gnttab_cache_flush,
      run: flushCache,
    }),
  ],
});
