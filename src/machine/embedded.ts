import type { NetworkOutput } from '../devices/index';
import type { GuestVcpu } from '../hypervisor/types';
import { createHasher, canonicalText } from './hash';
import { frameInfo, readMemory, tableEntries, walk, writeMemory } from './inspect';
import type { Machine, MachineSnapshot } from './machine';
import { readRegisters, writeRegister } from './registers';
import type { StopAt } from './session';
import type {
  AddressSpace,
  ConsoleListener,
  DomainView,
  Mark,
  MachineConfig,
  Moment,
  Stop,
  StopPoint,
  Target,
  VcpuRef,
  VcpuView,
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
}

/** Guest instructions between two looks at messages: some 10 ms of the interpreter. */
const SLICE = 1_000_000n;
/** The same in exits, of some microseconds each. */
const SLICE_EXITS = 2000;

/** A machine in this thread as a `Target`. */
export async function createEmbeddedTarget(config: MachineConfig, host: MachineHost): Promise<Target> {
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

  const start = async (): Promise<Machine> => {
    const machine = await host.assemble(config, (text) => {
      for (const l of logListeners) l(text);
    });
    machine.devices.console.onOutput((domain, data, console) => {
      for (const l of consoleListeners) l(domain, data, console);
    });
    machine.stops.set(points);
    return machine;
  };
  let machine = await start();

  const rouse = (): void => {
    wake();
  };
  const moment = (): Moment => ({ retired: machine.clock.retired(), time: machine.clock.now() });
  const refOf = (v: GuestVcpu): VcpuRef => ({ domain: v.domain.id, vcpu: v.id });
  const describe = (stop: StopAt): Stop => ({ reason: stop.reason, at: moment(), vcpu: refOf(stop.vcpu) });
  const find = (ref: VcpuRef): GuestVcpu => {
    const v = machine.hypervisor.domains.get(ref.domain)?.vcpus[ref.vcpu];
    if (v === undefined)
      throw new RangeError(`there is no vCPU d${ref.domain.toString()}v${ref.vcpu.toString()}`);
    return v;
  };
  const place = (
    space: AddressSpace,
  ): { vcpu: GuestVcpu | undefined; domain: GuestVcpu['domain'] | undefined } => {
    if (space.kind === 'virtual') {
      const vcpu = find(space.vcpu);
      return { vcpu, domain: vcpu.domain };
    }
    if (space.kind === 'machine') return { vcpu: undefined, domain: undefined };
    const domain = machine.hypervisor.domains.get(space.domain);
    if (domain === undefined) throw new RangeError(`there is no domain ${space.domain.toString()}`);
    return { vcpu: undefined, domain };
  };

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

  const vcpuView = (v: GuestVcpu): VcpuView => ({
    ref: refOf(v),
    state: v.domain.state.shutdown !== undefined ? 'dead' : v.state.online ? v.state.run : 'offline',
    rip: v.cpu.get('rip'),
    mode: v.state.kernelMode ? 'kernel' : 'user',
    icount: v.cpu.get('icount'),
  });

  return {
    now: () => Promise.resolve(moment()),
    domains: () =>
      Promise.resolve(
        [...machine.hypervisor.domains.values()].map((d): DomainView => ({
          id: d.id,
          name: d.name,
          frames: d.state.totalPages,
          vcpus: d.vcpus.map(vcpuView),
          consolePorts: machine.devices.inspect().console.filter((c) => c.domain === d.id).length,
          ...(d.state.shutdown === undefined ? {} : { shutdown: d.state.shutdown }),
        })),
      ),

    setStops: async (given) => {
      machine.stops.set(given);
      points = given;
      return Promise.resolve();
    },
    run: async (until) => {
      if (running) throw new Error('the machine is running already');
      running = true;
      try {
        const session = machine.run(until);
        for (;;) {
          const end = session.slice(SLICE, host.sleep === undefined, SLICE_EXITS);
          if (end.kind === 'stop') return describe(end.stop);
          if (end.kind === 'idle') {
            if (end.until === undefined && until.stopWhenIdle === true) {
              return describe({ reason: { kind: 'idle' }, vcpu: machine.current() });
            }
            await idle(end.until);
          } else await host.turn();
          if (disposed) throw new Error('the machine was disposed of');
        }
      } finally {
        running = false;
      }
    },
    pause: () => {
      // A request that finds nothing running must not end the next run.
      if (running) machine.pause();
      rouse();
    },

    mark: async () => {
      const mark = nextMark++;
      marks.set(mark, machine.save());
      return Promise.resolve(mark);
    },
    seek: async (mark) => {
      const snapshot = marks.get(mark);
      if (snapshot === undefined) throw new RangeError(`there is no mark ${mark.toString()}`);
      machine.restore(snapshot);
      return Promise.resolve(moment());
    },
    dropMark: async (mark) => {
      const snapshot = marks.get(mark);
      if (snapshot !== undefined) machine.marks.drop(snapshot.frames);
      marks.delete(mark);
      return Promise.resolve();
    },
    restart: async () => {
      if (running) throw new Error('pause the machine before restarting it');
      marks.clear();
      const old = machine;
      machine = await start();
      old.disks.dispose();
    },
    stateHash: () => Promise.resolve(hashOf(machine)),

    registers: async (ref) => Promise.resolve(readRegisters(find(ref).cpu)),
    setRegister: async (ref, name, bytes) => {
      writeRegister(find(ref).cpu, name, bytes);
      return Promise.resolve();
    },
    readMemory: async (space, address, length) => {
      const { vcpu, domain } = place(space);
      return Promise.resolve(readMemory(machine.hypervisor, vcpu, domain, space.kind, address, length));
    },
    writeMemory: async (space, address, data) => {
      const { vcpu, domain } = place(space);
      return Promise.resolve(writeMemory(machine.hypervisor, vcpu, domain, space.kind, address, data));
    },
    walk: async (ref, address) => Promise.resolve(walk(machine.hypervisor, find(ref), address)),
    tableEntries: async (ref, path) => Promise.resolve(tableEntries(machine.hypervisor, find(ref), path)),
    frame: async (mfn) => Promise.resolve(frameInfo(machine.hypervisor, mfn)),

    hypercalls: () =>
      Promise.resolve(
        machine.hypervisor.hypercalls.map((d) => ({
          name: d.name,
          nr: d.nr,
          status: d.status,
          doc: d.doc,
          ops: d.ops.map(({ name, cmd, status }) => ({ name, cmd, status })),
          args: d.args.map((a) => a.name),
        })),
      ),
    currentHypercall: async (ref) => {
      const v = find(ref);
      const call = machine.hypervisor.currentCall(v);
      return Promise.resolve(call === undefined ? undefined : machine.hypervisor.view(v, call));
    },
    hypervisorState: async (ref) => Promise.resolve(machine.hypervisor.inspect(find(ref))),
    trace: (from, count) => {
      const { trace, hypervisor } = machine;
      const first = Math.max(from, trace.first());
      const next = Math.min(first + count, trace.next());
      const records = [];
      for (let seq = first; seq < next; seq++) records.push(trace.read(hypervisor, seq));
      return Promise.resolve({ first, next: Math.max(first, next), records });
    },
    traceSummary: () => Promise.resolve(machine.trace.summary()),

    consoleInput: async (domain, data, console = 0) => {
      if (!machine.hypervisor.domains.has(domain))
        throw new RangeError(`there is no domain ${domain.toString()}`);
      machine.input({ kind: 'console', domain, console, data });
      rouse();
      return Promise.resolve();
    },
    networkInput: async (input) => {
      machine.input({ kind: 'network', ...input });
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
