/** xen_version, console_io, vm_assist, xenpmu_op, multicall. */
import { arrayOf, chars, enumOf, pointer, u32, ulong } from '../../abi/layout';
import { HYPERVISOR_VIRT_START, VMASST_CMD, VMASST_TYPE, multicall_entry } from '../../abi/mmu';
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
import type { CallContext } from '../context';
import { XEN_VERSION } from '../cpuid';
import { assists } from '../domain';
import { family, fail, hypercall, opsOf } from '../hypercall';

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
