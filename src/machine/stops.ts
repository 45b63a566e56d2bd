import { bytesToNumber } from '../base/bytes';
import type { Domain, GuestVcpu, Hypervisor } from '../hypervisor/types';
import type { Call, Fault, ShutdownReason } from '../hypervisor/state';
import type { BackendObserver } from '../hypervisor/backend';
import { wantPlaces } from '../hypervisor/hypercall';
import type { Observer } from '../hypervisor/observer';
import { ExpressionError, type StopState } from './conditions';
import type { Gates } from './gates';
import { VECTOR_NAMES, callName } from './format';
import { ownerName, readMemory } from './inspect';
import { registerValue } from './registers';
import type { EventFilter, HypercallView, RunUntil, StopPoint, StopReason } from './target';

type HypercallStop = Extract<StopPoint, { kind: 'hypercall' }>;
type EventStop = Extract<StopPoint, { kind: 'event' }>;
type InstructionStop = Extract<StopPoint, { kind: 'instruction' }>;

/** Stop points as the machine wants them: looked up by what happens. Data and statements have their own. */
export interface Stops {
  set(points: readonly StopPoint[]): void;
  /** Distinct addresses of instruction stop points: the same list as long as they are the same. */
  addresses(): readonly bigint[];
  hasAddress(address: bigint): boolean;
  /** Ids of the instruction stop points at the vCPU's instruction that want it to stop; counts them. */
  at(vcpu: GuestVcpu): readonly number[];
  /** An entry of a multicall that the run is to end before (RunUntil). */
  before(entry: RunUntil['entry']): void;
  /** Whether faults, privileged instructions, event upcalls, and hypercalls of these names, may have to be looked at before they go on. */
  observed(names: readonly string[]): {
    readonly faults: boolean;
    readonly privileged: boolean;
    readonly upcalls: boolean;
    readonly calls: boolean;
  };
  /** Observes the back ends. */
  readonly backends: BackendObserver;
  /** Observes the hypervisor; what it matched is left in `taken`. */
  readonly observer: Observer;
  /** The reason of the stop that an observer asked for, once; the oldest, where there are several. */
  take(): Asked | undefined;
  clear(): void;
  /** How often the observer was asked whether to hold a vCPU. */
  asked(): number;
  /** It was asked as often as that in the past that the machine is in now. */
  resetAsked(count: number): void;
  /** Hold, whatever the stop points say, when it is asked this time; undefined: no more. */
  holdAt(count: number | undefined): void;
}

/** `ended`: it is about that domain's end, whoever runs meanwhile. */
export interface Asked {
  readonly reason: StopReason;
  readonly ended?: Domain;
}

type Extra = Readonly<Record<string, bigint | string>>;

/** A part of the state of a stop that is the same for all kinds. */
export const stateAt = (hypervisor: Hypervisor, vcpu: GuestVcpu, own: Extra): StopState => ({
  own: { dom: BigInt(vcpu.domain.id), vcpu: BigInt(vcpu.id), ...own },
  register: (name) => registerValue(vcpu.cpu, name),
  bytes: (address, length) => readMemory(hypervisor, vcpu, vcpu.domain, 'virtual', address, length),
  memory: (address, bytes) => {
    const data = readMemory(hypervisor, vcpu, vcpu.domain, 'virtual', address, bytes);
    if (data.length < bytes) throw new ExpressionError(`0x${address.toString(16)} is not mapped`, 0);
    return bytesToNumber(data);
  },
});

function byKey<T, K>(list: readonly T[], keyOf: (one: T) => K): ReadonlyMap<K, readonly T[]> {
  const found = new Map<K, T[]>();
  for (const one of list) {
    const key = keyOf(one);
    const known = found.get(key);
    if (known === undefined) found.set(key, [one]);
    else known.push(one);
  }
  return found;
}

/** How a value that a stop point names is compared, where that is not for equality. */
const comparisons: Readonly<Record<string, (wanted: bigint | string, found: bigint | string) => boolean>> = {
  // As a watch of xenstore's: a node, and everything below it.
  path: (wanted, found) =>
    found === wanted || wanted === '/' || String(found).startsWith(`${String(wanted)}/`),
};
const matches = (only: Extra, extra: Extra): boolean =>
  Object.entries(only).every(([name, wanted]) => {
    const found = extra[name];
    return found !== undefined && (comparisons[name]?.(wanted, found) ?? found === wanted);
  });

export function createStops(hypervisor: () => Hypervisor, gates: Gates): Stops {
  let instructions: ReadonlyMap<bigint, readonly InstructionStop[]> = new Map();
  let addresses: readonly bigint[] | undefined;
  let entries: readonly HypercallStop[] = [];
  let returns: readonly HypercallStop[] = [];
  let events: ReadonlyMap<EventFilter, readonly EventStop[]> = new Map();
  /** Back ends can do several things at one exit. */
  let pending: Asked[] = [];
  /** A domain's end is told when whatever else there is has been: the outcome of going on tells it again. */
  const push = (reason: StopReason, ended?: Domain): void => {
    const isEnd = ({ kind }: StopReason): boolean => kind === 'crash' || kind === 'shutdown';
    const asked = ended === undefined ? { reason } : { reason, ended };
    pending = [...pending.filter((one) => !isEnd(one.reason)), asked];
  };

  const matching = (stops: readonly HypercallStop[], vcpu: GuestVcpu, call: Call): HypercallStop[] => {
    if (stops.length === 0) return [];
    const names = hypervisor().namesOf(vcpu, call);
    let view: HypercallView | undefined;
    const state: StopState = {
      ...stateAt(hypervisor(), vcpu, {}),
      call: () => (view ??= hypervisor().view(vcpu, call)),
    };
    return stops.filter(
      (s) =>
        (s.domain === undefined || s.domain === vcpu.domain.id) &&
        (s.name === '*' || names.includes(s.name)) &&
        // Of all hypercalls, most do not have the arguments that a condition is about.
        gates.open(s, state, s.name === '*'),
    );
  };

  const event = (
    filter: EventFilter,
    vcpu: GuestVcpu,
    text: () => string,
    extra: Extra = {},
    view?: () => HypercallView | undefined,
    ended?: Domain,
  ): boolean => {
    let state: StopState | undefined;
    const ids = (events.get(filter) ?? [])
      .filter((stop) => {
        const { only, domain } = stop;
        if (domain !== undefined && BigInt(domain) !== (extra['dom'] ?? BigInt(vcpu.domain.id))) return false;
        if (only !== undefined && !matches(only, extra)) return false;
        state ??= { ...stateAt(hypervisor(), vcpu, extra), ...(view === undefined ? {} : { call: view }) };
        return gates.open(stop, state, true);
      })
      .map(({ id }) => id);
    if (ids.length === 0) return false;
    push({ kind: 'event', ids, text: text() }, ended);
    return true;
  };

  /** What happened to a domain rather than on one of its vCPUs. */
  const happened = (filter: EventFilter, id: number, text: () => string, extra: Extra): void => {
    if (!events.has(filter)) return;
    const all = hypervisor().domains;
    const [vcpu] = (all.get(id) ?? [...all.values()][0])?.vcpus ?? [];
    if (vcpu !== undefined) event(filter, vcpu, text, { ...extra, dom: BigInt(id) });
  };

  let wanted: RunUntil['entry'];
  let known: (ReturnType<Stops['observed']> & { readonly names: readonly string[] }) | undefined;
  const isWanted = ({ id, domain, state }: GuestVcpu, { depth }: Call): boolean =>
    wanted !== undefined &&
    depth > 0 &&
    wanted.vcpu.domain === domain.id &&
    wanted.vcpu.vcpu === id &&
    state.multicall?.index === wanted.index;

  let asked = 0;
  let heldAt: number | undefined;
  /** A stop at a refusal shows where it was made; also one that is come back to while nobody is to be stopped otherwise. */
  const showPlaces = (): void => {
    if (events.has('hypercall-failed') || heldAt !== undefined) wantPlaces.add(gates);
    else wantPlaces.delete(gates);
  };
  /** Whether this is the time to hold. */
  const counted = (): boolean => ++asked === heldAt;

  const observing: Observer = {
    hypercallEntry(vcpu, call) {
      const reached = isWanted(vcpu, call);
      if (reached) wanted = undefined;
      const found = matching(entries, vcpu, call);
      if (found.length === 0) {
        if (reached) push({ kind: 'step' });
        return reached;
      }
      push({
        kind: 'hypercall',
        ids: found.map((s) => s.id),
        when: 'entry',
        call: hypervisor().view(vcpu, call),
      });
      return true;
    },
    hypercallReturn(vcpu, call) {
      const found = matching(returns, vcpu, call);
      if (found.length > 0) {
        push({
          kind: 'hypercall',
          ids: found.map((s) => s.id),
          when: 'return',
          call: hypervisor().view(vcpu, call),
        });
        return true;
      }
      if (call.reason === undefined || !events.has('hypercall-failed')) return false;
      const view = hypervisor().view(vcpu, call);
      const { reason } = call;
      return event(
        'hypercall-failed',
        vcpu,
        () =>
          `${callName(view)} ${view.errno === undefined ? 'did less than asked' : `failed: ${view.errno}`}: ${reason}`,
        {},
        () => view,
      );
    },
    fault: (vcpu, fault) =>
      events.has('guest-fault') &&
      event('guest-fault', vcpu, () => faultText(fault), {
        vector: BigInt(fault.vector),
        error: BigInt(fault.error ?? 0),
        address: fault.address ?? 0n,
      }),
    privileged: (vcpu, mnemonic, text) =>
      events.has('privileged-op') && event('privileged-op', vcpu, text, { mnemonic }),
    upcall: (vcpu) =>
      events.has('event-upcall') && event('event-upcall', vcpu, () => `event upcall on ${vcpuName(vcpu)}`),
    pending: (domain, port) => {
      happened(
        'event-port',
        domain.id,
        () => `event on port ${port.toString()} of d${domain.id.toString()}`,
        {
          port: BigInt(port),
        },
      );
    },
    shutdown(domain, reason: ShutdownReason, text) {
      const [vcpu] = domain.vcpus;
      const why = text === '' ? `${domain.name}: ${reason}` : `${domain.name}: ${reason}: ${text}`;
      const stopsAt = (filter: EventStop['filter'], said: string): boolean =>
        vcpu !== undefined &&
        events.has(filter) &&
        event(filter, vcpu, () => said, { reason }, undefined, domain);
      if (reason === 'crash' && stopsAt('domain-crash', text)) return;
      if (stopsAt('domain-shutdown', why)) return;
      if (reason === 'crash') {
        push({ kind: 'crash', text }, domain);
      } else {
        push({ kind: 'shutdown', reason, text }, domain);
      }
    },
  };

  const observer: Observer = {
    ...observing,
    hypercallEntry: (vcpu, call) => either(counted(), observing.hypercallEntry?.(vcpu, call)),
    hypercallReturn: (vcpu, call) => either(counted(), observing.hypercallReturn?.(vcpu, call)),
    fault: (vcpu, fault) => either(counted(), observing.fault?.(vcpu, fault)),
    privileged: (vcpu, mnemonic, text) => either(counted(), observing.privileged?.(vcpu, mnemonic, text)),
    upcall: (vcpu) => either(counted(), observing.upcall?.(vcpu)),
  };

  return {
    observed(names) {
      if (known?.names !== names) {
        const about = ({ name }: HypercallStop): boolean =>
          name === '*' || names.some((n) => name === n || name.startsWith(`${n}.`));
        const calls = entries.some(about) || returns.some(about);
        known = {
          names,
          faults: events.has('guest-fault'),
          privileged: events.has('privileged-op'),
          upcalls: events.has('event-upcall'),
          calls,
        };
      }
      return known;
    },
    set(points) {
      addresses = undefined;
      known = undefined;
      instructions = byKey(
        points.filter((p) => p.kind === 'instruction'),
        (p) => p.address,
      );
      entries = points.filter((p) => p.kind === 'hypercall').filter((p) => p.when === 'entry');
      returns = points.filter((p) => p.kind === 'hypercall').filter((p) => p.when === 'return');
      events = byKey(
        points.filter((p) => p.kind === 'event'),
        (p) => p.filter,
      );
      showPlaces();
    },
    before(entry) {
      wanted = entry;
    },
    addresses: () => (addresses ??= [...instructions.keys()]),
    hasAddress: (address) => instructions.has(address),
    at(vcpu) {
      const here = instructions.get(vcpu.cpu.get('rip'));
      if (here === undefined) return [];
      const call = hypervisor().currentCall(vcpu);
      const state: StopState = {
        ...stateAt(hypervisor(), vcpu, {}),
        ...(call === undefined ? {} : { call: () => hypervisor().view(vcpu, call) }),
      };
      return here
        .filter(
          (stop) => (stop.domain === undefined || stop.domain === vcpu.domain.id) && gates.open(stop, state),
        )
        .map(({ id }) => id);
    },
    backends: {
      xenstore(domain, access, path, value) {
        happened('xenstore', domain, () => `xenstore: ${ownerName(domain)} ${access} ${path}${value === undefined ? '' : ` = ${JSON.stringify(value)}`}`, { path, access, ...(value === undefined ? {} : { value }) }); // prettier-ignore
      },
      ring(domain, device, request, details) {
        const shown = Object.entries(details).map(([name, value]) => `${name} ${value.toString()}`);
        happened('ring-request', domain, () => `${ownerName(domain)} ${device}: ${[request, ...shown].join(', ')}`, { device, request, ...details }); // prettier-ignore
      },
    },
    observer,
    take() {
      return pending.shift();
    },
    clear() {
      pending = [];
    },
    asked: () => asked,
    resetAsked(count) {
      asked = count;
    },
    holdAt(count) {
      heldAt = count;
      showPlaces();
    },
  };
}

const either = (a: boolean, b: boolean | undefined): boolean => a || b === true;
const vcpuName = (vcpu: GuestVcpu): string => `d${vcpu.domain.id.toString()}v${vcpu.id.toString()}`;

export function faultText(f: Fault): string {
  const name = VECTOR_NAMES[f.vector] ?? `vector ${f.vector.toString()}`;
  const error = f.error === undefined ? '' : ` error 0x${f.error.toString(16)}`;
  const address = f.address === undefined ? '' : ` at 0x${f.address.toString(16)}`;
  return `${name}${error}${address}`;
}
