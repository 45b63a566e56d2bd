/** What the hypervisor keeps about a vCPU and its domain, as trees for people. */
import { hex } from '../abi/decoded';
import type { DecodedValue } from '../abi/decoded';
import { GTF } from '../abi/grant';
import { VIRQ } from '../abi/events';
import { shared_info, vcpu_info } from '../abi/info';
import { VMASST_TYPE } from '../abi/mmu';
import type { Core } from './core';
import { describeChannel, isMasked, isPending } from './events';
import { readGrant, readMarks } from './grantentries';
import { runstateOf } from './runstate';
import type { Held } from './state';
import { vcpu_runstate_info } from '../abi/vcpu';
import { VECTOR, vectorName } from './traps';
import type { Channel } from './state';
import type { Domain, GuestVcpu } from './types';
import { upcallMasked, upcallPending } from './vcpu';

const leaf = (name: string, type: string, text: string, value?: bigint): DecodedValue =>
  value === undefined ? { name, type, text } : { name, type, text, value };
const address = (name: string, value: bigint, suffix = ''): DecodedValue => ({
  name,
  type: 'vaddr',
  text: value === 0n ? 'none' : `${hex(value)}${suffix}`,
  value,
  ...(value === 0n ? {} : { memory: { space: 'virtual' as const, address: value } }),
});
const flag = (name: string, value: boolean): DecodedValue =>
  leaf(name, 'bool', value ? 'yes' : 'no', value ? 1n : 0n);
const frame = (core: Core, name: string, mfn: number | undefined): DecodedValue =>
  mfn === undefined ? leaf(name, 'mfn', 'none') : leaf(name, 'mfn', core.frames.describe(mfn), BigInt(mfn));
const group = (name: string, text: string, children: readonly DecodedValue[]): DecodedValue => ({
  name,
  type: 'group',
  text,
  children,
});
const time = (name: string, ns: bigint | undefined): DecodedValue =>
  ns === undefined ? leaf(name, 'ns', 'off') : leaf(name, 'ns', `${ns} ns`, ns);

export function inspectVcpu(core: Core, v: GuestVcpu): DecodedValue[] {
  const { state, domain } = v;
  const traps = state.traps.flatMap((t, n) =>
    t.address === 0n
      ? []
      : [
          address(
            vectorName(n),
            t.address,
            ` DPL ${t.flags & 3}${(t.flags & 4) !== 0 ? ', masks events' : ''}`,
          ),
        ],
  );
  const ports = domain.state.ports.flatMap((p, n) => {
    if (p.channel.kind === 'free' || p.channel.kind === 'reserved') return [];
    const marks = [isPending(core, domain, n) ? 'pending' : '', isMasked(core, domain, n) ? 'masked' : ''];
    const text = [describeChannel(p.channel), `vCPU ${p.vcpu}`, ...marks.filter((m) => m !== '')].join(', ');
    return [leaf(String(n), 'port', text, BigInt(n))];
  });
  const info = core.memory.view(state.infoFrame);
  return [
    leaf('mode', 'mode', state.kernelMode ? 'guest kernel' : 'guest user'),
    leaf('state', 'runstate', state.online ? state.run : 'offline'),
    ...faultOf(state.held),
    group('base tables', '', [
      frame(core, 'kernel', state.kernelTable),
      frame(core, 'user', state.userTable),
    ]),
    group('trap table', `${traps.length} handlers`, traps),
    group('callbacks', '', [
      address('event', state.event.address),
      address('failsafe', state.failsafe.address),
      address('syscall', state.syscall.address, state.syscall.maskEvents ? ', masks events' : ''),
      address('nmi', state.traps[VECTOR.NMI]?.address ?? 0n),
    ]),
    group(
      'events',
      `${upcallPending(core, v) ? 'upcall pending' : 'no upcall pending'}, ${upcallMasked(core, v) ? 'masked' : 'open'}`,
      [
        flag('upcall pending', upcallPending(core, v)),
        flag('upcall masked', upcallMasked(core, v)),
        vcpu_info.decode('vcpu_info', vcpu_info.read(info, state.infoOffset), {}),
      ],
    ),
    group('event channels', `${ports.length} in use`, ports),
    group('timers', '', [
      time('one-shot', state.singleshot),
      time('periodic, every', state.period === 0n ? undefined : state.period),
      time('poll until', state.pollTimeout),
    ]),
    group('descriptor tables', '', [
      leaf('GDT entries', 'number', String(state.gdtEntries), BigInt(state.gdtEntries)),
      ...state.gdtFrames.map((mfn, i) => frame(core, `GDT page ${i}`, mfn)),
      address('LDT', state.ldtBase, `, ${state.ldtEntries} entries`),
    ]),
    group('segments and stack', '', [
      address('kernel stack', state.kernelSp),
      address(state.kernelMode ? 'GS base of the user' : 'GS base of the kernel', state.shadowGs),
    ]),
    group('virtual IRQs', `${virqs(v).length} bound`, virqs(v)),
    leaf('VM assists', 'flags', assistNames(domain.state.vmAssist), domain.state.vmAssist),
    vcpu_runstate_info.decode('run state', runstateOf(core, v), {}),
    group('domain', `d${domain.id} ${domain.name}`, [
      leaf(
        'frames',
        'number',
        `${domain.state.totalPages} of ${domain.state.maxPages}`,
        BigInt(domain.state.totalPages),
      ),
      frame(core, 'shared_info', domain.state.sharedInfo),
      leaf(
        'wallclock',
        's',
        String(core.memory.view(domain.state.sharedInfo).getUint32(shared_info.offset.wc_sec, true)),
      ),
      ...domain.state.grantFrames.map((mfn, i) => frame(core, `grant table frame ${i}`, mfn)),
    ]),
  ];
}

/** What is to be known of one event channel. */
export interface PortState {
  readonly kind: Channel['kind'];
  /** 'connected to d0 port 3' … */
  readonly channel: string;
  readonly vcpu: number;
  readonly priority: number;
  readonly pending: boolean;
  readonly masked: boolean;
}
export function portAt(core: Core, domain: Domain, port: number): PortState | undefined {
  const found = domain.state.ports[port];
  if (found === undefined) return undefined;
  const { channel, vcpu, priority } = found;
  return {
    kind: channel.kind,
    channel: describeChannel(channel),
    vcpu,
    priority,
    pending: isPending(core, domain, port),
    masked: isMasked(core, domain, port),
  };
}

/** A grant entry with its marks of use; frame and flags are the guest's to write. */
export interface GrantState {
  readonly flags: number;
  readonly domid: number;
  readonly frame: bigint;
  readonly reading: boolean;
  readonly writing: boolean;
}
export function grantAt(core: Core, domain: Domain, ref: number): GrantState | undefined {
  const entry = readGrant(core, domain, ref);
  if (entry === undefined) return undefined;
  const marks = readMarks(core, domain, ref);
  return {
    flags: entry.flags,
    domid: entry.domid,
    frame: entry.frame,
    reading: (marks & GTF.reading) !== 0,
    writing: (marks & GTF.writing) !== 0,
  };
}

/** The exception that a vCPU is held at, its error code in words (SDM Vol. 3A §4.7 for #PF, §6.13). */
function faultOf(held: Held | undefined): DecodedValue[] {
  if (held?.kind !== 'fault') return [];
  const { vector, error, address: at } = held.fault;
  const code =
    error === undefined ? [] : [leaf('error code', 'flags', errorText(vector, error), BigInt(error))];
  return [
    group('fault', vectorName(vector), [...code, ...(at === undefined ? [] : [address('address', at)])]),
  ];
}

export function errorText(vector: number, error: number): string {
  const has = (bit: number): boolean => (error & (1 << bit)) !== 0;
  if (vector === VECTOR.PF) {
    const words = [
      has(0) ? 'the page forbids it' : 'no page is there',
      has(4) ? 'fetching an instruction' : has(1) ? 'writing' : 'reading',
      has(2) ? 'in ring 3' : 'in the supervisor',
      ...(has(3) ? ['a reserved bit is set'] : []),
      ...(has(5) ? ['protection key'] : []),
    ];
    return `${hex(error)}: ${words.join(', ')}`;
  }
  if (error === 0) return '0x0';
  const table = has(1) ? 'IDT' : has(2) ? 'LDT' : 'GDT';
  return `${hex(error)}: ${table} entry ${error >> 3}${has(0) ? ', from outside' : ''}`;
}

function virqs(v: GuestVcpu): DecodedValue[] {
  const bound = { ...v.domain.state.globalVirqs, ...v.state.virqPorts };
  return Object.entries(bound).map(([virq, port]) => {
    const name = Object.entries(VIRQ).find(([, n]) => n === Number(virq))?.[0] ?? `VIRQ ${virq}`;
    return leaf(name, 'port', `port ${port}`, BigInt(port));
  });
}

function assistNames(bits: bigint): string {
  const names = Object.entries(VMASST_TYPE).filter(([, n]) => ((bits >> BigInt(n)) & 1n) !== 0n);
  return names.length === 0 ? 'none' : names.map(([name]) => name.replace('VMASST_TYPE_', '')).join(' ');
}
