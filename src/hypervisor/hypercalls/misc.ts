/** xen_version, console_io, vm_assist, physdev_op, xenpmu_op, multicall. */
import { hex } from '../../abi/decoded';
import { arrayOf, enumOf, pointer, u32, ulong } from '../../abi/layout';
import { HYPERVISOR_VIRT_START, VMASST_CMD, VMASST_TYPE, multicall_entry } from '../../abi/mmu';
import {
  PHYSDEVOP,
  XENIRQSTAT_needs_eoi,
  physdev_apic,
  physdev_dbgp_op,
  physdev_eoi,
  physdev_get_free_pirq,
  physdev_irq,
  physdev_irq_status_query,
  physdev_manage_pci,
  physdev_manage_pci_ext,
  physdev_map_pirq,
  physdev_op_apic,
  physdev_op_irq,
  physdev_op_irq_status_query,
  physdev_op_set_iobitmap,
  physdev_op_set_iopl,
  physdev_pci_device,
  physdev_pci_device_add,
  physdev_pci_mmcfg_reserved,
  physdev_pirq_eoi_gmfn,
  physdev_set_iobitmap,
  physdev_set_iopl,
  physdev_setup_gsi,
  physdev_unmap_pirq,
} from '../../abi/physdev';
import { XENPMU, xen_pmu_params } from '../../abi/pmu';
import {
  CAPABILITIES_LENGTH,
  CHANGESET_LENGTH,
  COMMANDLINE_LENGTH,
  EXTRAVERSION_LENGTH,
  XENFEAT,
  XENVER,
  xen_compile_info,
  xen_feature_info,
  xen_platform_parameters,
} from '../../abi/version';
import { DOMID } from '../../abi/domains';
import { chars, type Fields, type Struct, type Values } from '../../abi/layout';
import type { Mfn } from '../../base/branded';
import type { CallContext } from '../context';
import { XEN_VERSION } from '../cpuid';
import { assists } from '../domain';
import { FRAME_TYPE } from '../frames';
import { addressOk } from '../guest-memory';
import { Refusal, family, fail, hypercall, opsOf, type Refused } from '../hypercall';

const versionArgs = { cmd: enumOf(u32, XENVER, 'xen_version'), arg: pointer() };
const version = opsOf('xen_version', versionArgs);

/** What this hypervisor says of itself. The number is that of the ABI; the extra version is Debian 12's. */
const EXTRAVERSION = '.7';
const CAPABILITIES = 'xen-3.0-x86_64 ';
const DENIED = '<denied>';

const text = (name: string, cmd: number, length: number, value: string): ReturnType<typeof version> =>
  version({
    name,
    cmd,
    run({ guest }, _none, { arg }) {
      guest.write(chars(length), arg, value, name);
      return 0;
    },
  });

function features({ domain }: CallContext): number {
  const bits: number[] = [
    XENFEAT.XENFEAT_memory_op_vnode_supported,
    XENFEAT.XENFEAT_direct_mapped,
    XENFEAT.XENFEAT_mmu_pt_update_preserve_ad,
    XENFEAT.XENFEAT_highmem_assist,
    XENFEAT.XENFEAT_gnttab_map_avail_bits,
  ];
  if (assists(domain, VMASST_TYPE.VMASST_TYPE_pae_extended_cr3))
    bits.push(XENFEAT.XENFEAT_pae_pgdir_above_4gb);
  return bits.reduce((sum, b) => sum | (1 << b), 0) >>> 0;
}

export const xen_version = family({
  name: 'xen_version',
  nr: 17,
  doc: 'version.h',
  args: versionArgs,
  cmd: ({ cmd }) => cmd,
  pointer: ({ arg }) => arg,
  ops: [
    version({ name: 'version', cmd: XENVER.XENVER_version, run: () => XEN_VERSION }),
    text('extraversion', XENVER.XENVER_extraversion, EXTRAVERSION_LENGTH, EXTRAVERSION),
    version({
      name: 'compile_info',
      cmd: XENVER.XENVER_compile_info,
      run({ guest }, _none, { arg }) {
        const info = {
          compiler: 'TypeScript',
          compile_by: 'hyperstep',
          compile_domain: '',
          compile_date: '',
        };
        guest.write(xen_compile_info, arg, info, 'compile_info');
        return 0;
      },
    }),
    text('capabilities', XENVER.XENVER_capabilities, CAPABILITIES_LENGTH, CAPABILITIES),
    text('changeset', XENVER.XENVER_changeset, CHANGESET_LENGTH, 'hyperstep'),
    version({
      name: 'platform_parameters',
      cmd: XENVER.XENVER_platform_parameters,
      run({ guest }, _none, { arg }) {
        guest.write(
          xen_platform_parameters,
          arg,
          { virt_start: HYPERVISOR_VIRT_START },
          'platform_parameters',
        );
        return 0;
      },
    }),
    version({
      name: 'get_features',
      cmd: XENVER.XENVER_get_features,
      struct: xen_feature_info,
      out: ['submap'],
      run(context, a) {
        if (a.submap_idx !== 0) return fail('EINVAL', `there is no feature map ${a.submap_idx}, only 0`);
        a.submap = features(context);
        return 0;
      },
    }),
    version({
      name: 'pagesize',
      cmd: XENVER.XENVER_pagesize,
      run: (_context, _none, { arg }) => (arg === 0n ? 4096 : fail('EINVAL', 'it takes no argument')),
    }),
    version({
      name: 'guest_handle',
      cmd: XENVER.XENVER_guest_handle,
      run({ guest, domain }, _none, { arg }) {
        // The domain's UUID: here its number, which is as unique and the same on every run.
        const handle = new Uint8Array(16);
        new DataView(handle.buffer).setUint16(14, domain.id);
        guest.copyOut(arg, handle, 'guest_handle');
        return 0;
      },
    }),
    text('commandline', XENVER.XENVER_commandline, COMMANDLINE_LENGTH, DENIED),
    version({
      name: 'build_id',
      cmd: XENVER.XENVER_build_id,
      refuse: ['EPERM', 'the build id is for privileged domains'],
    }),
  ],
});

const consoleArgs = {
  cmd: enumOf(u32, { CONSOLEIO_write: 0, CONSOLEIO_read: 1 }, 'console_io'),
  count: u32,
  buffer: pointer(),
};
const consoleOp = opsOf('console_io', consoleArgs);
/** Longest piece taken at once; the guest's own pieces are lines. */
const MAX_CONSOLE = 16384;

export const console_io = family({
  name: 'console_io',
  nr: 18,
  doc: 'xen.h CONSOLEIO_*',
  args: consoleArgs,
  cmd: ({ cmd }) => cmd,
  pointer: ({ buffer }) => buffer,
  ops: [
    consoleOp({
      name: 'write',
      cmd: 0,
      doc: 'to the hypervisor log, as Xen built for debugging does it (a release build answers EPERM)',
      run({ core, domain, guest }, _none, { count, buffer }) {
        const bytes = guest.copyIn(buffer, Math.min(count, MAX_CONSOLE), 'console text');
        let line = '';
        for (const b of bytes) line += String.fromCharCode(b);
        core.options.console?.(domain, bytes);
        core.log.info(`d${domain.id}: ${line.replace(/\r?\n$/, '')}`);
        return 0;
      },
    }),
    consoleOp({
      name: 'read',
      cmd: 1,
      refuse: ['EPERM', "the hypervisor's console is read by privileged domains only"],
    }),
  ],
  unknown: 'EPERM',
});

/** VMASST types that a 64-bit PV guest may switch. */
const VALID_ASSISTS: ReadonlySet<number> = new Set(Object.values(VMASST_TYPE));

const assistArgs = {
  cmd: enumOf(u32, VMASST_CMD, 'vm_assist'),
  type: enumOf(u32, VMASST_TYPE, 'VMASST_TYPE'),
};
const assistOp = opsOf('vm_assist', assistArgs);
const assist = (context: CallContext, type: number, on: boolean): number => {
  const { state } = context.domain;
  const bit = 1n << BigInt(type);
  state.vmAssist = on ? state.vmAssist | bit : state.vmAssist & ~bit;
  return 0;
};

export const vm_assist = family({
  name: 'vm_assist',
  nr: 21,
  doc: 'xen.h VMASST_*',
  args: assistArgs,
  cmd: ({ cmd }) => cmd,
  before(_context, { type }) {
    if (!VALID_ASSISTS.has(type)) fail('EINVAL', `vm_assist has no type ${type}`);
  },
  ops: [
    assistOp({ name: 'enable', cmd: 0, run: (context, _none, { type }) => assist(context, type, true) }),
    assistOp({ name: 'disable', cmd: 1, run: (context, _none, { type }) => assist(context, type, false) }),
  ],
});

const physdevArgs = { cmd: enumOf(u32, PHYSDEVOP, 'physdev_op'), arg: pointer() };
const physdev = opsOf('physdev_op', physdevArgs);
const NO_INTERRUPTS = 'the domain has no physical interrupts';
const NO_HARDWARE = 'an unprivileged domain without devices has no access to hardware';
const denied = <F extends Fields>(
  name: keyof typeof PHYSDEVOP,
  struct: Struct<F>,
  check: (context: CallContext, value: Values<F>) => Refused | undefined = () => undefined,
): ReturnType<typeof physdev> =>
  physdev({
    name: name.replace('PHYSDEVOP_', ''),
    cmd: PHYSDEVOP[name],
    struct,
    refuse: (context, value) => check(context, value) ?? ['EPERM', NO_HARDWARE],
  });

/** Interrupt lines of the machine, and what a domain may have of them and beside them (extra_guest_irqs). */
const GSIS = 24;
const FIRST_GSI = 16;
const PIRQS = GSIS + 32;
const MAP_PIRQ_TYPE_GSI = 1;

function irqStatus(irq: number): number {
  if (irq >= PIRQS) return fail('EINVAL', `interrupt ${irq}: there are ${PIRQS}`);
  // To be on the safe side with a guest that does not look at the page of EOI marks.
  return XENIRQSTAT_needs_eoi;
}

/** A number is free until it is given away, and it is given away for good. */
function freePirq({ domain }: CallContext, type: number): number {
  const { pirqs } = domain.state;
  const numbers =
    type === MAP_PIRQ_TYPE_GSI
      ? Array.from({ length: GSIS - FIRST_GSI }, (_, i) => FIRST_GSI + i)
      : Array.from({ length: PIRQS - FIRST_GSI }, (_, i) => PIRQS - 1 - i);
  const found = numbers.find((n) => !pirqs.includes(n));
  if (found === undefined) return fail('ENOSPC', `all ${PIRQS} interrupt numbers are taken`);
  pirqs.push(found);
  return found;
}

/** Every PC has a host bridge, 0000:00:00.0; this one has nothing else. */
const deviceThere = (seg: number, bus: number, devfn: number): Refused | undefined =>
  seg === 0 && bus === 0 && devfn === 0 ? undefined : ['ENODEV', 'there is no such device'];
const otherDomain = ({ core, domain }: CallContext, id: number): Refused | undefined =>
  id === DOMID.SELF || id === domain.id || id === DOMID.DOM0 || core.domains.has(id)
    ? undefined
    : ['ESRCH', `there is no domain ${id}`];

/** A page in which Xen would mark the interrupts that need an EOI. The domain has none, so it stays as it is. */
const eoiMap = (name: string, cmd: number): ReturnType<typeof physdev> =>
  physdev({
    name,
    cmd,
    struct: physdev_pirq_eoi_gmfn,
    run({ core, domain }, { gmfn }) {
      if (domain.state.eoiFrame !== undefined) {
        return fail('EBUSY', `the page is mfn ${hex(domain.state.eoiFrame)} already`);
      }
      const problem = core.types.getPageAndType(Number(gmfn), domain.id, FRAME_TYPE.writable);
      if (problem !== undefined) throw new Refusal('EINVAL', problem.reason);
      domain.state.eoiFrame = Number(gmfn) as Mfn;
      return 0;
    },
  });

function setIopl({ vcpu }: CallContext, { iopl }: { readonly iopl: number }): number {
  if (iopl > 3) return fail('EINVAL', `IOPL ${iopl}: it is at most 3`);
  vcpu.state.iopl = iopl;
  return 0;
}

function setIoBitmap(
  { vcpu }: CallContext,
  { bitmap, nr_ports }: { readonly bitmap: bigint; readonly nr_ports: number },
): number {
  if (nr_ports > 65536 || !addressOk(bitmap))
    return fail('EINVAL', `${nr_ports} ports by a bitmap at ${hex(bitmap)}: there are 65536`);
  vcpu.state.ioBitmap = { address: bitmap, ports: nr_ports };
  return 0;
}

export const physdev_op = family({
  name: 'physdev_op',
  nr: 33,
  doc: 'physdev.h',
  args: physdevArgs,
  cmd: ({ cmd }) => cmd,
  pointer: ({ arg }) => arg,
  ops: [
    physdev({
      name: 'set_iopl',
      cmd: PHYSDEVOP.PHYSDEVOP_set_iopl,
      struct: physdev_set_iopl,
      run: setIopl,
    }),
    physdev({
      name: 'set_iobitmap',
      cmd: PHYSDEVOP.PHYSDEVOP_set_iobitmap,
      struct: physdev_set_iobitmap,
      run: setIoBitmap,
    }),
    physdev({
      name: 'eoi',
      cmd: PHYSDEVOP.PHYSDEVOP_eoi,
      struct: physdev_eoi,
      refuse: () => ['EINVAL', NO_INTERRUPTS],
    }),
    physdev({
      name: 'irq_status_query',
      cmd: PHYSDEVOP.PHYSDEVOP_irq_status_query,
      struct: physdev_irq_status_query,
      out: ['flags'],
      run(_context, a) {
        a.flags = irqStatus(a.irq);
        return 0;
      },
    }),
    physdev({
      name: 'irq_unmask_notify',
      cmd: PHYSDEVOP.PHYSDEVOP_IRQ_UNMASK_NOTIFY,
      doc: NO_INTERRUPTS,
      run: () => 0,
    }),
    denied('PHYSDEVOP_apic_read', physdev_apic),
    denied('PHYSDEVOP_apic_write', physdev_apic),
    denied('PHYSDEVOP_alloc_irq_vector', physdev_irq),
    physdev({
      name: 'free_irq_vector',
      cmd: PHYSDEVOP.PHYSDEVOP_free_irq_vector,
      refuse: ['ENOSYS', 'never implemented'],
    }),
    denied('PHYSDEVOP_map_pirq', physdev_map_pirq, (context, a) => otherDomain(context, a.domid)),
    denied('PHYSDEVOP_unmap_pirq', physdev_unmap_pirq, (context, a) => otherDomain(context, a.domid)),
    denied('PHYSDEVOP_manage_pci_add', physdev_manage_pci),
    denied('PHYSDEVOP_manage_pci_remove', physdev_manage_pci),
    eoiMap('pirq_eoi_gmfn_v1', PHYSDEVOP.PHYSDEVOP_pirq_eoi_gmfn_v1),
    denied('PHYSDEVOP_restore_msi', physdev_manage_pci, (_context, a) => deviceThere(0, a.bus, a.devfn)),
    denied('PHYSDEVOP_manage_pci_add_ext', physdev_manage_pci_ext, (_context, a) =>
      a.is_extfn > 1 || a.is_virtfn > 1 ? ['EINVAL', 'a flag that is neither 0 nor 1'] : undefined,
    ),
    denied('PHYSDEVOP_setup_gsi', physdev_setup_gsi, (_context, { gsi }) =>
      gsi < 0 || gsi >= GSIS ? ['EINVAL', `GSI ${gsi}: there are ${GSIS}`] : undefined,
    ),
    physdev({
      name: 'get_free_pirq',
      cmd: PHYSDEVOP.PHYSDEVOP_get_free_pirq,
      struct: physdev_get_free_pirq,
      out: ['pirq'],
      doc: 'a number, to which an unprivileged domain can bind nothing',
      run(context, a) {
        a.pirq = freePirq(context, a.type);
        return 0;
      },
    }),
    physdev({
      name: 'pci_mmcfg_reserved',
      cmd: PHYSDEVOP.PHYSDEVOP_pci_mmcfg_reserved,
      struct: physdev_pci_mmcfg_reserved,
      refuse: ['EPERM', NO_HARDWARE],
    }),
    denied('PHYSDEVOP_pci_device_add', physdev_pci_device_add),
    denied('PHYSDEVOP_pci_device_remove', physdev_pci_device),
    denied('PHYSDEVOP_restore_msi_ext', physdev_pci_device, (_context, a) =>
      deviceThere(a.seg, a.bus, a.devfn),
    ),
    eoiMap('pirq_eoi_gmfn_v2', PHYSDEVOP.PHYSDEVOP_pirq_eoi_gmfn_v2),
    physdev({
      name: 'dbgp_op',
      cmd: PHYSDEVOP.PHYSDEVOP_dbgp_op,
      struct: physdev_dbgp_op,
      refuse: ['EPERM', NO_HARDWARE],
    }),
    denied('PHYSDEVOP_prepare_msix', physdev_pci_device),
    denied('PHYSDEVOP_release_msix', physdev_pci_device),
  ],
});

const compatArgs = { op: pointer() };
const compat = opsOf('physdev_op_compat', compatArgs);
/** The command stands in the structure's first word. */
const COMMAND_BYTES = 4;

/** The few operations there were before 3.2; each does what physdev_op does (xen/arch/x86/compat.c). */
export const physdev_op_compat = family({
  name: 'physdev_op_compat',
  nr: 19,
  doc: 'physdev.h struct physdev_op (before 3.2)',
  args: compatArgs,
  cmd: ({ op }, memory) => {
    const bytes = memory(op, COMMAND_BYTES);
    return bytes === undefined
      ? undefined
      : new DataView(bytes.buffer, bytes.byteOffset, COMMAND_BYTES).getUint32(0, true);
  },
  pointer: ({ op }) => op,
  ops: [
    compat({
      name: 'irq_unmask_notify',
      cmd: PHYSDEVOP.PHYSDEVOP_IRQ_UNMASK_NOTIFY,
      doc: NO_INTERRUPTS,
      run: () => 0,
    }),
    compat({
      name: 'irq_status_query',
      cmd: PHYSDEVOP.PHYSDEVOP_irq_status_query,
      struct: physdev_op_irq_status_query,
      out: ['flags'],
      run(_context, a) {
        a.flags = irqStatus(a.irq);
        return 0;
      },
    }),
    compat({
      name: 'set_iopl',
      cmd: PHYSDEVOP.PHYSDEVOP_set_iopl,
      struct: physdev_op_set_iopl,
      run: setIopl,
    }),
    compat({
      name: 'set_iobitmap',
      cmd: PHYSDEVOP.PHYSDEVOP_set_iobitmap,
      struct: physdev_op_set_iobitmap,
      run: setIoBitmap,
    }),
    compat({
      name: 'apic_read',
      cmd: PHYSDEVOP.PHYSDEVOP_apic_read,
      struct: physdev_op_apic,
      refuse: ['EPERM', NO_HARDWARE],
    }),
    compat({
      name: 'apic_write',
      cmd: PHYSDEVOP.PHYSDEVOP_apic_write,
      struct: physdev_op_apic,
      refuse: ['EPERM', NO_HARDWARE],
    }),
    compat({
      name: 'alloc_irq_vector',
      cmd: PHYSDEVOP.PHYSDEVOP_alloc_irq_vector,
      struct: physdev_op_irq,
      refuse: ['EPERM', NO_HARDWARE],
    }),
  ],
});

const pmuArgs = { op: enumOf(u32, XENPMU, 'xenpmu_op'), arg: pointer(xen_pmu_params) };
const pmuOp = opsOf('xenpmu_op', pmuArgs);

export const xenpmu_op = family({
  name: 'xenpmu_op',
  nr: 40,
  doc: 'pmu.h',
  args: pmuArgs,
  cmd: ({ op }) => op,
  pointer: ({ arg }) => arg,
  ops: Object.entries(XENPMU).map(([name, cmd]) =>
    pmuOp({
      name: name.replace('XENPMU_', ''),
      cmd,
      struct: xen_pmu_params,
      refuse: ['EOPNOTSUPP', 'the performance counters are not virtualized (Xen: vpmu=off, the default)'],
    }),
  ),
  unknown: 'EOPNOTSUPP',
});

/** Its entries are run one by one by the dispatcher, so that each can be stopped at and traced. */
export const multicall = hypercall({
  name: 'multicall',
  nr: 13,
  doc: 'xen.h HYPERVISOR_multicall, struct multicall_entry',
  args: { call_list: arrayOf(multicall_entry, 'nr_calls'), nr_calls: ulong },
  captures: ({ call_list }) => [{ address: call_list, length: multicall_entry.size }],
  run: () => fail('EINVAL', 'a multicall cannot be an entry of a multicall'),
});
