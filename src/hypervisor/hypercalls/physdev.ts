/** physdev_op, now and before 3.2: interrupts and hardware, of which an unprivileged domain has none. */
import { hex } from '../../abi/decoded';
import { DOMID } from '../../abi/domains';
import { enumOf, pointer, u32, type Fields, type Struct, type Values } from '../../abi/layout';
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
import type { Mfn } from '../../base/branded';
import type { CallContext } from '../context';
import { FRAME_TYPE } from '../frames';
import { addressOk } from '../guest-memory';
import { Refusal, family, fail, opsOf, type Refused } from '../hypercall';

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

function queryIrqStatus(_context: CallContext, a: { readonly irq: number; flags: number }): number {
  if (a.irq >= PIRQS) return fail('EINVAL', `interrupt ${a.irq}: there are ${PIRQS}`);
  // To be on the safe side with a guest that does not look at the page of EOI marks.
  a.flags = XENIRQSTAT_needs_eoi;
  return 0;
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
      run: queryIrqStatus,
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
      run: queryIrqStatus,
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
