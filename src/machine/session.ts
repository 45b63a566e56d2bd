import { EXIT, type Exit } from '../cpu/exits';
import type { GuestVcpu, Held, Outcome } from '../hypervisor/types';
import { wayOfExit, wayOfHeld, type Crossings } from './crossings';
import type { MachineParts } from './machine';
import { comparePositions, type Position } from './position';
import type { Schedule } from './schedule';
import type { RunUntil, StopReason } from './target';

/**
 * One run of the machine: slices of it, and where it stops. A slice can end anywhere without a trace in what the
 * guests see.
 */

export interface StopAt {
  readonly reason: StopReason;
  readonly vcpu: GuestVcpu;
}

/** What ended a slice: a stop, the slice's own length, or nothing to do until a time (undefined: for ever). */
export type SliceEnd =
  | { readonly kind: 'stop'; readonly stop: StopAt }
  | { readonly kind: 'slice' }
  /** It stands at the position that bounds it. */
  | { readonly kind: 'bound' }
  | { readonly kind: 'idle'; readonly until: bigint | undefined };

export interface RunSession {
  /**
   * Run at most about `instructions`, and about as many exits as `exits` says, since some take as long as thousands
   * of instructions; `skipIdle` jumps over idle time instead of reporting it.
   */
  slice(instructions: bigint, skipIdle: boolean, exits?: number): SliceEnd;
  /** Not beyond this position, which it has been at before. */
  bound(position: Position | undefined): void;
}

/** Set by whoever wants the run to end before the next guest instruction it can. */
export interface PauseRequest {
  asked: boolean;
}

/** The part of a step that is under way when an upcall came between: run to the interrupted place first. */
interface Detour {
  readonly vcpu: GuestVcpu;
  readonly rip: bigint;
  readonly rsp: bigint;
}

/** Begin to run. `pause` is what the machine's pause() sets, and is taken back here. */
export function createRunSession(
  { cpu, hypervisor, clock, stops, watches, fastPath }: MachineParts,
  schedule: Schedule,
  pause: PauseRequest,
  until: RunUntil,
  crossings?: Crossings,
): RunSession {
  // A pause that came too late for the last run is not meant for this one.
  pause.asked = false;
  stops.before(until.entry);
  stops.holdAt(undefined);
  const watched = until.vcpu;
  const counts = (v: GuestVcpu): boolean =>
    watched === undefined || (v.domain.id === watched.domain && v.id === watched.vcpu);
  let remaining = until.instructions;
  let detour: Detour | undefined;
  let skipCurrent = until.skipCurrent ?? true;
  const stepping = remaining !== undefined || until.outside !== undefined;
  /** A fault that arrives, or a hypercall that begins, is one step, though nothing retires; of many, each retires. */
  const single = remaining === 1n;
  /** A number of instructions alone is a limit like any other; a step wants to see what lies between. */
  const mayCross =
    until.outside === undefined &&
    until.exits === undefined &&
    (remaining === undefined || (until.skipUpcalls === false && !single));

  const always = stops.addresses();
  const more = new Set<bigint>();
  if (until.address !== undefined) more.add(until.address.at);
  const { exits } = until;
  const exitAddresses = new Set(exits?.at);
  for (const at of exitAddresses) more.add(at);
  /** A fault of the vCPU that steps has been bounced to the guest's handler. */
  let bounced = false;
  /** A change of the hypervisor's state that is to be told. */
  let changed: StopReason | undefined;
  const applyBreakpoints = (): void => {
    const now = detour === undefined ? [...more] : [...more, detour.rip];
    // The very list when there is nothing else: the CPU knows it by that, however long it is.
    cpu.setBreakpoints(now.length === 0 ? always : [...always, ...now]);
  };
  applyBreakpoints();

  let bound: Position | undefined;
  let boundCount = Infinity;
  const reached = (): boolean => {
    if (bound === undefined || clock.count() < boundCount) return false;
    const here: Position = {
      retired: clock.retired(),
      time: clock.now(),
      turns: schedule.turns(),
      inputs: schedule.inputsTaken(),
      asked: stops.asked(),
      held: schedule.current().state.held !== undefined,
    };
    return comparePositions(here, bound) >= 0;
  };

  const stop = (reason: StopReason, vcpu: GuestVcpu): SliceEnd => ({
    kind: 'stop',
    stop: { reason, vcpu },
  });

  /** What an observer asked for, or a data stop point; of both at once the second is told when the run goes on. */
  function asked(v: GuestVcpu): StopAt | undefined {
    const first = stops.take();
    const data = watches.take(v);
    if (first !== undefined && data !== undefined) watches.keep(data);
    if (first === undefined) return data === undefined ? undefined : { reason: data, vcpu: v };
    // A watchdog bites, or one domain ends another, while a vCPU runs that has nothing to do with it.
    const { reason, ended = v.domain } = first;
    return { reason, vcpu: ended === v.domain ? v : (ended.vcpus[0] ?? v) };
  }

  /** With what else is to be told of the place where the run ends. */
  const ending = (kind: 'step' | 'address', v: GuestVcpu): StopReason => {
    const ids = stops.at(v);
    return ids.length === 0 ? { kind } : { kind, ids };
  };

  /** Whether the vCPU stands where this run wants to end. */
  function arrived(v: GuestVcpu): StopReason | undefined {
    if ((remaining !== undefined && remaining <= 0n) || bounced) return ending('step', v);
    const { outside } = until;
    if (outside !== undefined && detour === undefined && isVcpu(v, outside.vcpu)) {
      const rip = v.cpu.get('rip');
      if (rip < outside.low || rip >= outside.high) return ending('step', v);
    }
    return undefined;
  }

  /** An instruction breakpoint at rip: whose? undefined: nobody's, go past it. */
  function atBreakpoint(v: GuestVcpu): StopReason | undefined {
    const rip = v.cpu.get('rip');
    if (detour !== undefined && v === detour.vcpu && rip === detour.rip && v.cpu.get('rsp') === detour.rsp) {
      detour = undefined;
      applyBreakpoints();
      const reason = arrived(v);
      if (reason !== undefined) return reason;
    }
    const ids = stops.at(v);
    if (ids.length > 0) return { kind: 'instruction', ids };
    if (exits !== undefined && exitAddresses.has(rip) && isVcpu(v, exits.vcpu)) return { kind: 'address' };
    const { address } = until;
    if (address === undefined || address.at !== rip) return undefined;
    if (address.vcpu !== undefined && !isVcpu(v, address.vcpu)) return undefined;
    if (address.minRsp !== undefined && v.cpu.get('rsp') < address.minRsp) return undefined;
    return { kind: 'address' };
  }

  /** Idle time passes no further than the bound. */
  function idleUntil(): bigint | undefined {
    const until = schedule.idleUntil();
    if (bound === undefined || bound.time <= clock.now()) return until;
    return until === undefined || until > bound.time ? bound.time : until;
  }

  function slice(instructions: bigint, skipIdle: boolean, exits = Infinity): SliceEnd {
    const lastTurn = schedule.turns() + 2 * exits;
    const end = clock.count() + Number(instructions);
    schedule.forgetDeadline();
    for (;;) {
      if (reached()) return { kind: 'bound' };
      if (pause.asked) {
        pause.asked = false;
        return stop({ kind: 'pause' }, schedule.current());
      }
      schedule.takeDueInput();
      if (reached()) return { kind: 'bound' };
      const held = schedule.current();
      const before = asked(held);
      if (before !== undefined) return { kind: 'stop', stop: before };
      let outcome: Outcome;
      let v: GuestVcpu | undefined;
      if (held.state.held !== undefined) {
        v = held;
        outcome = goOn(held, held.state.held);
      } else {
        const done = arrived(held);
        if (done !== undefined) return stop(done, held);
        if (clock.count() >= end || schedule.turns() >= lastTurn) return { kind: 'slice' };
        v = schedule.pick();
        if (v === undefined) {
          const stuck = schedule.stuck();
          if (stuck !== undefined) return stop({ kind: 'stuck', text: stuckText(stuck) }, stuck);
          const gone = schedule.vcpus().every((x) => x.domain.state.shutdown !== undefined)
            ? shutdownOf(schedule.current())
            : undefined;
          if (gone !== undefined) return stop(gone, schedule.current());
          const input = schedule.nextInput();
          if (input !== undefined && input.time <= clock.now()) {
            // Somebody changed the past of this log: nothing else is left to wait for, so it comes now.
            schedule.take(input);
            continue;
          }
          const idle = idleUntil();
          if (idle === undefined || (!skipIdle && idle > clock.now())) return { kind: 'idle', until: idle };
          schedule.passTo(idle);
          continue;
        }
        outcome = enter(v, end);
      }
      if (crossings?.active === true) changed ??= crossings.end();
      if (reached()) return { kind: 'bound' };
      const taken = asked(v) ?? (changed === undefined ? undefined : { reason: changed, vcpu: v });
      changed = undefined;
      if (taken !== undefined) return { kind: 'stop', stop: taken };
      if (outcome === 'shutdown') {
        const gone = shutdownOf(v);
        if (gone !== undefined) return stop(gone, v);
      }
      if (outcome === 'foreign') {
        const reason = atBreakpoint(v);
        if (reason !== undefined) return stop(reason, v);
        cpu.skipBreakpoint(v.cpu);
      }
    }
  }

  /**
   * Go on from where an observer held the vCPU. A hypercall that runs, or a fault that arrives, is one step for
   * a person, though no instruction retires.
   */
  function goOn(v: GuestVcpu, { kind }: Held): Outcome {
    const from = v.cpu.icount();
    if (crossings?.active === true && v.state.held !== undefined)
      crossings.begin(wayOfHeld(v.state.held), v, counts(v));
    const outcome = hypervisor.resume(v);
    const ran = v.cpu.icount() - from;
    schedule.spend(ran);
    // As where nobody held it: what is delivered is no exit.
    if (kind === 'upcall' && outcome === 'run') schedule.delivered();
    else schedule.settle(outcome);
    if (remaining === undefined || !counts(v)) return outcome;
    remaining -= BigInt(ran);
    const visible = kind === 'hypercall-entry' || kind === 'fault';
    if (single && ran === 0 && visible && outcome === 'run') remaining = 0n;
    return outcome;
  }

  /** Deliver what is pending to `v`, let it run, and have the hypervisor see to what came of it. */
  function enter(v: GuestVcpu, end: number): Outcome {
    const skipping = stepping && detour === undefined && until.skipUpcalls !== false && counts(v);
    const rip = skipping ? v.cpu.get('rip') : 0n;
    const rsp = skipping ? v.cpu.get('rsp') : 0n;
    if (schedule.deliveryDue()) {
      if (crossings?.active === true) crossings.begin('delivery', v, detour === undefined && counts(v));
      const delivered = hypervisor.deliverPending(v);
      if (delivered !== 'run') return delivered;
      schedule.delivered();
      if (crossings?.active === true) changed = crossings.end();
      // What the delivery stored may be something to stop at, before the guest looks at it.
      const stored = watches.take(v);
      if (stored !== undefined) watches.keep(stored);
      // Whoever was held in the delivery stops before the guest goes on.
      if (pause.asked || changed !== undefined || stored !== undefined || reached()) return 'run';
    }
    if (skipping && v.cpu.get('rip') !== rip) {
      detour = { vcpu: v, rip, rsp };
      applyBreakpoints();
    }

    const retired = clock.count();
    const untilTimer = Math.max(1, schedule.deadline() - retired);
    let limit = Math.min(end - retired, schedule.quantumLeft(), untilTimer);
    // Where input is due at a moment that only exits bring, each of them has to be counted as it comes.
    let inPlace = fastPath !== undefined && mayCross && crossings?.active !== true;
    const input = schedule.nextInput();
    if (input !== undefined) {
      const due = Math.max(Number(input.retired), clock.countAt(input.time));
      limit = Math.min(limit, Math.max(1, due - retired));
      inPlace &&= due > retired;
    }
    if (bound !== undefined) {
      // At the bound, too: somebody may be held there.
      inPlace &&= boundCount - 1 > retired;
      limit = Math.min(limit, Math.max(1, boundCount - (inPlace ? 1 : 0) - retired));
    }
    const counting = detour === undefined && counts(v);
    if ((counting && until.outside !== undefined) || watches.stepping(v)) limit = 1;
    if (counting && remaining !== undefined) limit = Math.min(limit, Number(remaining));

    if (skipCurrent) {
      // Only where there is one: the CPU remembers to skip until it meets a breakpoint, wherever that is.
      const rip = v.cpu.get('rip');
      if (more.has(rip) || stops.hasAddress(rip)) cpu.skipBreakpoint(v.cpu);
      skipCurrent = false;
    }
    const from = v.cpu.icount();
    const at = single ? v.cpu.get('rip') : 0n;
    if (inPlace) fastPath?.arm(v);
    const exit = v.cpu.runFor(limit);
    if (inPlace && fastPath !== undefined) schedule.crossed(fastPath.collect(v));
    const watching = exits?.intoFaults === true && exit === EXIT.EXCEPTION && isVcpu(v, exits.vcpu);
    const [counted, faulting] = watching ? [v.cpu.icount(), v.cpu.get('rip')] : [0, 0n];
    if (crossings?.active === true) {
      const way = wayOfExit(v, exit);
      if (way !== undefined) crossings.begin(way, v, detour === undefined && counts(v));
    }
    const outcome = OURS.has(exit) ? 'run' : hypervisor.handleExit(v, exit);
    if (crossings?.active === true) crossings.leave();
    // What was emulated has retired; what was bounced has not, and goes on elsewhere.
    if (watching && outcome === 'run' && v.cpu.icount() === counted && v.cpu.get('rip') !== faulting)
      bounced = true;
    // What the hypervisor emulated counts too.
    const ran = v.cpu.icount() - from;
    schedule.spend(ran);
    if (counting && remaining !== undefined) {
      remaining -= BigInt(ran);
      // A fault that arrives at the guest's handler is a step, too.
      if (single && ran === 0 && outcome === 'run' && v.cpu.get('rip') !== at) remaining = 0n;
    }
    if (outcome !== 'foreign' && !OURS.has(exit)) schedule.settle(outcome);
    else schedule.expire();
    return outcome;
  }

  return {
    slice,
    bound(position) {
      bound = position;
      boundCount = position === undefined ? Infinity : Number(position.retired);
      stops.holdAt(position?.held === true ? position.asked : undefined);
    },
  };
}

/** Exits that are about the run and not about the guest. */
const OURS: ReadonlySet<Exit> = new Set([EXIT.LIMIT, EXIT.KICK, EXIT.WATCH]);

const shutdownOf = (v: GuestVcpu): StopReason | undefined => {
  const { shutdown, crashText } = v.domain.state;
  if (shutdown === undefined) return undefined;
  return shutdown === 'crash'
    ? { kind: 'crash', text: crashText ?? 'the domain crashed' }
    : { kind: 'shutdown', reason: shutdown, text: `${v.domain.name}: ${shutdown}` };
};
/** Why a vCPU that runs alone does not. */
function stuckText({ domain, id, state }: GuestVcpu): string {
  const name = `d${domain.id.toString()}v${id.toString()}`;
  if (domain.state.shutdown !== undefined) return `${name} cannot run alone: its domain has ended`;
  if (!state.online) return `${name} cannot run alone: it is offline, and only another vCPU can bring it up`;
  return `${name} runs alone and is blocked: it has no timer, so only another vCPU, or input, can wake it`;
}
const isVcpu = (v: GuestVcpu, ref: { readonly domain: number; readonly vcpu: number }): boolean =>
  v.domain.id === ref.domain && v.id === ref.vcpu;
