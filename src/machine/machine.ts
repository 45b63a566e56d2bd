import type { Disposable } from '../base/disposable';
import type { Log } from '../base/log';
import { EXIT } from '../cpu/exits';
import type { Cpu } from '../cpu/types';
import type { BackendSet } from '../devices/index';
import type { GuestVcpu, Held, Hypervisor, HypervisorSnapshot, Outcome } from '../hypervisor/types';
import type { ClockState, MachineClock } from './clock';
import type { FrameMark, Marks } from './marks';
import type { Stops } from './stops';
import type { RunUntil, StopReason } from './target';
import type { Tlbs } from './tlbs';
import type { Trace, TraceState } from './trace';

/**
 * The machine: vCPUs interleaved on one virtual processor, virtual time, input, and stopping. Everything that
 * happens is a function of the configuration and the input log; a slice can end anywhere without a trace in
 * what the guests see.
 */

/** Instructions a vCPU may run before the next runnable one has its turn. */
const QUANTUM = 50_000n;

/** One piece of console input, and the moment it takes effect. */
export interface InputEntry {
  readonly retired: bigint;
  readonly time: bigint;
  /** Turns of the hypervisor by then: tells moments apart between which no instruction retires. */
  readonly turns: number;
  readonly domain: number;
  readonly data: Uint8Array;
}

export interface MachineParts {
  readonly cpu: Cpu;
  readonly hypervisor: Hypervisor;
  readonly devices: BackendSet;
  /** The images behind the disks; whoever has the machine disposes of them. */
  readonly disks: Disposable;
  readonly clock: MachineClock;
  readonly marks: Marks;
  readonly tlbs: Tlbs;
  readonly trace: Trace;
  readonly stops: Stops;
  readonly log: Log;
}

export interface StopAt {
  readonly reason: StopReason;
  readonly vcpu: GuestVcpu;
}

/** What ended a slice: a stop, the slice's own length, or nothing to do until a time (undefined: for ever). */
export type SliceEnd =
  | { readonly kind: 'stop'; readonly stop: StopAt }
  | { readonly kind: 'slice' }
  | { readonly kind: 'idle'; readonly until: bigint | undefined };

export interface RunSession {
  /**
   * Run at most about `instructions`, and about as many exits as `exits` says, since some take as long as thousands
   * of instructions; `skipIdle` jumps over idle time instead of reporting it.
   */
  slice(instructions: bigint, skipIdle: boolean, exits?: number): SliceEnd;
}

export interface Machine extends MachineParts {
  /** All vCPUs of all domains. */
  vcpus(): readonly GuestVcpu[];
  /** The vCPU that ran last: what a stop is about. */
  current(): GuestVcpu;
  /** Idle time passes up to an absolute virtual time; what is due by then happens. */
  passTo(time: bigint): void;
  /** Begin to run; one at a time. */
  run(until: RunUntil): RunSession;
  /** The slice under way, or the next, ends with reason `pause` before the next guest instruction it can. */
  pause(): void;
  /** Console input takes effect now, and again at this moment in every replay. */
  input(domain: number, data: Uint8Array): void;
  readonly inputLog: readonly InputEntry[];
  save(): MachineSnapshot;
  restore(snapshot: MachineSnapshot): void;
}

export interface MachineSnapshot {
  readonly frames: FrameMark;
  readonly vcpus: readonly Uint8Array[];
  readonly tlbs: Uint8Array;
  readonly hypervisor: HypervisorSnapshot;
  readonly devices: unknown;
  readonly clock: ClockState;
  readonly trace: TraceState;
  readonly current: number;
  readonly quantumLeft: bigint;
  readonly deliveryDue: boolean;
  readonly turns: number;
  readonly inputsTaken: number;
}

/** The part of a step that is under way when an upcall came between: run to the interrupted place first. */
interface Detour {
  readonly vcpu: GuestVcpu;
  readonly rip: bigint;
  readonly rsp: bigint;
}

export function createMachine(parts: MachineParts): Machine {
  const { cpu, hypervisor, devices, clock, marks, stops, tlbs } = parts;
  const inputLog: InputEntry[] = [];
  let inputsTaken = 0;
  let currentIndex = 0;
  let quantumLeft = QUANTUM;
  let pauseAsked = false;
  /**
   * Something happened since the current vCPU last ran that Xen looks for pending events after: an exit, a timer,
   * input, its turn on the processor. A slice, step or stop that ends for our own reasons is no such thing: if it
   * let an upcall in, the guest would run differently for being watched.
   */
  let deliveryDue = true;
  /** Exits handled and deliveries made. */
  let turns = 0;

  let all: readonly GuestVcpu[] = [];
  let domainsSeen = 0;
  /** Asked several times an exit: made anew only when a domain was added. */
  const vcpus = (): readonly GuestVcpu[] => {
    if (domainsSeen !== hypervisor.domains.size) {
      domainsSeen = hypervisor.domains.size;
      all = [...hypervisor.domains.values()].flatMap((d) => [...d.vcpus]);
    }
    return all;
  };
  const current = (): GuestVcpu => {
    const everyone = vcpus();
    const v = everyone[currentIndex] ?? everyone[0];
    if (v === undefined) throw new Error('the machine has no vCPU');
    return v;
  };
  const runnable = (v: GuestVcpu): boolean =>
    v.domain.state.shutdown === undefined &&
    v.state.online &&
    (v.state.run === 'running' || v.state.run === 'runnable');

  /** The vCPU to run: the current one while its quantum lasts, else the next runnable in order. */
  function pick(): GuestVcpu | undefined {
    vcpus();
    const now = all[currentIndex];
    if (now !== undefined && runnable(now) && quantumLeft > 0n && !now.state.yielded) {
      if (now.state.run === 'runnable') {
        hypervisor.scheduled(now, true);
        deliveryDue = true;
      }
      return now;
    }
    for (let i = 1; i <= all.length; i++) {
      const index = (currentIndex + i) % all.length;
      const v = all[index];
      if (v === undefined || !runnable(v)) continue;
      if (now !== undefined && now !== v) hypervisor.scheduled(now, false);
      if (now !== undefined) now.state.yielded = false;
      currentIndex = index;
      quantumLeft = QUANTUM;
      hypervisor.scheduled(v, true);
      deliveryDue = true;
      return v;
    }
    return undefined;
  }

  const nextInput = (): InputEntry | undefined => inputLog[inputsTaken];

  /** Feed logged input whose moment has come; during a replay the log is ahead of us. */
  function takeInput(): void {
    for (
      let e = nextInput();
      e !== undefined && e.retired <= clock.retired() && e.time <= clock.now() && e.turns <= turns;
      e = nextInput()
    )
      take(e);
  }

  function take(e: InputEntry): void {
    inputsTaken++;
    devices.console.input(e.domain, e.data);
    hypervisor.drainBackend();
    deliveryDue = true;
  }

  /** Timers whose time has come. */
  function expire(): void {
    const deadline = hypervisor.nextDeadline();
    if (deadline === undefined || clock.now() < deadline) return;
    hypervisor.expireTimers();
    deliveryDue = true;
  }

  /** After an exit was handled to its end. */
  function settle(outcome: Outcome): void {
    if (outcome === 'hold') return;
    turns++;
    deliveryDue = true;
    expire();
    hypervisor.drainBackend();
  }

  const shutdownOf = (v: GuestVcpu): StopReason | undefined => {
    const { shutdown, crashText } = v.domain.state;
    if (shutdown === undefined) return undefined;
    return shutdown === 'crash'
      ? { kind: 'crash', text: crashText ?? 'the domain crashed' }
      : { kind: 'shutdown', reason: shutdown, text: `${v.domain.name}: ${shutdown}` };
  };

  function run(until: RunUntil): RunSession {
    // A pause that came too late for the last run is not meant for this one.
    pauseAsked = false;
    const watched = until.vcpu;
    const counts = (v: GuestVcpu): boolean =>
      watched === undefined || (v.domain.id === watched.domain && v.id === watched.vcpu);
    let remaining = until.instructions;
    let detour: Detour | undefined;
    let skipCurrent = until.skipCurrent ?? true;
    const stepping = remaining !== undefined || until.outside !== undefined;

    const addresses = new Set(stops.addresses());
    if (until.address !== undefined) addresses.add(until.address.at);
    const applyBreakpoints = (): void => {
      cpu.setBreakpoints(detour === undefined ? [...addresses] : [...addresses, detour.rip]);
    };
    applyBreakpoints();

    const stop = (reason: StopReason, vcpu: GuestVcpu): SliceEnd => ({
      kind: 'stop',
      stop: { reason, vcpu },
    });

    /** Whether the vCPU stands where this run wants to end. */
    function arrived(v: GuestVcpu): StopReason | undefined {
      if (remaining !== undefined && remaining <= 0n) return { kind: 'step' };
      const { outside } = until;
      if (outside !== undefined && detour === undefined && isVcpu(v, outside.vcpu)) {
        const rip = v.cpu.get('rip');
        if (rip < outside.low || rip >= outside.high) return { kind: 'step' };
      }
      return undefined;
    }

    /** An instruction breakpoint at rip: whose? undefined: nobody's, go past it. */
    function atBreakpoint(v: GuestVcpu): StopReason | undefined {
      const rip = v.cpu.get('rip');
      if (
        detour !== undefined &&
        v === detour.vcpu &&
        rip === detour.rip &&
        v.cpu.get('rsp') === detour.rsp
      ) {
        detour = undefined;
        applyBreakpoints();
        const reason = arrived(v);
        if (reason !== undefined) return reason;
      }
      const ids = stops.at(rip, v.domain.id);
      if (ids.length > 0) return { kind: 'instruction', ids };
      const { address } = until;
      if (address === undefined || address.at !== rip) return undefined;
      if (address.vcpu !== undefined && !isVcpu(v, address.vcpu)) return undefined;
      if (address.minRsp !== undefined && v.cpu.get('rsp') < address.minRsp) return undefined;
      return { kind: 'address' };
    }

    function slice(instructions: bigint, skipIdle: boolean, exits = Infinity): SliceEnd {
      const lastTurn = turns + 2 * exits;
      const end = clock.retired() + instructions;
      for (;;) {
        if (pauseAsked) {
          pauseAsked = false;
          return stop({ kind: 'pause' }, current());
        }
        takeInput();
        const held = current();
        let outcome: Outcome;
        let v: GuestVcpu | undefined;
        if (held.state.held !== undefined) {
          v = held;
          outcome = goOn(held, held.state.held);
        } else {
          const done = arrived(held);
          if (done !== undefined) return stop(done, held);
          if (clock.retired() >= end || turns >= lastTurn) return { kind: 'slice' };
          v = pick();
          if (v === undefined) {
            const gone = vcpus().every((x) => x.domain.state.shutdown !== undefined)
              ? shutdownOf(current())
              : undefined;
            if (gone !== undefined) return stop(gone, current());
            const input = nextInput();
            if (input !== undefined && input.time <= clock.now()) {
              // Somebody changed the past of this log: nothing else is left to wait for, so it comes now.
              take(input);
              continue;
            }
            const idle = idleUntil();
            if (idle === undefined || (!skipIdle && idle > clock.now())) return { kind: 'idle', until: idle };
            passTo(idle);
            continue;
          }
          outcome = enter(v, end);
        }
        const taken = stops.take();
        if (taken !== undefined) return stop(taken, v);
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
      const from = v.cpu.get('icount');
      const outcome = hypervisor.resume(v);
      const ran = v.cpu.get('icount') - from;
      quantumLeft -= ran;
      settle(outcome);
      if (remaining === undefined || !counts(v)) return outcome;
      remaining -= ran;
      const visible = kind === 'hypercall-entry' || kind === 'fault';
      if (remaining === 1n && ran === 0n && visible && outcome === 'run') remaining = 0n;
      return outcome;
    }

    function idleUntil(): bigint | undefined {
      const timer = hypervisor.nextDeadline();
      const input = nextInput()?.time;
      if (timer === undefined) return input;
      return input === undefined || timer < input ? timer : input;
    }

    /** Deliver what is pending to `v`, let it run, and have the hypervisor see to what came of it. */
    function enter(v: GuestVcpu, end: bigint): Outcome {
      const skipping = stepping && detour === undefined && until.skipUpcalls !== false && counts(v);
      const rip = skipping ? v.cpu.get('rip') : 0n;
      const rsp = skipping ? v.cpu.get('rsp') : 0n;
      if (deliveryDue) {
        const delivered = hypervisor.deliverPending(v);
        if (delivered !== 'run') return delivered;
        deliveryDue = false;
        turns++;
      }
      if (skipping && v.cpu.get('rip') !== rip) {
        detour = { vcpu: v, rip, rsp };
        applyBreakpoints();
      }

      let limit = min(end - clock.retired(), quantumLeft);
      const deadline = hypervisor.nextDeadline();
      if (deadline !== undefined) limit = min(limit, max(1n, deadline - clock.now()));
      const input = nextInput();
      if (input !== undefined)
        limit = min(limit, max(1n, max(input.retired - clock.retired(), input.time - clock.now())));
      const counting = detour === undefined && counts(v);
      if (counting && until.outside !== undefined) limit = 1n;
      if (counting && remaining !== undefined) limit = min(limit, remaining);

      if (skipCurrent) {
        // Only where there is one: the CPU remembers to skip until it meets a breakpoint, wherever that is.
        if (addresses.has(v.cpu.get('rip'))) cpu.skipBreakpoint(v.cpu);
        skipCurrent = false;
      }
      const from = v.cpu.get('icount');
      const at = remaining === 1n ? v.cpu.get('rip') : 0n;
      const exit = v.cpu.run(from + limit);
      const outcome = exit === EXIT.LIMIT || exit === EXIT.KICK ? 'run' : hypervisor.handleExit(v, exit);
      // What the hypervisor emulated counts too.
      const ran = v.cpu.get('icount') - from;
      quantumLeft -= ran;
      if (counting && remaining !== undefined) {
        remaining -= ran;
        // A fault that arrives at the guest's handler is a step, too.
        if (remaining === 1n && ran === 0n && outcome === 'run' && v.cpu.get('rip') !== at) remaining = 0n;
      }
      if (outcome !== 'foreign' && exit !== EXIT.LIMIT && exit !== EXIT.KICK) settle(outcome);
      else expire();
      return outcome;
    }

    return { slice };
  }

  function passTo(time: bigint): void {
    clock.skipTo(time);
    hypervisor.expireTimers();
    hypervisor.drainBackend();
    deliveryDue = true;
  }

  return {
    ...parts,
    vcpus,
    current,
    run,
    passTo,
    pause() {
      pauseAsked = true;
    },
    input(domain, data) {
      // A hypercall or fault under way ends first.
      const held = current().state.held === undefined ? 0 : 1;
      const moment = { retired: clock.retired(), time: clock.now(), turns: turns + held };
      // What was logged beyond this moment belonged to a future that is no longer replayed. What came at this very
      // moment and has not been taken yet stays: a person types faster than an idle machine looks.
      const isDue = (e: InputEntry | undefined): boolean =>
        e !== undefined && e.retired <= moment.retired && e.time <= moment.time && e.turns <= moment.turns;
      let kept = inputsTaken;
      while (isDue(inputLog[kept])) kept++;
      inputLog.length = kept;
      inputLog.push({ ...moment, domain, data });
    },
    inputLog,
    save: () => ({
      frames: marks.take(),
      vcpus: cpu.vcpus.map((v) => v.saveState()),
      // Frames are copy-on-write from here: no store may take the fast way past that.
      tlbs: tlbs.save(),
      hypervisor: hypervisor.save(),
      devices: devices.save(),
      clock: clock.save(),
      trace: parts.trace.save(),
      current: currentIndex,
      quantumLeft,
      deliveryDue,
      turns,
      inputsTaken,
    }),
    restore(snapshot) {
      marks.restore(snapshot.frames);
      cpu.vcpus.forEach((v, i) => {
        const state = snapshot.vcpus[i];
        if (state !== undefined) v.restoreState(state);
      });
      hypervisor.restore(snapshot.hypervisor);
      devices.restore(snapshot.devices);
      clock.restore(snapshot.clock);
      parts.trace.restore(snapshot.trace);
      currentIndex = snapshot.current;
      quantumLeft = snapshot.quantumLeft;
      ({ deliveryDue, turns, inputsTaken } = snapshot);
      stops.take();
      pauseAsked = false;
      // Last: restoring the hypervisor flushes, and what the guest's processor had cached is part of its state.
      tlbs.restore(snapshot.tlbs);
    },
  };
}

const isVcpu = (v: GuestVcpu, ref: { readonly domain: number; readonly vcpu: number }): boolean =>
  v.domain.id === ref.domain && v.id === ref.vcpu;
const min = (a: bigint, b: bigint): bigint => (a < b ? a : b);
const max = (a: bigint, b: bigint): bigint => (a > b ? a : b);
