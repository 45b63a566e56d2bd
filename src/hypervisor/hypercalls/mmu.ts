/** Page tables (xen/arch/x86/mm.c: do_mmu_update, do_mmuext_op, do_update_va_mapping). */
import { hex } from '../../abi/decoded';
import { DOMID } from '../../abi/domains';
import { arrayOf, domid, domidPair, optional, pointer, u32, ulong, vaddr } from '../../abi/layout';
import {
  MMU,
  MMUEXT,
  UVMF,
  UVMF_FLUSHTYPE_MASK,
  mmu_update as mmuUpdate,
  mmuext_op as mmuextOp,
  pte,
} from '../../abi/mmu';
import { newKernelBase, newUserBase } from '../basetables';
import { COST } from '../budget';
import type { CallContext } from '../context';
import { FRAME_FLAG, FRAME_TYPE, type FrameType } from '../frames';
import { addressOk, walkTables } from '../guest-memory';
import { Refusal, batch, batchOp, fail, hypercall, type CallResult } from '../hypercall';
import { setLdt } from '../ldt';
import { isTable, type Level, type Problem } from '../pagetypes';
import { setMachineToPhysical } from '../physmap';
import type { ValueOf } from '../../abi/layout';

/** Set in `count` when an interrupted call goes on: what `pdone` says was done is counted on from. */
const MMU_UPDATE_PREEMPTED = 0x8000_0000;

/**
 * Whose tables are changed and whose frames mapped: a domain may name only itself, by DOMID_SELF or its number, and
 * by its number only for the tables; others are for privileged ones (get_pg_owner and xsm_mmu_update). DOMID_IO
 * stands for frames that nobody owns: the domain itself then has to have the right to each.
 */
function checkOwner({ domain, core }: CallContext, foreign: number, at = 0n): void {
  if (!addressOk(at)) fail('EFAULT', `${hex(at)} is not in the guest's part of the address space`);
  const owner = foreign & 0xffff;
  const tables = foreign >>> 16;
  const known = (id: number): boolean => id === domain.id || id === DOMID.DOM0 || core.domains.has(id);
  if (tables !== 0 && !known(tables - 1)) fail('ESRCH', `there is no domain ${tables - 1}`);
  if (owner !== DOMID.SELF && owner !== DOMID.IO && owner !== DOMID.XEN && !known(owner))
    fail('ESRCH', `there is no domain ${owner}`);
  for (const id of [owner, tables === 0 ? DOMID.SELF : tables - 1]) {
    if (id === DOMID.SELF || id === domain.id || id === DOMID.IO) continue;
    fail('EPERM', `d${domain.id} may not update the tables or map the frames of domain ${id}`);
  }
}

interface Batch {
  readonly at: bigint;
  /** Bytes of an element. */
  readonly size: number;
  /** With MMU_UPDATE_PREEMPTED, when this is the rest of an interrupted batch. */
  readonly count: number;
  readonly pdone: bigint;
}

/** Runs `each` on the elements until one fails; says in the reason which, and writes how many were done. */
function runBatch(context: CallContext, batch: Batch, cost: number, each: (i: number) => void): CallResult {
  const { at, size, pdone } = batch;
  const count = batch.count & ~MMU_UPDATE_PREEMPTED;
  const before = batch.count === count || pdone === 0n ? 0 : context.guest.read(u32, pdone, 'pdone');
  let done = 0;
  let refusal: Refusal | undefined;
  try {
    while (done < count) {
      each(done);
      done++;
      if (context.spend(cost) && done < count) {
        const rest = BigInt((count - done) | MMU_UPDATE_PREEMPTED) & 0xffff_ffffn;
        context.goOnWith([BigInt.asUintN(64, at + BigInt(done * size)), rest]);
        break;
      }
    }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    refusal = new Refusal(
      error.errno,
      count === 1 ? error.reason : `element ${done} of ${count}: ${error.reason}`,
    );
  }
  if (pdone !== 0n) {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, before + done, true);
    // Xen does not report a failure to report.
    if (addressOk(pdone, 4)) context.vcpu.cpu.writeLinear(pdone, bytes, 3);
  }
  if (refusal !== undefined) throw refusal;
  return 0;
}

const check = (problem: Problem): void => {
  if (problem !== undefined) throw problem;
};

/** The request at hand, by halves: ptr, val (xen.h struct mmu_update). */
const request = new Uint32Array(mmuUpdate.size / 4);
const LOW = mmuUpdate.offset.ptr / 4;
const VALUE = mmuUpdate.offset.val / 4;
/** Frame that ptr names. */
const frameOf = (r: Uint32Array): number => (r[LOW + 1] ?? 0) * 2 ** 20 + ((r[LOW] ?? 0) >>> 12);

function updateEntry(context: CallContext, r: Uint32Array, command: number): void {
  const { core, domain } = context;
  const mfn = frameOf(r);
  const pointer = r[LOW] ?? 0;
  const [low, high] = [r[VALUE] ?? 0, r[VALUE + 1] ?? 0];
  check(core.types.getPage(mfn, domain.id));
  try {
    const index = (pointer & 0xff8) >> 3;
    const type = (core.frames.type[mfn] ?? 0) as FrameType;
    if ((core.frames.typeCount[mfn] ?? 0) > 0 && isTable(type)) {
      const preserve = command === MMU.MMU_PT_UPDATE_PRESERVE_AD;
      check(core.types.modHalves(type as Level, mfn, index, low, high, domain.id, preserve));
      return;
    }
    // An ordinary page of the guest's: the same as a store.
    const typed = core.types.getType(mfn, FRAME_TYPE.writable);
    if (typed !== undefined) {
      const ptr = (BigInt(mfn) << 12n) | BigInt(pointer & 0xfff);
      throw new Refusal('EINVAL', `${hex(ptr)} cannot be written: ${typed.reason}`);
    }
    core.memory.writeHalves(mfn, index, low, high);
    core.types.putType(mfn);
  } finally {
    core.types.putPage(mfn);
  }
}

type Update = (context: CallContext, request: Uint32Array) => void;
const normalUpdate: Update = (context, r) => updateEntry(context, r, (r[LOW] ?? 0) & 7);

const updates: Readonly<Partial<Record<number, Update>>> = {
  [MMU.MMU_NORMAL_PT_UPDATE]: normalUpdate,
  [MMU.MMU_PT_UPDATE_PRESERVE_AD]: normalUpdate,
  [MMU.MMU_PT_UPDATE_NO_TRANSLATE]: normalUpdate,
  [MMU.MMU_MACHPHYS_UPDATE]: ({ core, domain }, r) => {
    const mfn = frameOf(r);
    check(core.types.getPage(mfn, domain.id));
    const value = (BigInt(r[VALUE + 1] ?? 0) << 32n) | BigInt(r[VALUE] ?? 0);
    setMachineToPhysical(core, domain, mfn, value);
    core.types.putPage(mfn);
  },
};

export const mmu_update = batch({
  name: 'mmu_update',
  nr: 1,
  doc: 'xen.h HYPERVISOR_mmu_update, struct mmu_update',
  args: {
    ureqs: arrayOf(mmuUpdate, 'count'),
    count: u32,
    pdone: optional(pointer(u32)),
    foreigndom: domidPair,
  },
  element: mmuUpdate,
  pointer: ({ ureqs }) => ureqs,
  count: ({ count }) => count & ~MMU_UPDATE_PREEMPTED,
  cmd: (bytes, at) => (bytes[at + mmuUpdate.offset.ptr] ?? 0) & 7,
  ops: [
    batchOp('normal_pt_update', MMU.MMU_NORMAL_PT_UPDATE),
    batchOp('machphys_update', MMU.MMU_MACHPHYS_UPDATE),
    batchOp('pt_update_preserve_ad', MMU.MMU_PT_UPDATE_PRESERVE_AD),
    batchOp('pt_update_no_translate', MMU.MMU_PT_UPDATE_NO_TRANSLATE),
  ],
  run(context, { ureqs, count, pdone, foreigndom }) {
    checkOwner(context, foreigndom, ureqs);
    const batch = { at: ureqs, size: mmuUpdate.size, count, pdone };
    return runBatch(context, batch, COST.element, (i) => {
      context.guest.load(request, ureqs + BigInt(i * mmuUpdate.size), () => `request ${i}`);
      const command = (request[LOW] ?? 0) & 7;
      const update = updates[command];
      if (update === undefined) fail('ENOSYS', `mmu_update has no command ${command}`);
      update(context, request);
    });
  },
});

type Ext = (context: CallContext, op: ValueOf<typeof mmuextOp>) => void;

const pin =
  (type: FrameType): Ext =>
  ({ core, domain }, { arg1 }) => {
    const mfn = Number(arg1.mfn);
    check(core.types.getPageAndType(mfn, domain.id, type));
    const flags = core.frames.flags[mfn] ?? 0;
    if ((flags & FRAME_FLAG.PINNED) !== 0) {
      core.types.putPageAndType(mfn);
      fail('EINVAL', `mfn ${hex(mfn)} is pinned already`);
    }
    // The pin keeps the reference and the type count just taken.
    core.frames.flags[mfn] = flags | FRAME_FLAG.PINNED;
  };

const flushMask =
  (each: (context: CallContext, vcpu: number, address: bigint) => void): Ext =>
  (context, { arg1, arg2 }) => {
    const { vcpumask } = arg2;
    if (context.guest.reader(vcpumask, 1) === undefined)
      fail('EINVAL', `the vCPU mask at ${hex(vcpumask)} cannot be read`);
    for (const id of vcpuMask(context, vcpumask)) each(context, id, arg1.linear_addr);
  };

/** The vCPUs named by a bitmap in guest memory, one bit each. */
function vcpuMask({ domain, guest }: CallContext, at: bigint): number[] {
  const bytes = Math.ceil(domain.vcpus.length / 8);
  const mask = guest.copyIn(at, bytes, 'vCPU mask');
  return domain.vcpus.map((v) => v.id).filter((id) => ((mask[id >> 3] ?? 0) & (1 << (id & 7))) !== 0);
}

const everyVcpu = ({ domain }: CallContext): number[] => domain.vcpus.map((v) => v.id);
const flushAll = ({ domain }: CallContext, id: number): void => domain.vcpus[id]?.cpu.flushTlb();
const flushOne = ({ domain }: CallContext, id: number, address: bigint): void => {
  if (addressOk(address)) domain.vcpus[id]?.cpu.flushPage(address);
};

const refused =
  (errno: 'EACCES' | 'EINVAL' | 'EOPNOTSUPP', reason: string): Ext =>
  () =>
    fail(errno, reason);
const NO_DEVICES = 'a domain without devices has no caches to flush';

const extended: Readonly<Partial<Record<number, Ext>>> = {
  [MMUEXT.MMUEXT_PIN_L1_TABLE]: pin(FRAME_TYPE.l1),
  [MMUEXT.MMUEXT_PIN_L2_TABLE]: pin(FRAME_TYPE.l2),
  [MMUEXT.MMUEXT_PIN_L3_TABLE]: pin(FRAME_TYPE.l3),
  [MMUEXT.MMUEXT_PIN_L4_TABLE]: pin(FRAME_TYPE.l4),
  [MMUEXT.MMUEXT_UNPIN_TABLE]: ({ core, domain }, { arg1 }) => {
    const mfn = Number(arg1.mfn);
    check(core.types.getPage(mfn, domain.id));
    const flags = core.frames.flags[mfn] ?? 0;
    if ((flags & FRAME_FLAG.PINNED) === 0) {
      core.types.putPage(mfn);
      fail('EINVAL', `mfn ${hex(mfn)} is not pinned`);
    }
    core.frames.flags[mfn] = flags & ~FRAME_FLAG.PINNED;
    core.types.putPageAndType(mfn);
    core.types.putPage(mfn);
  },
  [MMUEXT.MMUEXT_NEW_BASEPTR]: ({ core, vcpu }, { arg1 }) =>
    check(newKernelBase(core, vcpu, Number(arg1.mfn))),
  [MMUEXT.MMUEXT_NEW_USER_BASEPTR]: ({ core, vcpu }, { arg1 }) =>
    check(newUserBase(core, vcpu, Number(arg1.mfn))),
  [MMUEXT.MMUEXT_TLB_FLUSH_LOCAL]: ({ vcpu }) => vcpu.cpu.flushTlb(),
  [MMUEXT.MMUEXT_INVLPG_LOCAL]: ({ vcpu }, { arg1 }) => {
    if (addressOk(arg1.linear_addr)) vcpu.cpu.flushPage(arg1.linear_addr);
  },
  [MMUEXT.MMUEXT_TLB_FLUSH_MULTI]: flushMask(flushAll),
  [MMUEXT.MMUEXT_INVLPG_MULTI]: flushMask(flushOne),
  [MMUEXT.MMUEXT_TLB_FLUSH_ALL]: (context) => {
    for (const id of everyVcpu(context)) flushAll(context, id);
  },
  [MMUEXT.MMUEXT_INVLPG_ALL]: (context, { arg1 }) => {
    for (const id of everyVcpu(context)) flushOne(context, id, arg1.linear_addr);
  },
  [MMUEXT.MMUEXT_FLUSH_CACHE]: refused('EACCES', NO_DEVICES),
  [MMUEXT.MMUEXT_FLUSH_CACHE_GLOBAL]: refused('EINVAL', NO_DEVICES),
  [MMUEXT.MMUEXT_SET_LDT]: ({ core, vcpu }, { arg1, arg2 }) => {
    const entries = arg2.nr_ents;
    const base = entries === 0 ? 0n : arg1.linear_addr;
    if ((base & 0xfffn) !== 0n || !addressOk(base) || entries > 8192) {
      fail(
        'EINVAL',
        `LDT at ${hex(base)} with ${entries} entries: it must be page-aligned, the guest's, and at most 8192 long`,
      );
    }
    if (vcpu.state.ldtBase !== base || vcpu.state.ldtEntries !== entries) setLdt(core, vcpu, base, entries);
  },
  [MMUEXT.MMUEXT_CLEAR_PAGE]: ({ core, domain }, { arg1 }) => {
    const mfn = Number(arg1.mfn);
    check(asInvalid(core.types.getPageAndType(mfn, domain.id, FRAME_TYPE.writable)));
    core.memory.zero(mfn);
    core.types.putPageAndType(mfn);
  },
  [MMUEXT.MMUEXT_COPY_PAGE]: ({ core, domain }, { arg1, arg2 }) => {
    const from = Number(arg2.src_mfn);
    const to = Number(arg1.mfn);
    check(core.types.getPage(from, domain.id));
    const problem = asInvalid(core.types.getPageAndType(to, domain.id, FRAME_TYPE.writable));
    if (problem === undefined) {
      core.memory.copy(to, from);
      core.types.putPageAndType(to);
    }
    core.types.putPage(from);
    check(problem);
  },
  [MMUEXT.MMUEXT_MARK_SUPER]: refused('EOPNOTSUPP', 'superpages of PV guests are no longer supported'),
  [MMUEXT.MMUEXT_UNMARK_SUPER]: refused('EOPNOTSUPP', 'superpages of PV guests are no longer supported'),
};

const asInvalid = (problem: Problem): Problem =>
  problem === undefined ? undefined : new Refusal('EINVAL', problem.reason);

const REFUSED_EXT: readonly number[] = [
  MMUEXT.MMUEXT_FLUSH_CACHE,
  MMUEXT.MMUEXT_FLUSH_CACHE_GLOBAL,
  MMUEXT.MMUEXT_MARK_SUPER,
  MMUEXT.MMUEXT_UNMARK_SUPER,
];

export const mmuext_op = batch({
  name: 'mmuext_op',
  nr: 26,
  doc: 'xen.h HYPERVISOR_mmuext_op, struct mmuext_op',
  args: {
    uops: arrayOf(mmuextOp, 'count'),
    count: u32,
    pdone: optional(pointer(u32)),
    foreigndom: domid,
  },
  element: mmuextOp,
  pointer: ({ uops }) => uops,
  count: ({ count }) => count & ~MMU_UPDATE_PREEMPTED,
  cmd: (bytes, at) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(at + mmuextOp.offset.cmd, true),
  ops: Object.entries(MMUEXT).map(([name, cmd]) =>
    batchOp(
      name.replace('MMUEXT_', '').toLowerCase(),
      cmd,
      REFUSED_EXT.includes(cmd) ? 'refused' : 'implemented',
      `xen.h ${name}`,
    ),
  ),
  run(context, { uops, count, pdone, foreigndom }) {
    checkOwner(context, foreigndom, uops);
    const batch = { at: uops, size: mmuextOp.size, count, pdone };
    return runBatch(context, batch, COST.flush, (i) => {
      const op = context.guest.read(mmuextOp, uops + BigInt(i * mmuextOp.size), `operation ${i}`);
      const run = extended[op.cmd];
      if (run === undefined) fail('ENOSYS', `mmuext_op has no command ${op.cmd}`);
      run(context, op);
    });
  },
});

function updateVa(context: CallContext, va: bigint, val: bigint, flags: bigint): CallResult {
  const { core, domain, vcpu } = context;
  const steps = walkTables(core.memory, vcpu.state.kernelTable, va);
  const leaf = steps[3];
  if (leaf === undefined || !addressOk(va)) {
    const last = steps[steps.length - 1];
    return fail(
      'EINVAL',
      `${hex(va)} has no L1 entry: the walk ends at level ${last?.level ?? 4}, entry ${last?.index ?? 0}`,
    );
  }
  const { table } = leaf;
  check(core.types.getPage(table, domain.id));
  try {
    if (core.frames.type[table] !== FRAME_TYPE.l1 || (core.frames.typeCount[table] ?? 0) === 0) {
      fail(
        'EINVAL',
        `the entry for ${hex(va)} stands in ${core.frames.describe(table)}, which is no L1 table`,
      );
    }
    check(core.types.modEntry(1, table, leaf.index, val, domain.id, false));
  } finally {
    core.types.putPage(table);
  }
  flushVa(context, va, flags);
  return 0;
}

/** Flags of update_va_mapping: what to flush, and on which vCPUs (none: this one; ALL; or a bitmap's address). */
function flushVa(context: CallContext, va: bigint, flags: bigint): void {
  const kind = Number(flags & UVMF_FLUSHTYPE_MASK);
  if (kind === 0) return;
  const where = flags & ~UVMF_FLUSHTYPE_MASK;
  const vcpus =
    where === 0n
      ? [context.vcpu.id]
      : where === BigInt(UVMF.UVMF_ALL)
        ? everyVcpu(context)
        : vcpuMask(context, where);
  for (const id of vcpus) {
    if (kind === UVMF.UVMF_TLB_FLUSH) flushAll(context, id);
    else if (kind === UVMF.UVMF_INVLPG) flushOne(context, id, va);
  }
}

export const update_va_mapping = hypercall({
  name: 'update_va_mapping',
  nr: 14,
  doc: 'xen.h HYPERVISOR_update_va_mapping, UVMF_*',
  args: { va: vaddr, val: pte, flags: ulong },
  run: (context, { va, val, flags }) => updateVa(context, va, val, flags),
});

export const update_va_mapping_otherdomain = hypercall({
  name: 'update_va_mapping_otherdomain',
  nr: 22,
  doc: 'xen.h HYPERVISOR_update_va_mapping_otherdomain',
  args: { va: vaddr, val: pte, flags: ulong, domid },
  run(context, { va, val, flags, domid: owner }) {
    checkOwner(context, owner);
    return updateVa(context, va, val, flags);
  },
});
