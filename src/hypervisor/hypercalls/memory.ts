/** memory_op (xen/common/memory.c, xen/arch/x86/mm.c arch_memory_op). */
import { hex } from '../../abi/decoded';
import { DOMID } from '../../abi/domains';
import { enumOf, pointer, u32, type ValueOf } from '../../abi/layout';
import {
  E820_ENTRY_SIZE,
  E820_MAX,
  E820_RAM,
  MEMOP_CMD_MASK,
  MEMOP_EXTENT_SHIFT,
  XENMEM,
  XENMEM_RDM_ALL,
  e820Entry,
  xen_add_to_physmap,
  xen_add_to_physmap_batch,
  xen_foreign_memory_map,
  xen_machphys_mapping,
  xen_machphys_mfn_list,
  xen_mem_access_op,
  xen_mem_acquire_resource,
  xen_memory_domain,
  xen_memory_exchange,
  xen_memory_map,
  xen_memory_reservation,
  xen_pod_target,
  xen_remove_from_physmap,
  xen_reserved_device_memory_map,
  xen_vnuma_topology_info,
} from '../../abi/memory';
import { MACH2PHYS_VIRT_END, MACH2PHYS_VIRT_START } from '../../abi/mmu';
import { shared_info } from '../../abi/info';
import { COST } from '../budget';
import type { CallContext } from '../context';
import { family, fail, opsOf, type Refused } from '../hypercall';
import { allocateExtent, releaseFrame, stealFrames } from '../reservation';
import { setMachineToPhysical } from '../physmap';

const args = { cmd: enumOf(u32, XENMEM, 'memory_op'), arg: pointer() };
const op = opsOf('memory_op', args);
type Args = { readonly cmd: number };
type Reservation = ValueOf<typeof xen_memory_reservation>;

/** domu_max_order: extents of at most 2 MiB for a domain without devices. */
const MAX_ORDER = 9;
const MAX_EXTENTS = 0xffff_ffff >>> MEMOP_EXTENT_SHIFT;

function own({ domain, core }: CallContext, id: number): void {
  if (id === DOMID.SELF || id === domain.id) return;
  if (id !== DOMID.DOM0 && !core.domains.has(id)) fail('ESRCH', `there is no domain ${id}`);
  fail('EPERM', `d${domain.id} may not change or look at the memory of d${id}`);
}

/**
 * The calls that work on extents do not fail: they return how many extents were done, starting at the number in
 * the command's upper bits. Why it ended early goes to the log.
 */
function eachExtent(
  context: CallContext,
  a: Reservation,
  { cmd }: Args,
  what: string,
  each: (at: bigint) => string | undefined,
): number {
  const start = cmd >>> MEMOP_EXTENT_SHIFT;
  const stop = (why: string, done: number): number => {
    context.note(`${what}: ${done} of ${a.nr_extents} extents done: ${why}`);
    return done;
  };
  if (a.nr_extents > BigInt(MAX_EXTENTS)) return stop(`more than ${MAX_EXTENTS} extents`, start);
  if (a.domid !== DOMID.SELF && a.domid !== context.domain.id)
    return stop(`domain ${a.domid} is another`, start);
  if (a.extent_order > MAX_ORDER)
    return stop(`extents of 2^${a.extent_order} frames: at most 2^${MAX_ORDER}`, start);
  const count = Number(a.nr_extents);
  for (let i = start; i < count; i++) {
    const why = each(a.extent_start + BigInt(i * 8));
    if (why !== undefined) return stop(why, i);
    if (context.spend(COST.flush + 2 ** a.extent_order) && i + 1 < count) {
      context.goOnWith([BigInt(((cmd & MEMOP_CMD_MASK) | ((i + 1) << MEMOP_EXTENT_SHIFT)) >>> 0)]);
      return i + 1;
    }
  }
  return Math.max(start, count);
}

const firstExtent = ({ cmd }: Args): number => cmd >>> MEMOP_EXTENT_SHIFT;

const reads = ({ guest }: CallContext, at: bigint): bigint | undefined => {
  const bytes = guest.reader(at, 8);
  return bytes === undefined ? undefined : new DataView(bytes.buffer).getBigUint64(0, true);
};
const writes = ({ guest }: CallContext, at: bigint, value: bigint): void => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  guest.copyOut(at, bytes, 'extent');
};

const ofDomain = (
  name: string,
  cmd: number,
  value: (context: CallContext) => number | bigint,
): ReturnType<typeof op> =>
  op({
    name,
    cmd,
    struct: xen_memory_domain,
    run(context, { domid }) {
      own(context, domid);
      return value(context);
    },
  });

type Check = (context: CallContext, id: number) => Refused | undefined;
const known: Check = ({ core, domain }, id) =>
  id === DOMID.SELF || id === domain.id || id === DOMID.DOM0 || core.domains.has(id)
    ? undefined
    : ['ESRCH', `there is no domain ${id}`];
/** rcu_lock_domain_by_id: the caller has to say its own number. */
const named: Check = (context, id) =>
  id === DOMID.SELF ? ['ESRCH', 'DOMID_SELF is no domain to this call'] : known(context, id);

/** Refused once the structure was read and the domain in it looked up. */
const of =
  (check: Check, refused: Refused) =>
  (context: CallContext, { domid }: { readonly domid: number }): Refused =>
    check(context, domid) ?? refused;

const privileged: Refused = ['EPERM', 'for privileged domains only'];
const translatedOnly: Refused = ['EACCES', 'a PV domain keeps its own physical map'];
const gone: Refused = ['ENOSYS', 'not part of this build of Xen'];
/** Padding must be zero where Xen looks at it. */
const padded = (pad: number, why: Refused): Refused =>
  pad === 0 ? why : ['EINVAL', 'padding that is not zero'];

export const memory_op = family({
  name: 'memory_op',
  nr: 12,
  doc: 'memory.h',
  args,
  cmd: ({ cmd }) => cmd & MEMOP_CMD_MASK,
  pointer: ({ arg }) => arg,
  ops: [
    op({
      name: 'increase_reservation',
      cmd: XENMEM.XENMEM_increase_reservation,
      struct: xen_memory_reservation,
      unreadable: firstExtent,
      run: (context, a, c) =>
        eachExtent(context, a, c, 'increase_reservation', (at) => {
          const got = allocateExtent(context.core, context.domain, a.extent_order);
          if (typeof got === 'string') return got;
          if (a.extent_start !== 0n) writes(context, at, BigInt(got));
          return undefined;
        }),
    }),
    op({
      name: 'decrease_reservation',
      cmd: XENMEM.XENMEM_decrease_reservation,
      struct: xen_memory_reservation,
      unreadable: firstExtent,
      run: (context, a, c) =>
        eachExtent(context, a, c, 'decrease_reservation', (at) => {
          const mfn = reads(context, at);
          if (mfn === undefined) return `the extent at ${hex(at)} cannot be read`;
          for (let j = 0; j < 2 ** a.extent_order; j++) {
            const why = releaseFrame(context.core, context.domain, Number(mfn) + j);
            if (why !== undefined) return why;
          }
          return undefined;
        }),
    }),
    op({
      name: 'populate_physmap',
      cmd: XENMEM.XENMEM_populate_physmap,
      struct: xen_memory_reservation,
      unreadable: firstExtent,
      run: (context, a, c) =>
        eachExtent(context, a, c, 'populate_physmap', (at) => {
          const pfn = reads(context, at);
          if (pfn === undefined) return `the extent at ${hex(at)} cannot be read`;
          const got = allocateExtent(context.core, context.domain, a.extent_order);
          if (typeof got === 'string') return got;
          for (let j = 0; j < 2 ** a.extent_order; j++) {
            setMachineToPhysical(context.core, context.domain, got + j, pfn + BigInt(j));
          }
          writes(context, at, BigInt(got));
          return undefined;
        }),
    }),
    op({
      name: 'exchange',
      cmd: XENMEM.XENMEM_exchange,
      struct: xen_memory_exchange,
      out: ['nr_exchanged'],
      outAlways: true,
      run(context, a, { cmd }) {
        exchange(context, a, cmd);
        return 0;
      },
    }),
    op({
      name: 'maximum_ram_page',
      cmd: XENMEM.XENMEM_maximum_ram_page,
      run: ({ core }) => core.frames.count,
    }),
    ofDomain(
      'current_reservation',
      XENMEM.XENMEM_current_reservation,
      ({ domain }) => domain.state.totalPages,
    ),
    ofDomain('maximum_reservation', XENMEM.XENMEM_maximum_reservation, ({ domain }) => domain.state.maxPages),
    ofDomain('maximum_gpfn', XENMEM.XENMEM_maximum_gpfn, ({ core, domain }) => {
      const info = core.memory.view(domain.state.sharedInfo);
      const max = info.getBigUint64(shared_info.offset.arch, true);
      return max === 0n ? 0n : max - 1n;
    }),
    op({
      name: 'memory_map',
      cmd: XENMEM.XENMEM_memory_map,
      struct: xen_memory_map,
      out: ['nr_entries'],
      run({ domain, guest }, a) {
        // One entry of RAM, as the toolstack makes it for a domain without devices.
        if (a.nr_entries === 0) return 0;
        const entry = e820Entry(0n, BigInt(domain.state.mapPages) * 4096n, E820_RAM);
        guest.copyOut(a.buffer, entry, `memory map entry, ${E820_ENTRY_SIZE} bytes`);
        a.nr_entries = 1;
        return 0;
      },
    }),
    op({
      name: 'machphys_mapping',
      cmd: XENMEM.XENMEM_machphys_mapping,
      run({ guest }, _none, { arg }) {
        const max_mfn = (MACH2PHYS_VIRT_END - MACH2PHYS_VIRT_START) / 8n - 1n;
        const mapping = { v_start: MACH2PHYS_VIRT_START, v_end: MACH2PHYS_VIRT_END, max_mfn };
        guest.write(xen_machphys_mapping, arg, mapping, 'machphys_mapping');
        return 0;
      },
    }),
    op({
      name: 'machphys_mfn_list',
      cmd: XENMEM.XENMEM_machphys_mfn_list,
      struct: xen_machphys_mfn_list,
      out: ['nr_extents'],
      run(context, a) {
        const { m2pFrame, m2pFrames } = context.core.slots;
        const extents = Math.min(Math.ceil(m2pFrames / 512), a.max_extents);
        for (let i = 0; i < extents; i++)
          writes(context, a.extent_start + BigInt(i * 8), BigInt(m2pFrame + i * 512));
        a.nr_extents = extents;
        return 0;
      },
    }),
    op({
      name: 'machphys_compat_mfn_list',
      cmd: XENMEM.XENMEM_machphys_compat_mfn_list,
      struct: xen_machphys_mfn_list,
      refuse: ['EOPNOTSUPP', 'for a dom0 that runs 32-bit guests'],
    }),
    op({
      name: 'add_to_physmap',
      cmd: XENMEM.XENMEM_add_to_physmap,
      struct: xen_add_to_physmap,
      refuse: of(known, translatedOnly),
    }),
    op({
      name: 'add_to_physmap_batch',
      cmd: XENMEM.XENMEM_add_to_physmap_batch,
      struct: xen_add_to_physmap_batch,
      refuse: of(known, translatedOnly),
    }),
    op({
      name: 'remove_from_physmap',
      cmd: XENMEM.XENMEM_remove_from_physmap,
      struct: xen_remove_from_physmap,
      refuse: of(known, translatedOnly),
    }),
    op({
      name: 'machine_memory_map',
      cmd: XENMEM.XENMEM_machine_memory_map,
      refuse: privileged,
    }),
    op({
      name: 'set_memory_map',
      cmd: XENMEM.XENMEM_set_memory_map,
      struct: xen_foreign_memory_map,
      refuse: (context, a) =>
        a.map.nr_entries > E820_MAX
          ? ['EINVAL', `${a.map.nr_entries} entries: at most ${E820_MAX}`]
          : (known(context, a.domid) ?? privileged),
    }),
    ...(
      [
        ['set_pod_target', XENMEM.XENMEM_set_pod_target],
        ['get_pod_target', XENMEM.XENMEM_get_pod_target],
      ] as const
    ).map(([name, cmd]) =>
      op({
        name,
        cmd,
        struct: xen_pod_target,
        refuse: of(known, ['EINVAL', 'populate on demand is for HVM domains']),
      }),
    ),
    op({
      name: 'claim_pages',
      cmd: XENMEM.XENMEM_claim_pages,
      struct: xen_memory_reservation,
      refuse(context, a, { cmd }) {
        const plain =
          cmd >>> MEMOP_EXTENT_SHIFT === 0 &&
          a.extent_start === 0n &&
          a.extent_order === 0 &&
          a.mem_flags === 0;
        if (!plain) return ['EINVAL', 'a claim has a number of pages and nothing else'];
        const why = named(context, a.domid);
        return why === undefined ? privileged : ['EINVAL', why[1]];
      },
    }),
    op({ name: 'paging_op', cmd: XENMEM.XENMEM_paging_op, refuse: gone }),
    op({
      name: 'access_op',
      cmd: XENMEM.XENMEM_access_op,
      struct: xen_mem_access_op,
      refuse: of(known, ['EINVAL', 'memory access is watched in HVM domains only']),
    }),
    op({ name: 'sharing_op', cmd: XENMEM.XENMEM_sharing_op, refuse: gone }),
    op({
      name: 'acquire_resource',
      cmd: XENMEM.XENMEM_acquire_resource,
      struct: xen_mem_acquire_resource,
      refuse(context, a) {
        if (a.pad !== 0) return padded(a.pad, privileged);
        return named(context, a.domid) ?? privileged;
      },
    }),
    op({ name: 'get_sharing_freed_pages', cmd: XENMEM.XENMEM_get_sharing_freed_pages, run: () => 0 }),
    op({ name: 'get_sharing_shared_pages', cmd: XENMEM.XENMEM_get_sharing_shared_pages, run: () => 0 }),
    op({
      name: 'get_vnumainfo',
      cmd: XENMEM.XENMEM_get_vnumainfo,
      struct: xen_vnuma_topology_info,
      refuse(context, a) {
        if (a.pad !== 0) return padded(a.pad, privileged);
        const other = a.domid !== DOMID.SELF && a.domid !== context.domain.id;
        return (
          known(context, a.domid) ??
          (other ? privileged : ['EOPNOTSUPP', 'the domain has no virtual NUMA topology'])
        );
      },
    }),
    op({
      name: 'reserved_device_memory_map',
      cmd: XENMEM.XENMEM_reserved_device_memory_map,
      struct: xen_reserved_device_memory_map,
      out: ['nr_entries'],
      doc: 'no device of the machine reserves memory: the list is empty',
      run(_context, a, { cmd }) {
        if (cmd >>> MEMOP_EXTENT_SHIFT !== 0) return fail('EINVAL', 'this call has no extents to start at');
        if ((a.flags & ~XENMEM_RDM_ALL) !== 0)
          return fail('EINVAL', `flags ${hex(a.flags)}: only XENMEM_RDM_ALL is known`);
        a.nr_entries = 0;
        return 0;
      },
    }),
  ],
});

/** Gives frames back and takes as many others, keeping the count: how a guest gets frames in a row. */
function exchange(context: CallContext, a: ValueOf<typeof xen_memory_exchange>, cmd: number): void {
  const { core, domain } = context;
  const { in: from, out: to } = a;
  const order = Math.max(from.extent_order, to.extent_order);
  if (order > MAX_ORDER) fail('EPERM', `extents of 2^${order} frames: at most 2^${MAX_ORDER}`);
  if (a.nr_exchanged > from.nr_extents)
    fail('EINVAL', `${a.nr_exchanged} of ${from.nr_extents} extents are said to be done`);
  if (from.domid !== to.domid)
    fail('EINVAL', `frames of d${from.domid} cannot be exchanged for frames of d${to.domid}`);
  const [taken, given] = [from, to].map((r) => r.nr_extents << BigInt(r.extent_order));
  if (taken !== given || (taken ?? 0n) >> 64n !== 0n) {
    fail(
      'EINVAL',
      `${from.nr_extents} × 2^${from.extent_order} frames do not equal ${to.nr_extents} × 2^${to.extent_order}`,
    );
  }
  if (a.nr_exchanged === from.nr_extents) return;
  own(context, from.domid);
  // A chunk is as many extents of the smaller kind as make one of the larger.
  const inPer = 2 ** (order - from.extent_order);
  const outPer = 2 ** (order - to.extent_order);
  const chunks = Number(from.nr_extents) / inPer;
  for (let chunk = Math.floor(Number(a.nr_exchanged) / inPer); chunk < chunks; chunk++) {
    const taken: number[] = [];
    for (let i = 0; i < inPer; i++) {
      const mfn = reads(context, from.extent_start + BigInt((chunk * inPer + i) * 8));
      if (mfn === undefined) return fail('EFAULT', `input extent ${chunk * inPer + i} cannot be read`);
      for (let j = 0; j < 2 ** from.extent_order; j++) taken.push(Number(mfn) + j);
    }
    const pfns: bigint[] = [];
    for (let i = 0; i < outPer; i++) {
      const pfn = reads(context, to.extent_start + BigInt((chunk * outPer + i) * 8));
      if (pfn === undefined) return fail('EFAULT', `output extent ${chunk * outPer + i} cannot be read`);
      pfns.push(pfn);
    }
    stealFrames(core, domain, taken, outPer, to.extent_order, (bases) => {
      bases.forEach((base, i) => {
        const pfn = pfns[i] ?? 0n;
        for (let j = 0; j < 2 ** to.extent_order; j++)
          setMachineToPhysical(core, domain, base + j, pfn + BigInt(j));
        writes(context, to.extent_start + BigInt((chunk * outPer + i) * 8), BigInt(base));
      });
    });
    a.nr_exchanged = BigInt((chunk + 1) * inPer);
    if (context.spend(COST.flush + 2 ** order) && chunk + 1 < chunks) {
      // It starts at nr_exchanged, which is copied out.
      context.goOnWith([BigInt(cmd)]);
      return;
    }
  }
}
