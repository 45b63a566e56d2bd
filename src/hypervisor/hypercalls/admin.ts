/** Calls for dom0 and its tools, and for other kinds of guest: declared, and refused as Xen refuses a PV domU. */
import { enumOf, pointer, u32, u64, ulong, domid, type Names } from '../../abi/layout';
import { KEXEC, MCA, SYSCTL, DOMCTL, HVMOP, HYPFS, ARGO, XENOPROF, XENPF } from '../../abi/admin';
import type { Errno } from '../../abi/errno';
import { family, hypercall, opsOf, type Declaration } from '../hypercall';

const PRIVILEGED = 'for the control domain only';

interface Admin {
  readonly name: string;
  readonly nr: number;
  readonly doc: string;
  readonly commands: Names;
  readonly prefix: string;
  readonly errno?: Errno;
  readonly why?: string;
}

/** The command stands at the front of the structure. */
function inStructure({
  name,
  nr,
  doc,
  commands,
  prefix,
  errno = 'EPERM',
  why = PRIVILEGED,
}: Admin): Declaration {
  const args = { arg: pointer() };
  const op = opsOf(name, args);
  return family({
    name,
    nr,
    doc,
    args,
    cmd: ({ arg }, memory) => {
      const bytes = memory(arg, 4);
      return bytes === undefined
        ? undefined
        : new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
    },
    pointer: ({ arg }) => arg,
    ops: Object.entries(commands).map(([label, cmd]) =>
      op({ name: label.replace(prefix, ''), cmd, refuse: [errno, why] }),
    ),
    unknown: errno,
  });
}

/** The command is the first argument. */
function inRegister({
  name,
  nr,
  doc,
  commands,
  prefix,
  errno = 'EPERM',
  why = PRIVILEGED,
}: Admin): Declaration {
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
      op({ name: label.replace(prefix, ''), cmd, refuse: [errno, why] }),
    ),
    unknown: errno,
  });
}

export const platform_op = inStructure({
  name: 'platform_op',
  nr: 7,
  doc: 'platform.h',
  commands: XENPF,
  prefix: 'XENPF_',
});
export const sysctl = inStructure({
  name: 'sysctl',
  nr: 35,
  doc: 'sysctl.h',
  commands: SYSCTL,
  prefix: 'XEN_SYSCTL_',
});
export const domctl = inStructure({
  name: 'domctl',
  nr: 36,
  doc: 'domctl.h',
  commands: DOMCTL,
  prefix: 'XEN_DOMCTL_',
});
export const mca = inStructure({
  name: 'mca',
  nr: 48,
  doc: 'arch-x86/xen-mca.h (__HYPERVISOR_arch_0)',
  commands: MCA,
  prefix: 'XEN_MC_',
});
export const kexec_op = inRegister({
  name: 'kexec_op',
  nr: 37,
  doc: 'kexec.h',
  commands: KEXEC,
  prefix: 'KEXEC_CMD_',
});
export const xenoprof_op = inRegister({
  name: 'xenoprof_op',
  nr: 31,
  doc: 'xenoprof.h',
  commands: XENOPROF,
  prefix: 'XENOPROF_',
});
export const hvm_op = inRegister({
  name: 'hvm_op',
  nr: 34,
  doc: 'hvm/hvm_op.h',
  commands: HVMOP,
  prefix: 'HVMOP_',
  errno: 'EINVAL',
  why: 'for HVM domains only',
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
      refuse: ['EOPNOTSUPP', 'Argo is off (Xen: argo=0, the default)'],
    }),
  ),
  unknown: 'EOPNOTSUPP',
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

export const dm_op = hypercall({
  name: 'dm_op',
  nr: 41,
  doc: 'hvm/dm_op.h',
  args: { domid, nr_bufs: u32, bufs: pointer() },
  refuse: ['EPERM', 'for device models of HVM domains'],
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
  refuse: ['EPERM', PRIVILEGED],
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
