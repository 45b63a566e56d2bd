import type { XenstoreServer } from '../devices/index';
import { askNode } from '../devices/toolstack';
import type { GuestVcpu } from '../hypervisor/types';
import { frameUses, mappedRanges } from './mappings';
import { viewHeld } from './crossings';
import { frameInfo, readMemory, tableEntries, walk } from './inspect';
import type { History } from './history';
import type { Machine } from './machine';
import type { LiveRecords } from './records/live';
import { createRecordViews } from './records/views';
import { readRegisters } from './registers';
import type { Statements } from './statements';
import type {
  AddressSpace,
  DomainView,
  Moment,
  StoreChild,
  StoreNode,
  Target,
  VcpuRef,
  VcpuView,
} from './target';

/**
 * Everything `Target` can be asked without changing the machine, answered at once: what it looks like between two
 * guest instructions, and in the middle of the hypervisor, where nothing asynchronous could be waited for.
 */

export const READS = [
  'now',
  'position',
  'history',
  'domains',
  'registers',
  'readMemory',
  'walk',
  'tableEntries',
  'frame',
  'frameUses',
  'mappedRanges',
  'hypercalls',
  'currentHypercall',
  'hypervisorState',
  'hypervisorStack',
  'hypervisorValues',
  'hypervisorEvaluate',
  'crossing',
  'hypervisorWatch',
  'hypervisorFailure',
  'trace',
  'traceSummary',
  'channels',
  'grants',
  'storeNode',
  'traceQuestion',
  'devices',
] as const satisfies readonly (keyof Target)[];

export type ReadName = (typeof READS)[number];

export type Reads = {
  readonly [K in ReadName]: (...args: Parameters<Target[K]>) => Awaited<ReturnType<Target[K]>>;
};

export const refOf = (v: GuestVcpu): VcpuRef => ({ domain: v.domain.id, vcpu: v.id });

export const momentOf = ({ clock }: Machine): Moment => ({ retired: clock.retired(), time: clock.now() });

/** Throws RangeError for a vCPU that is not there. */
export function findVcpu(machine: Machine, ref: VcpuRef): GuestVcpu {
  const v = machine.hypervisor.domains.get(ref.domain)?.vcpus[ref.vcpu];
  if (v === undefined)
    throw new RangeError(`there is no vCPU d${ref.domain.toString()}v${ref.vcpu.toString()}`);
  return v;
}

/** Whose memory a space is. Throws RangeError for a domain or vCPU that is not there. */
export function placeOf(
  machine: Machine,
  space: AddressSpace,
): { vcpu: GuestVcpu | undefined; domain: GuestVcpu['domain'] | undefined } {
  if (space.kind === 'virtual') {
    const vcpu = findVcpu(machine, space.vcpu);
    return { vcpu, domain: vcpu.domain };
  }
  if (space.kind === 'machine') return { vcpu: undefined, domain: undefined };
  const domain = machine.hypervisor.domains.get(space.domain);
  if (domain === undefined) throw new RangeError(`there is no domain ${space.domain.toString()}`);
  return { vcpu: undefined, domain };
}

function askedOf({ devices }: Machine, domain: number): { readonly asked?: string } {
  // Not `read`: a look from outside is no request that a stop point could be about.
  const asked = devices.xenstore.entry(askNode(domain))?.value ?? '';
  return asked === '' ? {} : { asked };
}

const vcpuView = (v: GuestVcpu): VcpuView => ({
  ref: refOf(v),
  state: v.domain.state.shutdown !== undefined ? 'dead' : v.state.online ? v.state.run : 'offline',
  rip: v.cpu.get('rip'),
  mode: v.state.kernelMode ? 'kernel' : 'user',
  icount: v.cpu.get('icount'),
});

function storeNode(store: XenstoreServer, path: string): StoreNode | undefined {
  const node = store.entry(path);
  if (node === undefined) return undefined;
  const watchers = (at: string): number[] => [
    ...new Set(store.watches().flatMap((watch) => (watch.path === at ? [watch.domain] : []))),
  ];
  return {
    path,
    value: node.value,
    permissions: node.permissions,
    watchers: watchers(path),
    children: node.children.flatMap((name): StoreChild[] => {
      const at = path === '/' ? `/${name}` : `${path}/${name}`;
      const child = store.entry(at);
      if (child === undefined) return [];
      const { value, permissions, children } = child;
      return [{ name, value, permissions, watchers: watchers(at), below: children.length }];
    }),
  };
}

/** `machine` answers with the one there is now: a restart makes another. */
export function createReads(
  machine: () => Machine,
  statements: Statements,
  records: LiveRecords,
  history: Pick<History, 'view'>,
): Reads {
  const declared = machine().hypervisor.hypercalls.flatMap((d) => [d.name, ...d.ops.map(({ name }) => name)]);
  const views = createRecordViews(records, new Set(declared));
  const find = (ref: VcpuRef): GuestVcpu => findVcpu(machine(), ref);
  return {
    now: () => momentOf(machine()),
    position: () => ({
      ...machine().position(),
      ...(statements.stack().length > 0 ? { inside: true } : {}),
    }),
    history: () => history.view(),
    domains: () => {
      const { hypervisor, devices } = machine();
      return [...hypervisor.domains.values()].map((d): DomainView => ({
        id: d.id,
        name: d.name,
        frames: d.state.totalPages,
        vcpus: d.vcpus.map(vcpuView),
        consolePorts: devices.inspect().console.filter((c) => c.domain === d.id).length,
        ...(d.state.shutdown === undefined ? {} : { shutdown: d.state.shutdown }),
        ...askedOf(machine(), d.id),
      }));
    },
    registers: (ref) => readRegisters(find(ref).cpu),
    readMemory: (space, address, length) => {
      const { vcpu, domain } = placeOf(machine(), space);
      return readMemory(machine().hypervisor, vcpu, domain, space.kind, address, length);
    },
    walk: (ref, address) => walk(machine().hypervisor, find(ref), address),
    tableEntries: (ref, path) => tableEntries(machine().hypervisor, find(ref), path),
    frame: (mfn) => frameInfo(machine().hypervisor, mfn),
    frameUses: (mfn) => frameUses(machine().hypervisor, mfn),
    mappedRanges: (ref, at) => mappedRanges(machine().hypervisor, find(ref), at),
    hypercalls: () =>
      machine().hypervisor.hypercalls.map((d) => ({
        name: d.name,
        nr: d.nr,
        status: d.status,
        doc: d.doc,
        ops: d.ops.map(({ name, cmd, status, doc, struct }) => ({
          name,
          cmd,
          status,
          doc,
          args: Object.keys(struct?.fields ?? {}).filter((field) => !field.startsWith('_')),
        })),
        args: d.args.map((a) => a.name),
      })),
    currentHypercall: (ref) => {
      const v = find(ref);
      const { hypervisor } = machine();
      const inside = statements.stack().length > 0 && v === machine().current();
      const call = hypervisor.currentCall(v) ?? (inside ? hypervisor.servedCall(v) : undefined);
      return call === undefined ? undefined : hypervisor.view(v, call);
    },
    hypervisorState: (ref) => machine().hypervisor.inspect(find(ref)),
    hypervisorStack: () => statements.stack(),
    hypervisorValues: (frame, path) => statements.values(frame, path),
    hypervisorEvaluate: (frame, expression) => statements.evaluate(frame, expression),
    crossing: (ref) => {
      const v = find(ref);
      return viewHeld(v) ?? (v === machine().current() ? statements.crossing() : undefined);
    },
    hypervisorWatch: (what) => statements.watch(what),
    hypervisorFailure: (ref) => {
      const v = find(ref);
      const error = machine().hypervisor.failureOf(v);
      return error === undefined ? [] : statements.framesOf(error);
    },
    trace: (from, count) => {
      const { trace, hypervisor } = machine();
      const first = Math.max(from, trace.first());
      const next = Math.min(first + count, trace.next());
      const records = [];
      for (let seq = first; seq < next; seq++) records.push(trace.read(hypervisor, seq));
      return { first, next: Math.max(first, next), records };
    },
    traceSummary: () => machine().trace.summary(),
    channels: () => {
      const { hypervisor } = machine();
      return [...hypervisor.domains.values()].map((d) => hypervisor.channels(d));
    },
    grants: () => {
      const { hypervisor } = machine();
      return [...hypervisor.domains.values()].map((d) => hypervisor.grants(d));
    },
    storeNode: (path) => storeNode(machine().devices.xenstore, path),
    traceQuestion: (question) => views(question),
    devices: () => machine().devices.inspect(),
  };
}

/** The same as promises; what is thrown rejects. */
export function asynchronous(reads: Reads): Pick<Target, ReadName> {
  const later = (name: ReadName): ((...args: readonly unknown[]) => Promise<unknown>) => {
    const read = reads[name] as (...args: readonly unknown[]) => unknown;
    return (...args) =>
      new Promise((resolve) => {
        resolve(read(...args));
      });
  };
  return Object.fromEntries(READS.map((name) => [name, later(name)])) as unknown as Pick<Target, ReadName>;
}
