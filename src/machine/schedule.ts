import type { BackendSet, DeviceInput } from '../devices/index';
import type { GuestVcpu, Hypervisor, Outcome } from '../hypervisor/types';
import type { MachineClock } from './clock';
import type { VcpuRef } from './views';

/**
 * Whose turn it is, and what happens at which moment: vCPUs interleaved on one virtual processor by a fixed
 * quantum, input from the log, timers, idle time.
 */

/** Instructions a vCPU may run before the next runnable one has its turn. */
const QUANTUM = 50_000;

/** From here on only this vCPU has its turn, the others stay where they are; undefined: all of them again. */
export interface AloneInput {
  readonly kind: 'alone';
  readonly vcpu: VcpuRef | undefined;
}

export type MachineInput = DeviceInput | AloneInput;

/** One piece of input, and the moment it takes effect. */
export type InputEntry = MachineInput & {
  readonly retired: bigint;
  readonly time: bigint;
  /** Turns of the hypervisor by then: tells moments apart between which no instruction retires. */
  readonly turns: number;
};

export interface ScheduleState {
  readonly current: number;
  readonly quantumLeft: bigint;
  readonly deliveryDue: boolean;
  readonly turns: number;
  readonly inputsTaken: number;
  /** Place of the vCPU that has every turn. */
  readonly alone?: number;
}

export interface Schedule {
  /** All vCPUs of all domains. */
  vcpus(): readonly GuestVcpu[];
  /** The vCPU that ran last: what a stop is about. */
  current(): GuestVcpu;
  /** The vCPU to run: the current one while its quantum lasts, else the next runnable in order. */
  pick(): GuestVcpu | undefined;
  /** Instructions until the next vCPU's turn. */
  quantumLeft(): number;
  /** The current vCPU ran this many instructions. */
  spend(instructions: number): void;
  /** Exits handled and deliveries made. */
  turns(): number;
  inputsTaken(): number;

  /** So many exits were handled without our doing, and what came of each was delivered. */
  crossed(exits: number): void;

  /**
   * Something happened since the current vCPU last ran that Xen looks for pending events after: an exit, a timer,
   * input, its turn on the processor. A slice, step or stop that ends for our own reasons is no such thing: if it
   * let an upcall in, the guest would run differently for being watched.
   */
  deliveryDue(): boolean;
  /** What was due has been delivered. */
  delivered(): void;

  /**
   * Input takes effect now, and again at this moment in every replay. What a person types changes the future that a
   * replay was on its way to; what comes by the network waits until the replay has arrived there.
   */
  input(input: MachineInput): void;
  /** Sees to it that from now on one vCPU alone has its turn, or all: input, where it is not so already, which it answers. */
  runAlone(vcpu: VcpuRef | undefined): boolean;
  readonly inputLog: readonly InputEntry[];
  nextInput(): InputEntry | undefined;
  /** Feed logged input whose moment has come; during a replay the log is ahead of us. */
  takeDueInput(): void;
  /** What is logged beyond now belongs to another future: somebody has changed the machine. */
  forgetFuture(): void;
  /** Feed one entry, whatever its moment. */
  take(entry: InputEntry): void;

  /** Timers whose time has come. */
  expire(): void;
  /** How many instructions have retired when the next timer is due, idle time aside; Infinity: there is none. */
  deadline(): number;
  /** The next timer may be another than it was: something else than this schedule had a part in it. */
  forgetDeadline(): void;
  /** After an exit was handled to its end. */
  settle(outcome: Outcome): void;
  /** When the next timer or input is due; undefined: never. */
  idleUntil(): bigint | undefined;
  /** The vCPU that alone has its turn, where nothing that is known of will ever let it run. */
  stuck(): GuestVcpu | undefined;
  /** Idle time passes up to an absolute virtual time; what is due by then happens. */
  passTo(time: bigint): void;

  save(): ScheduleState;
  restore(state: ScheduleState): void;
  /** Another machine's, and its log in place of this one's. */
  load(state: ScheduleState, log: readonly InputEntry[]): void;
  /** The domains begin anew: their first vCPU is next. Time, and input with its moments, go on. */
  reset(): void;
}

export function createSchedule(hypervisor: Hypervisor, devices: BackendSet, clock: MachineClock): Schedule {
  const inputLog: InputEntry[] = [];
  /** Of the network: came while the log was ahead. */
  const waiting: DeviceInput[] = [];
  let inputsTaken = 0;
  let currentIndex = 0;
  let alone: number | undefined;
  let quantumLeft = QUANTUM;
  let deliveryDue = true;
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

  const aloneVcpu = (): GuestVcpu | undefined => (alone === undefined ? undefined : vcpus()[alone]);

  function pick(): GuestVcpu | undefined {
    vcpus();
    const now = all[currentIndex];
    const mayRun = (index: number): boolean => alone === undefined || alone === index;
    if (now !== undefined && mayRun(currentIndex) && runnable(now) && quantumLeft > 0 && !now.state.yielded) {
      if (now.state.run === 'runnable') {
        hypervisor.scheduled(now, true);
        deliveryDue = true;
      }
      return now;
    }
    for (let i = 1; i <= all.length; i++) {
      const index = (currentIndex + i) % all.length;
      const v = all[index];
      if (v === undefined || !mayRun(index) || !runnable(v)) continue;
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

  function take(e: InputEntry): void {
    inputsTaken++;
    if (e.kind === 'alone') {
      alone = placeOf(e.vcpu);
      return;
    }
    devices.input(e);
    hypervisor.drainBackend();
    forgetDeadline();
    deliveryDue = true;
  }

  const placeOf = (ref: VcpuRef | undefined): number | undefined => {
    if (ref === undefined) return undefined;
    const place = vcpus().findIndex((v) => v.domain.id === ref.domain && v.id === ref.vcpu);
    return place < 0 ? undefined : place;
  };

  /** When input of now takes effect, and how many entries of the log come before it. */
  function present(): { moment: Pick<InputEntry, 'retired' | 'time' | 'turns'>; kept: number } {
    // A hypercall or fault under way ends first.
    const held = current().state.held === undefined ? 0 : 1;
    const moment = { retired: clock.retired(), time: clock.now(), turns: turns + held };
    const isDue = (e: InputEntry | undefined): boolean =>
      e !== undefined && e.retired <= moment.retired && e.time <= moment.time && e.turns <= moment.turns;
    let kept = inputsTaken;
    while (isDue(inputLog[kept])) kept++;
    return { moment, kept };
  }

  function log(input: MachineInput): void {
    // What was logged beyond this moment belonged to a future that is no longer replayed. What came at this very
    // moment and has not been taken yet stays: a person types faster than an idle machine looks.
    const { moment, kept } = present();
    inputLog.length = kept;
    inputLog.push({ ...moment, ...input });
  }

  /** What the last exit left behind; undefined: not known. */
  let deadlineCount: number | undefined;
  function deadline(): number {
    if (deadlineCount === undefined) {
      const time = hypervisor.nextDeadline();
      deadlineCount = time === undefined ? Infinity : clock.countAt(time);
    }
    return deadlineCount;
  }
  const forgetDeadline = (): void => {
    deadlineCount = undefined;
  };

  function expire(): void {
    if (clock.count() < deadline()) return;
    hypervisor.expireTimers();
    forgetDeadline();
    deliveryDue = true;
  }

  function restore(state: ScheduleState): void {
    currentIndex = state.current;
    quantumLeft = Number(state.quantumLeft);
    ({ deliveryDue, turns, inputsTaken, alone } = state);
    forgetDeadline();
  }

  return {
    vcpus,
    current,
    pick,
    quantumLeft: () => quantumLeft,
    spend(instructions) {
      quantumLeft -= instructions;
    },
    turns: () => turns,
    inputsTaken: () => inputsTaken,
    deliveryDue: () => deliveryDue,
    delivered() {
      deliveryDue = false;
      turns++;
    },

    crossed(exits) {
      turns += 2 * exits;
    },

    input(input) {
      if (input.kind === 'network' && nextInput() !== undefined) waiting.push(input);
      else log(input);
    },
    runAlone(vcpu) {
      const { kept } = present();
      let will = alone;
      for (const e of inputLog.slice(inputsTaken, kept)) if (e.kind === 'alone') will = placeOf(e.vcpu);
      const isNew = placeOf(vcpu) !== will;
      if (isNew) log({ kind: 'alone', vcpu });
      return isNew;
    },
    forgetFuture() {
      inputLog.length = present().kept;
    },
    inputLog,
    nextInput,
    takeDueInput() {
      for (;;) {
        for (
          let e = nextInput();
          e !== undefined && e.retired <= clock.retired() && e.time <= clock.now() && e.turns <= turns;
          e = nextInput()
        )
          take(e);
        if (waiting.length === 0 || nextInput() !== undefined) return;
        for (const input of waiting.splice(0)) log(input);
      }
    },
    take,

    expire,
    deadline,
    forgetDeadline,
    settle(outcome) {
      forgetDeadline();
      if (outcome === 'hold') return;
      turns++;
      deliveryDue = true;
      expire();
      // Back ends may set timers.
      if (hypervisor.drainBackend()) forgetDeadline();
    },
    idleUntil() {
      const timer = hypervisor.nextDeadline();
      const input = nextInput()?.time;
      if (timer === undefined) return input;
      return input === undefined || timer < input ? timer : input;
    },
    stuck() {
      const v = aloneVcpu();
      if (v === undefined || runnable(v) || nextInput() !== undefined) return undefined;
      const isOver = v.domain.state.shutdown !== undefined || !v.state.online;
      return isOver || hypervisor.nextDeadline(v) === undefined ? v : undefined;
    },
    passTo(time) {
      clock.skipTo(time);
      hypervisor.expireTimers();
      hypervisor.drainBackend();
      forgetDeadline();
      deliveryDue = true;
    },

    save: () => ({
      current: currentIndex,
      quantumLeft: BigInt(quantumLeft),
      deliveryDue,
      turns,
      inputsTaken,
      ...(alone === undefined ? {} : { alone }),
    }),
    restore,
    load(state, log) {
      if (state.current >= Math.max(1, vcpus().length)) throw new Error(`there is no vCPU ${state.current}`);
      if (state.inputsTaken > log.length)
        throw new Error(`${state.inputsTaken} inputs were taken, of ${log.length}`);
      inputLog.length = 0;
      for (const entry of log) inputLog.push(entry);
      restore(state);
    },
    reset() {
      currentIndex = 0;
      alone = undefined;
      quantumLeft = QUANTUM;
      deliveryDue = true;
      // A place of its own in the run: what was before stands at the same count and time.
      turns++;
      forgetDeadline();
    },
  };
}
