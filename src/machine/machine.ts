import type { Disposable } from '../base/disposable';
import type { Log } from '../base/log';
import type { Cpu } from '../cpu/types';
import type { BackendSet } from '../devices/index';
import type { GuestVcpu, Hypervisor, HypervisorSnapshot } from '../hypervisor/types';
import type { Crossings } from './crossings';
import type { ClockState, MachineClock } from './clock';
import type { FastPath } from './fastpath/index';
import type { FrameMark, Marks } from './marks';
import type { Position } from './position';
import { createSchedule, type InputEntry, type MachineInput, type ScheduleState } from './schedule';
import { createRunSession, type PauseRequest, type RunSession } from './session';
import type { Origin } from './saved/origin';
import type { Stops } from './stops';
import type { RunUntil, StopPoint, VcpuRef } from './target';
import type { Tlbs } from './tlbs';
import type { Trace, TraceState } from './trace';
import type { DataWatches } from './data-watches';

/**
 * The machine: its parts, whose turn it is (schedule.ts), running and stopping (session.ts), and its snapshots.
 * Everything that happens is a function of the configuration and the input log.
 */

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
  readonly watches: DataWatches;
  /** Sees to the most frequent exits in place; undefined: all of them are the hypervisor's. */
  readonly fastPath: FastPath | undefined;
  /** Everything that run() stops at but statements. Throws for what cannot be. */
  setStops(points: readonly StopPoint[]): void;
  /** Stops at none of them for now; what gates have counted stays. */
  quiet(): void;
  readonly log: Log;
  /** What it was made from. */
  readonly origin: Origin;
  /** Puts every domain back to its first instruction. Time, instruction counts and disk contents go on. */
  rebuild(): Promise<void>;
}

export interface Machine extends MachineParts {
  /** All vCPUs of all domains. */
  vcpus(): readonly GuestVcpu[];
  /** The vCPU that ran last: what a stop is about. */
  current(): GuestVcpu;
  /** Idle time passes up to an absolute virtual time; what is due by then happens. */
  passTo(time: bigint): void;
  /** Begin to run; one at a time. */
  run(until: RunUntil, crossings?: Crossings): RunSession;
  /** The slice under way, or the next, ends with reason `pause` before the next guest instruction it can. */
  pause(): void;
  /** Input takes effect now, and again at this moment in every replay. */
  input(input: MachineInput): void;
  /** From now on one vCPU alone has its turn, or all of them. @returns whether that is new, and input */
  runAlone(vcpu: VcpuRef | undefined): boolean;
  readonly inputLog: readonly InputEntry[];
  /** What is due of it takes effect at once; otherwise the next run begins with that. */
  takeInput(): void;
  /** As after a restart of all domains; marks, trace and input log stay good. */
  reboot(): Promise<void>;
  position(): Position;
  /** Somebody changed what is no input: the log beyond now is of another future. */
  forgetFuture(): void;
  save(): MachineSnapshot;
  restore(snapshot: MachineSnapshot): void;
  /** Whose turn it is, for a file (saved/); and that of a file, with its input log. */
  turn(): ScheduleState;
  takeTurn(state: ScheduleState, log: readonly InputEntry[]): void;
}

export interface MachineSnapshot {
  readonly frames: FrameMark;
  readonly vcpus: readonly Uint8Array[];
  readonly tlbs: Uint8Array;
  readonly hypervisor: HypervisorSnapshot;
  readonly devices: unknown;
  readonly clock: ClockState;
  readonly trace: TraceState;
  readonly schedule: ScheduleState;
  readonly asked: number;
}

export function createMachine(parts: MachineParts): Machine {
  const { cpu, hypervisor, devices, clock, marks, tlbs } = parts;
  const schedule = createSchedule(hypervisor, devices, clock);
  const pause: PauseRequest = { asked: false };

  return {
    ...parts,
    vcpus: () => schedule.vcpus(),
    current: () => schedule.current(),
    run: (until, crossings) => createRunSession(parts, schedule, pause, until, crossings),
    passTo: (time) => {
      schedule.passTo(time);
    },
    pause() {
      pause.asked = true;
    },
    input: (input) => {
      schedule.input(input);
    },
    runAlone: (vcpu) => schedule.runAlone(vcpu),
    inputLog: schedule.inputLog,
    takeInput: () => {
      schedule.takeDueInput();
    },
    position: () => ({
      retired: clock.retired(),
      time: clock.now(),
      turns: schedule.turns(),
      inputs: schedule.inputsTaken(),
      asked: parts.stops.asked(),
      held: schedule.current().state.held !== undefined,
    }),
    forgetFuture: () => {
      schedule.forgetFuture();
    },
    turn: () => schedule.save(),
    takeTurn: (state, log) => {
      schedule.load(state, log);
    },
    reboot: async () => {
      parts.log.info('the domains start again');
      await parts.rebuild();
      schedule.reset();
      parts.stops.clear();
      parts.watches.refresh();
    },
    save: () => ({
      frames: marks.take(),
      vcpus: cpu.vcpus.map((v) => v.saveState()),
      // Frames are copy-on-write from here: no store may take the fast way past that.
      tlbs: tlbs.save(),
      hypervisor: hypervisor.save(),
      devices: devices.save(),
      clock: clock.save(),
      trace: parts.trace.save(),
      schedule: schedule.save(),
      asked: parts.stops.asked(),
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
      schedule.restore(snapshot.schedule);
      parts.stops.clear();
      parts.stops.resetAsked(snapshot.asked);
      pause.asked = false;
      // Last: restoring the hypervisor flushes, and what the guest's processor had cached is part of its state.
      tlbs.restore(snapshot.tlbs);
      parts.watches.refresh();
      tlbs.follow();
    },
  };
}
