import { canonicalPath, type NetworkOutput } from '../devices/index';
import { asGiven } from './config';
import { restartDue, withAction } from './ending';
import type { Domain } from '../hypervisor/types';
import { createHasher, canonicalText } from './hash';
import { createHistory } from './history';
import { writeMemory } from './inspect';
import type { Machine, MachineSnapshot } from './machine';
import { createLiveRecords } from './records/live';
import { asynchronous, createReads, findVcpu, momentOf, placeOf, refOf, type Reads } from './reads';
import { createSaving, type SavingHost } from './saved/saving';
import { writeRegister } from './registers';
import type { StopAt } from './session';
import { createStatements, type ProbeHost } from './statements';
import { createStateWatches } from './state-watches';
import type {
  ConsoleListener,
  Mark,
  MachineConfig,
  NetworkInput,
  RunUntil,
  Stop,
  StopPoint,
  Target,
  VcpuRef,
} from './target';
import { PAGE_SIZE } from '../cpu/types';

/** What the embedded machine needs of the place it runs in. */
export interface MachineHost {
  /** Makes a machine at its first instruction. */
  assemble(config: MachineConfig, log: (text: string) => void): Promise<Machine>;
  /** Lets messages in between two slices of a run. */
  turn(): Promise<void>;
  /**
   * Waits about `nanoseconds` of wall time, or less if `wake` settles; answers how many passed. Absent: idle
   * time is skipped at once, as fast as the host goes.
   */
  sleep?(nanoseconds: bigint, wake: Promise<void>): Promise<bigint>;
  /** For saving machines; absent where there are no files. */
  readonly saving?: SavingHost;
  /** Where the hypervisor can be held between its statements: its probes, and how to wait there. */
  readonly statements?: {
    readonly probes: ProbeHost;
    /**
     * Tells whoever asked for the run of the stop, and serves them, without returning, until they run it again;
     * undefined: leave the hypervisor and stand still.
     */
    hold(stop: Stop, machine: HeldMachine): RunUntil | undefined;
  };
}

/** What can be done with a machine that is in the middle of the hypervisor. */
export interface HeldMachine {
  readonly reads: Reads;
  readonly setStops: (points: readonly StopPoint[]) => void;
}

/** Stops that a run ends with for its own reasons; the others are something to tell. */
const OWN_ENDS: ReadonlySet<string> = new Set(['pause', 'step', 'address']);

/** Records that are kept once somebody looks at them, where no number was asked for: some 60 MB. */
const KEPT_RECORDS = 1_000_000;
/** Guest instructions between two looks at messages: some 10 ms of the interpreter. */
const SLICE = 1_000_000n;
/** The same in exits, of some microseconds each. */
const SLICE_EXITS = 2000;

/** A machine in this thread as a `Target`. */
export async function createEmbeddedTarget(given: MachineConfig, host: MachineHost): Promise<Target> {
  // What kernels were unpacked to is for making the machine, and is let go of then.
  let making: MachineConfig | undefined = given;
  const config: MachineConfig = { ...given, domains: given.domains.map(asGiven) };
  const consoleListeners = new Set<ConsoleListener>();
  const networkListeners = new Set<(output: NetworkOutput) => void>();
  const logListeners = new Set<(text: string) => void>();
  const marks = new Map<Mark, MachineSnapshot>();
  let nextMark = 1;
  let points: readonly StopPoint[] = [];
  let running = false;
  let disposed = false;
  /** Settles when something happens that an idle machine waits for. */
  let wake: () => void = () => undefined;

  /** Of the host's, into domains. */
  const connections = new Set<number>();
  /** Of the host's, for when the machine is where it was again. */
  let delayed: NetworkInput[] = [];

  const start = async (): Promise<Machine> => {
    const machine = await host.assemble(making ?? config, (text) => {
      if (history.repeats()) return;
      for (const l of logListeners) l(text);
    });
    machine.devices.console.onOutput((domain, data, console) => {
      if (history.repeats()) return;
      for (const l of consoleListeners) l(domain, data, console);
    });
    machine.devices.onNetwork((output) => {
      if (history.repeats()) return;
      if (output.event === 'closed') connections.delete(output.connection);
      for (const l of networkListeners) l(output);
    });
    machine.setStops(points);
    making = undefined;
    return machine;
  };
  const history = createHistory({
    machine: () => machine,
    limits: config.history,
    turn: () => host.turn(),
    restartDue: () => restartDue(config, machine.hypervisor.domains.values()),
    quiet: (on) => {
      if (on) machine.quiet();
      else machine.setStops(points);
    },
  });
  let machine = await start();
  history.begin();
  const saving = createSaving(
    () => machine,
    () => running,
    () => host.turn(),
    host.saving,
  );

  const rouse = (): void => {
    wake();
  };
  const domainOf = (id: number): Domain => {
    const domain = machine.hypervisor.domains.get(id);
    if (domain === undefined) throw new RangeError(`there is no domain ${id.toString()}`);
    return domain;
  };
  const describe = ({ reason, vcpu }: StopAt): Stop => ({
    reason: withAction(config, reason, vcpu.domain),
    at: momentOf(machine),
    vcpu: refOf(vcpu),
  });
  /** How to go on once the hypervisor is left, when that was asked for inside it. */
  let afterwards: { readonly until: RunUntil | undefined } | undefined;
  const setStops = (given: readonly StopPoint[]): void => {
    machine.setStops(given);
    statements.setStops(given);
    points = given;
  };
  const hold = (ids: readonly number[], text: string | undefined): RunUntil | undefined => {
    const told = text === undefined ? {} : { text };
    const stop = describe({ reason: { kind: 'statement', ids, ...told }, vcpu: machine.current() });
    const until = host.statements?.hold(stop, { reads, setStops });
    // Whatever the run was for that came here, it ends with the hypervisor's work.
    afterwards = { until: until?.hypervisor === undefined ? until : undefined };
    machine.pause();
    return until;
  };
  const isCurrent = ({ domain, vcpu }: VcpuRef): boolean => {
    const now = refOf(machine.current());
    return now.domain === domain && now.vcpu === vcpu;
  };
  const warn = (text: string): void => {
    for (const l of logListeners) l(text);
  };
  /** Of the hypercall that is being served. */
  const names = (): Readonly<Record<string, bigint | string | undefined>> => {
    const vcpu = machine.current();
    const call = machine.hypervisor.servedCall(vcpu);
    const view = call === undefined ? undefined : machine.hypervisor.view(vcpu, call);
    const at = { dom: BigInt(vcpu.domain.id), vcpu: BigInt(vcpu.id) };
    return view === undefined ? at : { ...at, name: view.name, op: view.op };
  };
  const statements = createStatements(
    { probes: host.statements?.probes, hold, isCurrent, names, warn },
    createStateWatches(() => machine.hypervisor, warn),
  );
  const records = createLiveRecords(() => machine, host.saving, config.traceRecords ?? KEPT_RECORDS);
  if (config.traceRecords !== undefined) records.begin();
  /** Somebody changes what comes next. */
  const intervene = (): void => {
    if (!history.cut()) return;
    // What the host's ends have said and heard has not happened.
    for (const connection of connections)
      for (const l of networkListeners)
        l({ connection, event: 'closed', reason: 'the machine went another way than before' });
    connections.clear();
    delayed = [];
  };
  const follow = (): void => {
    records.follow();
    history.follow();
    if (delayed.length === 0 || history.repeats()) return;
    for (const input of delayed.splice(0)) machine.input({ kind: 'network', ...input });
  };
  const edited = (): void => {
    machine.watches.refresh();
    intervene();
    history.edited();
  };
  const every = config.history?.interval ?? SLICE;
  const slice = every < SLICE ? every : SLICE;
  const travel = async <T>(work: () => Promise<T>): Promise<T> => {
    if (running) throw new Error('pause the machine before going back');
    saving.keepStill();
    running = true;
    try {
      return await work();
    } finally {
      running = false;
      statements.forget(false);
      records.follow();
    }
  };
  const reads = createReads(() => machine, statements, records, history);

  const idle = async (until: bigint | undefined): Promise<void> => {
    const woke = new Promise<void>((resolve) => (wake = resolve));
    if (until === undefined) {
      await woke;
      return;
    }
    if (host.sleep === undefined) return;
    const asked = until - machine.clock.now();
    const slept = await host.sleep(asked, woke);
    // What woke it early happens at the virtual time that has passed by then.
    machine.passTo(until - asked + (slept < asked ? slept : asked));
  };

  return {
    ...asynchronous(reads),

    setStops: async (given) => {
      setStops(given);
      return Promise.resolve();
    },
    run: async (until) => {
      if (running) throw new Error('the machine is running already');
      saving.keepStill();
      running = true;
      try {
        if (restartDue(config, machine.hypervisor.domains.values())) await machine.reboot();
        statements.begin(until);
        let asked = until;
        if (asked.alone !== undefined) findVcpu(machine, asked.alone);
        if (machine.runAlone(asked.alone)) intervene();
        let session = machine.run(asked, statements.crossings);
        for (;;) {
          session.bound(history.bound(asked.before));
          const skipIdle = host.sleep === undefined || asked.before !== undefined;
          const end = session.slice(slice, skipIdle, SLICE_EXITS);
          follow();
          if (end.kind === 'bound') {
            if (history.arrive(asked.before)) continue;
            return describe({ reason: { kind: 'reached' }, vcpu: machine.current() });
          }
          if (end.kind === 'stop') {
            const next = afterwards;
            afterwards = undefined;
            if (next === undefined || !OWN_ENDS.has(end.stop.reason.kind)) return describe(end.stop);
            if (next.until === undefined) return describe({ ...end.stop, reason: { kind: 'step' } });
            asked = next.until;
            if (machine.runAlone(asked.alone)) intervene();
            session = machine.run({ ...asked, skipCurrent: false }, statements.crossings);
            continue;
          }
          if (end.kind === 'idle') {
            if (end.until === undefined && asked.stopWhenIdle === true) {
              return describe({ reason: { kind: 'idle' }, vcpu: machine.current() });
            }
            await idle(end.until);
          } else await host.turn();
          if (disposed) throw new Error('the machine was disposed of');
        }
      } finally {
        running = false;
        afterwards = undefined;
        statements.end();
      }
    },
    pause: () => {
      // A request that finds nothing running must not end the next run.
      if (running) machine.pause();
      rouse();
    },

    seekTo: (position) =>
      travel(async () => {
        await history.seek(position);
        return momentOf(machine);
      }),
    rewind: (before, near) => travel(() => history.rewind(before, near)),
    stepBack: (ref, from, overUpcalls = false) =>
      travel(() => history.back(() => findVcpu(machine, ref), from, overUpcalls)),

    mark: async () => {
      const mark = nextMark++;
      marks.set(mark, machine.save());
      return Promise.resolve(mark);
    },
    seek: async (mark) => {
      const snapshot = marks.get(mark);
      if (snapshot === undefined) throw new RangeError(`there is no mark ${mark.toString()}`);
      saving.keepStill();
      machine.restore(snapshot);
      history.begin();
      statements.forget(false);
      records.follow();
      return Promise.resolve(momentOf(machine));
    },
    dropMark: async (mark) => {
      const snapshot = marks.get(mark);
      if (snapshot !== undefined) machine.marks.drop(snapshot.frames);
      marks.delete(mark);
      return Promise.resolve();
    },
    save: (path, options = {}) => saving.save(path, options),
    cancelSave: () => {
      saving.cancel();
    },
    onSaving: (listener) => saving.onProgress(listener),
    restart: async () => {
      if (running) throw new Error('pause the machine before restarting it');
      saving.keepStill();
      marks.clear();
      const old = machine;
      history.forget();
      machine = await start();
      history.begin();
      connections.clear();
      delayed = [];
      statements.forget(true);
      records.follow();
      for (const { connections } of old.devices.inspect().net.bridges)
        for (const { connection } of connections)
          for (const l of networkListeners)
            l({ connection, event: 'closed', reason: 'the machine was restarted' });
      old.disks.dispose();
    },
    stateHash: () => Promise.resolve(hashOf(machine)),

    setRegister: async (ref, name, bytes) => {
      saving.keepStill();
      writeRegister(findVcpu(machine, ref).cpu, name, bytes);
      edited();
      return Promise.resolve();
    },
    writeMemory: async (space, address, data) => {
      saving.keepStill();
      const { vcpu, domain } = placeOf(machine, space);
      const done = writeMemory(machine.hypervisor, vcpu, domain, space.kind, address, data);
      edited();
      return Promise.resolve(done);
    },
    consoleInput: async (domain, data, console = 0) => {
      if (!machine.hypervisor.domains.has(domain))
        throw new RangeError(`there is no domain ${domain.toString()}`);
      intervene();
      machine.input({ kind: 'console', domain, console, data });
      rouse();
      return Promise.resolve();
    },
    askGuest: async (id, request) => {
      domainOf(id);
      intervene();
      machine.input({ kind: 'ask', domain: id, request });
      rouse();
      return Promise.resolve();
    },
    resumeDomain: async (id, how) => {
      saving.keepStill();
      if (domainOf(id).state.shutdown !== 'suspend')
        throw new Error(`domain ${id.toString()} is not suspended`);
      intervene();
      machine.input({ kind: 'resume', domain: id, how });
      machine.takeInput();
      return Promise.resolve();
    },
    networkInput: async (input) => {
      if (input.event === 'open') connections.add(input.connection);
      // What comes by the network is not meant for the past.
      if (history.repeats()) delayed.push(input);
      else machine.input({ kind: 'network', ...input });
      rouse();
      return Promise.resolve();
    },
    diskInput: async (input) => {
      const known = machine.devices.inspect().block;
      if (!known.some(({ domain, vdev }) => domain === input.domain && vdev === input.vdev))
        throw new RangeError(`domain ${input.domain.toString()} has no disk ${input.vdev}`);
      if (input.change === 'resize' && !(Number.isSafeInteger(input.sectors) && input.sectors > 0))
        throw new RangeError(`${input.sectors.toString()} is no number of sectors`);
      intervene();
      machine.input({ kind: 'disk', ...input });
      rouse();
      return Promise.resolve();
    },
    storeInput: async (path, value) => {
      // As domain 0; what cannot be a path is refused before it is in the log.
      canonicalPath({ domain: 0, privileged: true }, path);
      if (!path.startsWith('/') || path === '/')
        throw new RangeError(`'${path}' is no node that can be written: a path begins with /`);
      intervene();
      machine.input({ kind: 'store', path, value });
      // Who stands still and writes wants to see it.
      if (!running) machine.takeInput();
      rouse();
      return Promise.resolve();
    },
    onNetwork: (listener) => {
      networkListeners.add(listener);
      return () => networkListeners.delete(listener);
    },
    onConsole: (listener) => {
      consoleListeners.add(listener);
      return () => consoleListeners.delete(listener);
    },
    onLog: (listener) => {
      logListeners.add(listener);
      return () => logListeners.delete(listener);
    },
    dispose: async () => {
      disposed = true;
      saving.cancel();
      machine.pause();
      rouse();
      consoleListeners.clear();
      networkListeners.clear();
      logListeners.clear();
      marks.clear();
      machine.disks.dispose();
      return Promise.resolve();
    },
  };
}

/** Everything that can influence the future, in one order. */
function hashOf(machine: Machine): string {
  const { cpu, hypervisor, devices, clock } = machine;
  const h = createHasher();
  for (const v of cpu.vcpus) h.bytes(v.saveState());
  const { mem } = cpu;
  h.words(
    new Uint32Array(
      mem.bytes.buffer,
      mem.bytes.byteOffset + mem.framesBase,
      (mem.frameCount * PAGE_SIZE) / 4,
    ),
  );
  h.text(canonicalText(hypervisor.save()));
  h.text(canonicalText(devices.save()));
  h.text(canonicalText(clock.save()));
  return h.digest();
}
