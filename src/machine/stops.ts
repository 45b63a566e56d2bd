import type { GuestVcpu, Hypervisor } from '../hypervisor/types';
import type { Call, Fault, ShutdownReason } from '../hypervisor/state';
import type { Observer } from '../hypervisor/observer';
import { conditionHolds, hypercallScope, parseExpression, type Expression, type Scope } from './conditions';
import { callName } from './format';
import type { HypercallView, StopPoint, StopReason } from './target';

type HypercallStop = Extract<StopPoint, { kind: 'hypercall' }>;
type EventStop = Extract<StopPoint, { kind: 'event' }>;
type InstructionStop = Extract<StopPoint, { kind: 'instruction' }>;

/** Stop points as the machine wants them: looked up by what happens, conditions parsed once. */
export interface Stops {
  set(points: readonly StopPoint[]): void;
  /** Distinct addresses of instruction stop points. */
  addresses(): readonly bigint[];
  /** Ids of the instruction stop points at `address` that concern this domain. */
  at(address: bigint, domain: number): readonly number[];
  /** Observes the hypervisor; what it matched is left in `taken`. */
  readonly observer: Observer;
  /** The reason of the stop that the observer asked for, once. */
  take(): StopReason | undefined;
}

/** @param warn is told, once for each setting, of a condition that asks for what is not there */
export function createStops(hypervisor: () => Hypervisor, warn: (text: string) => void): Stops {
  let instructions: readonly InstructionStop[] = [];
  let entries: readonly HypercallStop[] = [];
  let returns: readonly HypercallStop[] = [];
  let events: ReadonlyMap<EventStop['filter'], readonly EventStop[]> = new Map();
  let conditions: ReadonlyMap<number, Expression> = new Map();
  const warned = new Set<number>();
  let pending: StopReason | undefined;

  const holds = (
    id: number,
    view: () => HypercallView | undefined,
    extra: Readonly<Record<string, bigint | string>>,
    quiet = false,
  ): boolean => {
    const condition = conditions.get(id);
    if (condition === undefined) return true;
    const scope: Scope = {
      name: (name) => {
        const own = extra[name];
        if (own !== undefined) return own;
        const call = view();
        return call === undefined ? undefined : hypercallScope(call).name(name);
      },
    };
    return conditionHolds(condition, scope, ({ message }) => {
      if (quiet || warned.has(id)) return;
      warned.add(id);
      warn(`the condition of breakpoint ${id.toString()} does not hold: ${message}`);
    });
  };

  const matching = (stops: readonly HypercallStop[], vcpu: GuestVcpu, call: Call): HypercallStop[] => {
    if (stops.length === 0) return [];
    const names = hypervisor().namesOf(vcpu, call);
    let view: HypercallView | undefined;
    const decoded = (): HypercallView => (view ??= hypervisor().view(vcpu, call));
    return stops.filter(
      (s) =>
        (s.domain === undefined || s.domain === vcpu.domain.id) &&
        (s.name === '*' || names.includes(s.name)) &&
        // Of all hypercalls, most do not have the arguments that a condition is about.
        holds(s.id, decoded, where(vcpu), s.name === '*'),
    );
  };

  const event = (
    filter: EventStop['filter'],
    vcpu: GuestVcpu,
    text: string,
    extra: Readonly<Record<string, bigint | string>> = {},
    view: () => HypercallView | undefined = () => undefined,
  ): boolean => {
    const ids = (events.get(filter) ?? [])
      .filter((e) => holds(e.id, view, { ...where(vcpu), ...extra }, true))
      .map((e) => e.id);
    if (ids.length === 0) return false;
    pending = { kind: 'event', ids, text };
    return true;
  };

  const observer: Observer = {
    hypercallEntry(vcpu, call) {
      const found = matching(entries, vcpu, call);
      if (found.length === 0) return false;
      pending = {
        kind: 'hypercall',
        ids: found.map((s) => s.id),
        when: 'entry',
        call: hypervisor().view(vcpu, call),
      };
      return true;
    },
    hypercallReturn(vcpu, call) {
      const found = matching(returns, vcpu, call);
      if (found.length > 0) {
        pending = {
          kind: 'hypercall',
          ids: found.map((s) => s.id),
          when: 'return',
          call: hypervisor().view(vcpu, call),
        };
        return true;
      }
      if (call.reason === undefined || !events.has('hypercall-failed')) return false;
      const view = hypervisor().view(vcpu, call);
      return event(
        'hypercall-failed',
        vcpu,
        `${callName(view)} ${view.errno === undefined ? 'did less than asked' : `failed: ${view.errno}`}: ${call.reason}`,
        {},
        () => view,
      );
    },
    fault: (vcpu, fault) =>
      events.has('guest-fault') &&
      event('guest-fault', vcpu, faultText(fault), {
        vector: BigInt(fault.vector),
        error: BigInt(fault.error ?? 0),
        address: fault.address ?? 0n,
      }),
    privileged: (vcpu, mnemonic, text) =>
      events.has('privileged-op') && event('privileged-op', vcpu, text(), { mnemonic }),
    upcall: (vcpu) =>
      events.has('event-upcall') && event('event-upcall', vcpu, `event upcall on ${vcpuName(vcpu)}`),
    shutdown(domain, reason: ShutdownReason, text) {
      const [vcpu] = domain.vcpus;
      const why = text === '' ? `${domain.name}: ${reason}` : `${domain.name}: ${reason}: ${text}`;
      const stopsAt = (filter: EventStop['filter'], said: string): boolean =>
        vcpu !== undefined && events.has(filter) && event(filter, vcpu, said, { reason });
      if (reason === 'crash' && stopsAt('domain-crash', text)) return;
      if (stopsAt('domain-shutdown', why)) return;
      if (reason === 'crash') {
        pending = { kind: 'crash', text };
      } else {
        pending = { kind: 'shutdown', reason, text };
      }
    },
  };

  return {
    set(points) {
      const parsed = new Map<number, Expression>();
      for (const p of points) {
        if (p.kind !== 'instruction' && p.condition !== undefined)
          parsed.set(p.id, parseExpression(p.condition));
      }
      conditions = parsed;
      warned.clear();
      instructions = points.filter((p) => p.kind === 'instruction');
      entries = points.filter((p) => p.kind === 'hypercall').filter((p) => p.when === 'entry');
      returns = points.filter((p) => p.kind === 'hypercall').filter((p) => p.when === 'return');
      const byFilter = new Map<EventStop['filter'], EventStop[]>();
      for (const p of points) {
        if (p.kind !== 'event') continue;
        byFilter.set(p.filter, [...(byFilter.get(p.filter) ?? []), p]);
      }
      events = byFilter;
    },
    addresses: () => [...new Set(instructions.map((p) => p.address))],
    at: (address, domain) =>
      instructions
        .filter((p) => p.address === address && (p.domain === undefined || p.domain === domain))
        .map((p) => p.id),
    observer,
    take() {
      const taken = pending;
      pending = undefined;
      return taken;
    },
  };
}

const where = (vcpu: GuestVcpu): Readonly<Record<string, bigint | string>> => ({
  dom: BigInt(vcpu.domain.id),
  vcpu: BigInt(vcpu.id),
});
const vcpuName = (vcpu: GuestVcpu): string => `d${vcpu.domain.id.toString()}v${vcpu.id.toString()}`;

/** Mnemonics of the exception vectors, SDM Vol. 3 table 6-1. */
const VECTOR_NAMES: readonly string[] = [
  '#DE', '#DB', 'NMI', '#BP', '#OF', '#BR', '#UD', '#NM', '#DF', 'vector 9', '#TS', '#NP', '#SS', '#GP', '#PF',
  'vector 15', '#MF', '#AC', '#MC', '#XM',
]; // prettier-ignore

export function faultText(f: Fault): string {
  const name = VECTOR_NAMES[f.vector] ?? `vector ${f.vector.toString()}`;
  const error = f.error === undefined ? '' : ` error 0x${f.error.toString(16)}`;
  const address = f.address === undefined ? '' : ` at 0x${f.address.toString(16)}`;
  return `${name}${error}${address}`;
}
