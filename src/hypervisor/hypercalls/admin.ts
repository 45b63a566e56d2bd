/** Calls for dom0 and its tools, and for other kinds of guest: declared, and refused as Xen refuses a PV domU. */
import { hex } from '../../abi/decoded';
import { DOMID } from '../../abi/domains';
import {
  hvm_get_mem_type,
  hvm_get_time,
  hvm_pagetable_dying,
  hvm_param,
  hvm_xentrace,
} from '../../abi/admin';
import { enumOf, pointer, u32, u64, ulong, domid, type Names } from '../../abi/layout';
import { KEXEC, MCA, SYSCTL, DOMCTL, HVMOP, HYPFS, ARGO, XENOPROF, XENPF } from '../../abi/admin';
import type { CallContext } from '../context';
import { family, fail, hypercall, opsOf, type Declaration, type Refused } from '../hypercall';

const PRIVILEGED = 'for the control domain only';

interface Admin {
  readonly name: string;
  readonly nr: number;
  readonly doc: string;
  readonly commands: Names;
  readonly prefix: string;
}

interface Versioned extends Admin {
  /** What the structure's second word must be, since tools and hypervisor are of one build; undefined: not read. */
  readonly version: number | undefined;
  /** What is looked at between the version and the caller's right. */
  readonly check?: (context: CallContext, at: bigint) => void;
}

const word = (bytes: Uint8Array, at: number): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);

/** The command stands at the front of the structure, the version behind it. */
function inStructure({ name, nr, doc, commands, prefix, version, check }: Versioned): Declaration {
  const args = { arg: pointer() };
  const op = opsOf(name, args);
  return family({
    name,
    nr,
    doc,
    args,
    cmd: ({ arg }, memory) => {
      const bytes = memory(arg, 8);
      return bytes === undefined ? undefined : word(bytes, 0);
    },
    pointer: ({ arg }) => arg,
    before(context, { arg }) {
      if (version === undefined) return fail('EPERM', PRIVILEGED);
      const bytes = context.guest.copyIn(arg, 8, name);
      if (word(bytes, 4) !== version)
        fail('EACCES', `interface version ${hex(word(bytes, 4))}: it is ${hex(version)}`);
      check?.(context, arg);
    },
    ops: Object.entries(commands).map(([label, cmd]) =>
      op({ name: label.replace(prefix, ''), cmd, refuse: ['EPERM', PRIVILEGED] }),
    ),
    unknown: 'EPERM',
  });
}

/** The command is the first argument. */
function inRegister({ name, nr, doc, commands, prefix }: Admin): Declaration {
  const args = { cmd: enumOf(u32, commands, name), arg: pointer() };
  const op = opsOf(name, args);
  return family({
    name,
    nr,
    doc,
    args,
    cmd: ({ cmd }) => cmd,
    pointer: ({ arg }) => arg,
    ops: Object.entries(commands).map(([label, cmd]) =>
      op({ name: label.replace(prefix, ''), cmd, refuse: ['EPERM', PRIVILEGED] }),
    ),
    unknown: 'EPERM',
  });
}

export const platform_op = inStructure({
  name: 'platform_op',
  nr: 7,
  doc: 'platform.h',
  commands: XENPF,
  prefix: 'XENPF_',
  version: 0x0300_0001,
});
export const sysctl = inStructure({
  name: 'sysctl',
  nr: 35,
  doc: 'sysctl.h',
  commands: SYSCTL,
  prefix: 'XEN_SYSCTL_',
  version: 0x15,
});
/** Those for which Xen looks no domain up. */
const WITHOUT_DOMAIN: ReadonlySet<number> = new Set([
  DOMCTL.XEN_DOMCTL_createdomain,
  DOMCTL.XEN_DOMCTL_gdbsx_guestmemio,
]);
export const domctl = inStructure({
  name: 'domctl',
  nr: 36,
  doc: 'domctl.h',
  commands: DOMCTL,
  prefix: 'XEN_DOMCTL_',
  version: 0x15,
  check({ core, guest }, at) {
    const bytes = guest.copyIn(at, 12, 'domctl');
    const id = word(bytes, 8) & 0xffff;
    if (WITHOUT_DOMAIN.has(word(bytes, 0)) || id === DOMID.DOM0 || core.domains.has(id)) return;
    fail('ESRCH', `there is no domain ${id}`);
  },
});
export const mca = inStructure({
  name: 'mca',
  nr: 48,
  doc: 'arch-x86/xen-mca.h (__HYPERVISOR_arch_0)',
  commands: MCA,
  prefix: 'XEN_MC_',
  version: undefined,
});
export const kexec_op = inRegister({
  name: 'kexec_op',
  nr: 37,
  doc: 'kexec.h',
  commands: KEXEC,
  prefix: 'KEXEC_CMD_',
});
const xenoprofArgs = { op: enumOf(u32, XENOPROF, 'xenoprof_op'), arg: pointer() };
const xenoprofOp = opsOf('xenoprof_op', xenoprofArgs);
export const xenoprof_op = family({
  name: 'xenoprof_op',
  nr: 31,
  doc: 'xenoprof.h',
  args: xenoprofArgs,
  cmd: ({ op }) => op,
  pointer: ({ arg }) => arg,
  // Two are for everybody, on a processor whose counters Xen knows.
  ops: Object.entries(XENOPROF).map(([label, cmd]) =>
    xenoprofOp({
      name: label.replace('XENOPROF_', ''),
      cmd,
      refuse:
        cmd === XENOPROF.XENOPROF_init || cmd === XENOPROF.XENOPROF_get_buffer
          ? ['ENODEV', 'the processor has no performance counters']
          : ['EPERM', 'for the profiling domain only'],
    }),
  ),
  unknown: 'EINVAL',
});

const hvmArgs = { op: enumOf(u32, HVMOP, 'hvm_op'), arg: pointer() };
const hvmOp = opsOf('hvm_op', hvmArgs);
const HVM_ONLY = 'for HVM domains only';
const hvmOnly: Refused = ['EINVAL', HVM_ONLY];
const GONE: Refused = ['ENOSYS', 'no longer one of this call'];
/** Unless the domain does not exist. */
const ofHvm =
  (refused: Refused) =>
  ({ core, domain }: CallContext, { domid: id }: { readonly domid: number }): Refused =>
    id === DOMID.SELF || id === domain.id || id === DOMID.DOM0 || core.domains.has(id)
      ? refused
      : ['ESRCH', `there is no domain ${id}`];
/** Parameters of an HVM domain. */
const NR_PARAMS = 39;
/** Bytes that a trace record may have. */
const TRACE_EXTRA = 28;

/** xen/arch/x86/hvm/hvm.c do_hvm_op, as a PV domain finds it. */
export const hvm_op = family({
  name: 'hvm_op',
  nr: 34,
  doc: 'hvm/hvm_op.h',
  args: hvmArgs,
  cmd: ({ op }) => op,
  pointer: ({ arg }) => arg,
  ops: [
    ...(['HVMOP_set_param', 'HVMOP_get_param'] as const).map((label) =>
      hvmOp({
        name: label.replace('HVMOP_', ''),
        cmd: HVMOP[label],
        struct: hvm_param,
        refuse: (context, a) => (a.index < NR_PARAMS ? ofHvm(hvmOnly)(context, a) : hvmOnly),
      }),
    ),
    hvmOp({ name: 'flush_tlbs', cmd: HVMOP.HVMOP_flush_tlbs, refuse: hvmOnly }),
    hvmOp({
      name: 'pagetable_dying',
      cmd: HVMOP.HVMOP_pagetable_dying,
      struct: hvm_pagetable_dying,
      refuse: ofHvm(['EOPNOTSUPP', 'the domain has no shadow page tables']),
    }),
    hvmOp({
      name: 'get_time',
      cmd: HVMOP.HVMOP_get_time,
      struct: hvm_get_time,
      out: ['now'],
      run({ core }, a) {
        a.now = core.now();
        return 0;
      },
    }),
    hvmOp({
      name: 'xentrace',
      cmd: HVMOP.HVMOP_xentrace,
      struct: hvm_xentrace,
      doc: 'into the trace buffer of Xen, which nobody reads here',
      run: (_context, a) =>
        a.extra_bytes > TRACE_EXTRA ? fail('EINVAL', `${a.extra_bytes} bytes: at most ${TRACE_EXTRA}`) : 0,
    }),
    hvmOp({
      name: 'get_mem_type',
      cmd: HVMOP.HVMOP_get_mem_type,
      struct: hvm_get_mem_type,
      refuse(context, a) {
        const own = a.domid === DOMID.SELF || a.domid === context.domain.id;
        return ofHvm(own ? hvmOnly : ['EPERM', `d${a.domid} is another`])(context, a);
      },
    }),
    hvmOp({ name: 'set_evtchn_upcall_vector', cmd: HVMOP.HVMOP_set_evtchn_upcall_vector, refuse: hvmOnly }),
    hvmOp({
      name: 'guest_request_vm_event',
      cmd: HVMOP.HVMOP_guest_request_vm_event,
      doc: 'nobody listens to the events of this domain',
      run: (_context, _none, { arg }) => (arg === 0n ? 0 : fail('EINVAL', 'it takes no argument')),
    }),
    hvmOp({ name: 'altp2m', cmd: HVMOP.HVMOP_altp2m, refuse: ['EOPNOTSUPP', HVM_ONLY] }),
    ...(
      [
        'HVMOP_set_pci_intx_level',
        'HVMOP_set_isa_irq_level',
        'HVMOP_set_pci_link_route',
        'HVMOP_set_mem_access',
        'HVMOP_get_mem_access',
      ] as const
    ).map((label) => hvmOp({ name: label.replace('HVMOP_', ''), cmd: HVMOP[label], refuse: GONE })),
  ],
  unknown: 'ENOSYS',
});

const argoArgs = {
  cmd: enumOf(u32, ARGO, 'argo_op'),
  arg1: pointer(),
  arg2: pointer(),
  arg3: ulong,
  arg4: ulong,
};
const argoOp = opsOf('argo_op', argoArgs);
export const argo_op = family({
  name: 'argo_op',
  nr: 39,
  doc: 'argo.h',
  args: argoArgs,
  cmd: ({ cmd }) => cmd,
  ops: Object.entries(ARGO).map(([label, cmd]) =>
    argoOp({
      name: label.replace('XEN_ARGO_OP_', ''),
      cmd,
      refuse: ['ENOSYS', 'Argo is not part of the build (Debian: CONFIG_ARGO is off)'],
    }),
  ),
  unknown: 'ENOSYS',
});

const hypfsArgs = {
  cmd: enumOf(u32, HYPFS, 'hypfs_op'),
  arg1: pointer(),
  arg2: ulong,
  arg3: pointer(),
  arg4: ulong,
};
const hypfsOp = opsOf('hypfs_op', hypfsArgs);
export const hypfs_op = family({
  name: 'hypfs_op',
  nr: 42,
  doc: 'hypfs.h',
  args: hypfsArgs,
  cmd: ({ cmd }) => cmd,
  ops: Object.entries(HYPFS).map(([label, cmd]) =>
    hypfsOp({ name: label.replace('XEN_HYPFS_OP_', ''), cmd, refuse: ['EPERM', PRIVILEGED] }),
  ),
  unknown: 'EPERM',
});

/** Buffers of one dm_op. */
const MAX_BUFFERS = 2;
/** xen/arch/x86/dm.c: the caller names another domain, an HVM one of which it is the device model. */
export const dm_op = hypercall({
  name: 'dm_op',
  nr: 41,
  doc: 'hvm/dm_op.h',
  args: { domid, nr_bufs: u32, bufs: pointer() },
  refuse({ core, domain, guest }, { domid: id, nr_bufs: count, bufs }) {
    if (count > MAX_BUFFERS) return ['E2BIG', `${count} buffers: at most ${MAX_BUFFERS}`];
    guest.copyIn(bufs, count * 16, 'dm_op buffers');
    if (id === domain.id) return ['EPERM', 'a domain is not its own device model'];
    if (id !== DOMID.DOM0 && !core.domains.has(id)) return ['ESRCH', `there is no domain ${id}`];
    return ['EINVAL', `d${id} is no HVM domain`];
  },
});
export const xsm_op = hypercall({
  name: 'xsm_op',
  nr: 27,
  doc: 'xsm/flask_op.h',
  args: { op: pointer() },
  refuse: ['ENOSYS', 'no security module is loaded'],
});
export const tmem_op = hypercall({
  name: 'tmem_op',
  nr: 38,
  doc: 'tmem.h',
  args: { uops: pointer() },
  refuse: ['ENOSYS', 'removed in Xen 4.13'],
});
export const paging_domctl_cont = hypercall({
  name: 'paging_domctl_cont',
  nr: 49,
  doc: '__HYPERVISOR_arch_1',
  args: { arg: pointer() },
  refuse({ guest }, { arg }) {
    guest.copyIn(arg, 8, 'paging_domctl_cont');
    return ['EOPNOTSUPP', 'no command of domctl is to be continued'];
  },
});
/** Numbers set aside for the architecture, without a meaning in 4.17. */
export const reservedCalls: readonly Declaration[] = [2, 3, 4, 5, 6, 7].map((n) =>
  hypercall({
    name: `arch_${n}`,
    nr: 48 + n,
    doc: `xen.h __HYPERVISOR_arch_${n}: unused`,
    args: { arg: u64 },
    refuse: ['ENOSYS', 'unused in Xen 4.17'],
  }),
);
