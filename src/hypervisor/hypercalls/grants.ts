/** grant_table_op, version 1 (xen/common/grant_table.c). */
import { DOMID } from '../../abi/domains';
import {
  GNTCOPY_dest_gref,
  GNTCOPY_source_gref,
  GNTST,
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
import { COST } from '../budget';
import type { CallContext } from '../context';
import { FRAME_TYPE } from '../frames';
import { acquireGrant, growGrantTable, releaseGrant, swapGrants, type Access } from '../grants';
import { mapGrantRef, transferFrame, unmapGrantRef, type Refused } from '../grantmaps';
import { family, fail, opsOf } from '../hypercall';

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

/** Status for acting on another domain's table. */
function foreign(context: CallContext, id: number): number | undefined {
  if (isSelf(context, id)) return undefined;
  return id !== DOMID.DOM0 && !context.core.domains.has(id)
    ? refuse(context, GNTST.GNTST_bad_domain, `there is no domain ${id}`)
    : refuse(
        context,
        GNTST.GNTST_permission_denied,
        `d${context.domain.id} may not look at the grants of d${id}`,
      );
}

interface Side extends Access {
  readonly offset: number;
  done(): void;
}

/** One end of a copy: a grant, or a frame of the caller's own. */
function copySide(
  context: CallContext,
  end: ValueOf<typeof gnttab_copy>['source'],
  byRef: boolean,
  write: boolean,
): Side | number {
  const { core, domain } = context;
  if (byRef) {
    const granter = isSelf(context, end.domid) ? domain : core.domains.get(end.domid);
    if (granter === undefined) {
      return end.domid === DOMID.DOM0
        ? refuse(context, GNTST.GNTST_bad_gntref, `d0 has granted nothing: reference ${end.u.ref}`)
        : refuse(context, GNTST.GNTST_bad_domain, `there is no domain ${end.domid}`);
    }
    const got = acquireGrant(core, granter, end.u.ref, domain.id, write);
    if (!got.ok) return refuse(context, got.status, got.reason);
    return { ...got, offset: end.offset, done: () => releaseGrant(core, granter, end.u.ref, got.mfn, write) };
  }
  if (!isSelf(context, end.domid)) {
    return refuse(
      context,
      GNTST.GNTST_permission_denied,
      `a frame of d${end.domid} can be named by a grant only`,
    );
  }
  const mfn = Number(end.u.gmfn);
  const problem = write
    ? core.types.getPageAndType(mfn, domain.id, FRAME_TYPE.writable)
    : core.types.getPage(mfn, domain.id);
  if (problem !== undefined) return refuse(context, GNTST.GNTST_bad_page, problem.reason);
  return {
    mfn,
    offset: end.offset,
    done: () => (write ? core.types.putPageAndType(mfn) : core.types.putPage(mfn)),
  };
}

function copy(context: CallContext, c: ValueOf<typeof gnttab_copy>): number {
  if (c.source.offset + c.len > 4096 || c.dest.offset + c.len > 4096) {
    return refuse(
      context,
      GNTST.GNTST_bad_copy_arg,
      `${c.len} bytes from offset ${c.source.offset} to ${c.dest.offset} leave a page`,
    );
  }
  const from = copySide(context, c.source, (c.flags & GNTCOPY_source_gref) !== 0, false);
  if (typeof from === 'number') return from;
  const to = copySide(context, c.dest, (c.flags & GNTCOPY_dest_gref) !== 0, true);
  if (typeof to === 'number') {
    from.done();
    return to;
  }
  const data = context.core.memory.bytes(from.mfn).slice(from.offset, from.offset + c.len);
  context.core.memory.write(to.mfn, to.offset, data);
  to.done();
  from.done();
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
  run(context, a, chosen) {
    const size = BigInt(chosen.struct?.size ?? 0);
    if (BigInt.asIntN(32, BigInt(a.count)) < 0n) return fail('EINVAL', `a count of ${a.count}`);
    if (chosen.status !== 'implemented') return chosen.run(context, a, a.uop);
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
        if ('status' in got) {
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
        const { core, domain, guest } = context;
        const denied = foreign(context, a.dom);
        if (denied !== undefined) {
          a.status = denied;
          return 0;
        }
        if (a.nr_frames > domain.state.grantMaxFrames) {
          a.status = refuse(
            context,
            GNTST.GNTST_general_error,
            `${a.nr_frames} frames: at most ${domain.state.grantMaxFrames}`,
          );
          return 0;
        }
        const why = growGrantTable(core, domain, a.nr_frames);
        if (why !== undefined) {
          a.status = refuse(context, GNTST.GNTST_general_error, why);
          return 0;
        }
        domain.state.grantFrames.slice(0, a.nr_frames).forEach((mfn, i) => {
          guest.write(mfnType, a.frame_list + BigInt(i * 8), BigInt(mfn), `frame_list[${i}]`);
        });
        a.status = GNTST.GNTST_okay;
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
      run({ domain }, a) {
        if (a.version !== 1 && a.version !== 2)
          return fail('EINVAL', `grant tables have no version ${a.version}`);
        if (a.version === 2) return fail('ENOSYS', 'version 2 is not offered (Xen: gnttab=max-ver:1)');
        a.version = domain.state.grantVersion;
        return 0;
      },
    }),
    op({
      name: 'get_status_frames',
      cmd: GNTTABOP.GNTTABOP_get_status_frames,
      struct: gnttab_get_status_frames,
      out: ['status'],
      run(context, a) {
        a.status = refuse(context, GNTST.GNTST_general_error, 'version 1 tables have no status frames');
        return 0;
      },
    }),
    op({
      name: 'get_version',
      cmd: GNTTABOP.GNTTABOP_get_version,
      struct: gnttab_get_version,
      out: ['version'],
      run(context, a) {
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
        const why = swapGrants(context.core, context.domain, a.ref_a, a.ref_b);
        a.status = why === undefined ? GNTST.GNTST_okay : refuse(context, why.status, why.reason);
        return 0;
      },
    }),
    op({
      name: 'cache_flush',
      cmd: GNTTABOP.GNTTABOP_cache_flush,
      struct: gnttab_cache_flush,
      refuse: ['EOPNOTSUPP', 'caches are coherent on x86'],
    }),
  ],
});
