/** The hypervisor as the machine sees it: wiring only. */
import { PAGE_SIZE, type DomainId } from '../base/branded';
import { hex } from '../abi/decoded';
import { EXIT, type Exit } from '../cpu/exits';
import type { Vcpu } from '../cpu/types';
import { createBackendSide } from './backend-context';
import { newBackendState } from './backend-ports';
import { bounce } from './bounce';
import { buildDomain } from './builder/build';
import type { Core } from './core';
import { guestCpuid } from './cpuid';
import {
  afterCall, callNames, capturedReader, enterHypercall, perform, refusalOf, returnByRegisters, servedCall,
  viewCall,
} from './dispatch'; // prettier-ignore
import { crash, crashOf, destroy, shutdown } from './domain';
import { createFrameTable } from './frames';
import { HYPERCALLS } from './hypercalls/table';
import { inspectChannels, inspectGrants } from './inspect-domain';
import { grantAt, inspectVcpu, portAt } from './inspect';
import { dropLdtPagesOf } from './ldt';
import { createMachineMemory } from './memory';
import { createPageTypes } from './pagetypes';
import { forgetPhysical } from './physmap';
import { performPrivileged } from './privileged';
import { publishRunstate } from './runstate';
import { adoptDomains, restoreState, saveState } from './snapshot';
import type { Held, TrapEntry } from './state';
import { deadlineOf, expireTimers, nextDeadline } from './timers';
import { deliverFault, handleException, handleInterrupt, inject, TI_MASK_EVENTS, VECTOR } from './traps';
import type { Domain, GuestVcpu, Hypervisor, HypervisorOptions, Outcome } from './types';
import { setRunState, upcallMasked, upcallPending } from './vcpu';
import { createXenSlots } from './xenslots';

/** @param inside gets the inner parts, for tests that check invariants */
export function createHypervisor(options: HypervisorOptions, inside?: (core: Core) => void): Hypervisor {
  const core = createCore(options);
  inside?.(core);
  const backend = createBackendSide(core);

  /** A defect of ours ends the domain, never the adapter. */
  function guarded(v: GuestVcpu, what: string, act: (core: Core, v: GuestVcpu) => Outcome): Outcome {
    if (isDown(v)) return 'shutdown';
    let outcome: Outcome;
    try {
      outcome = act(core, v);
    } catch (error) {
      const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
      core.log.error(
        `defect of the hypervisor in ${what}: ${error instanceof Error ? (error.stack ?? text) : text}`,
      );
      crash(core, v.domain, `the hypervisor failed in ${what}: ${text}`);
      outcome = 'shutdown';
    }
    return isDown(v) ? 'shutdown' : outcome;
  }

  /** Back ends hear of a domain's end, and of its notifications, when the handler is through. */
  function leaving(v: GuestVcpu, what: string, act: (core: Core, v: GuestVcpu) => Outcome): Outcome {
    const alive = !isDown(v);
    const outcome = guarded(v, what, act);
    if (alive && isGone(v.domain)) backend.domainGone(v.domain);
    backend.drain();
    return outcome;
  }

  const resumptions: {
    readonly [K in Held['kind']]: (v: GuestVcpu, held: Extract<Held, { kind: K }>) => Outcome;
  } = {
    'hypercall-entry': (v, held) => perform(core, v, held.call),
    'hypercall-return': (v, held) => afterCall(core, v, held.call),
    fault: (v, held) => deliverFault(core, v, held.fault),
    privileged: (v) =>
      performPrivileged(core, v) ??
      inject(core, v, { vector: VECTOR.GP, error: 0, address: undefined, software: false }),
    upcall: (v) => upcall(v),
  };

  function upcall(v: GuestVcpu): Outcome {
    core.trace?.trap(v, 'event-upcall');
    const { event } = v.state;
    return bounce(core, v, 'an event upcall', event) ? 'run' : 'shutdown';
  }

  function deliverNmi(v: GuestVcpu, { address, flags }: TrapEntry): boolean {
    v.state.nmiPending = false;
    v.state.nmiMasked = true;
    core.trace?.trap(v, 'nmi');
    return bounce(core, v, 'an NMI', { address, maskEvents: (flags & TI_MASK_EVENTS) !== 0 });
  }

  function deliver(_core: Core, v: GuestVcpu): Outcome {
    const { state } = v;
    if (state.held !== undefined) return 'hold';
    if (!state.online || state.run === 'blocked' || state.run === 'offline') return 'deschedule';
    const nmi = state.traps[VECTOR.NMI];
    if (state.nmiPending && !state.nmiMasked && nmi !== undefined && nmi.address !== 0n) {
      if (!deliverNmi(v, nmi)) return 'shutdown';
    }
    if (!upcallPending(core, v) || upcallMasked(core, v)) return 'run';
    if (core.observer.upcall?.(v) === true) {
      state.held = { kind: 'upcall' };
      return 'hold';
    }
    return upcall(v);
  }

  return {
    domains: core.domains,
    frames: core.frames,
    memory: core.memory,
    hypercalls: HYPERCALLS,
    backend: backend.context,
    drainBackend: () => backend.drain(),
    buildDomain: (build, kernel) => {
      const domain = buildDomain(core, build, kernel);
      backend.domainMade(domain);
      return domain;
    },
    handleExit: (v, exit) => {
      const handler = EXITS[exit];
      if (handler === undefined) return 'foreign';
      return leaving(v, 'an exit', handler);
    },
    resume: (v) => {
      const { held } = v.state;
      if (held === undefined) return 'run';
      v.state.held = undefined;
      const act = resumptions[held.kind] as (v: GuestVcpu, held: Held) => Outcome;
      return leaving(v, 'going on from a stop', () => act(v, held));
    },
    deliverPending: (v) => guarded(v, 'delivering events', deliver),
    scheduled: (v, running) => {
      if (v.domain.state.shutdown !== undefined) return;
      if (running && v.state.run === 'runnable') {
        v.state.yielded = false;
        setRunState(core, v, 'running');
        publishRunstate(core, v);
      } else if (!running && v.state.run === 'running') {
        setRunState(core, v, 'runnable');
      }
    },
    nextDeadline: (only) => {
      const guests = only === undefined ? nextDeadline(core) : deadlineOf(only);
      const backends = backend.nextDeadline();
      return guests === undefined || (backends !== undefined && backends < guests) ? backends : guests;
    },
    expireTimers: () => {
      const alive = [...core.domains.values()].filter((d) => d.state.shutdown === undefined);
      expireTimers(core);
      backend.expireTimers();
      // A watchdog ends a domain while none of its vCPUs runs.
      for (const domain of alive) if (isGone(domain)) backend.domainGone(domain);
    },
    cpuid: (cpu, leaf, subleaf) => {
      const v = vcpuFor(core, cpu);
      return v === undefined ? options.cpuid(leaf, subleaf) : guestCpuid(core, leaf, subleaf);
    },
    tsc: () => core.now(),
    view: (v, call) => {
      const captured = capturedReader(call.captured);
      return viewCall(
        call,
        (address, length) => captured(address, length) ?? liveReader(core, v, address, length),
      );
    },
    namesOf: (v, call) => {
      const captured = capturedReader(call.captured);
      return callNames(
        call,
        (address, length) => captured(address, length) ?? liveReader(core, v, address, length),
      );
    },
    servedCall,
    failureOf: (v) => (v.domain.state.shutdown === 'crash' ? crashOf(v.domain) : refusalOf(v)),
    currentCall: (v) => {
      const { held } = v.state;
      return held?.kind === 'hypercall-entry' || held?.kind === 'hypercall-return' ? held.call : undefined;
    },
    inspect: (v) => inspectVcpu(core, v),
    channels: (domain) => inspectChannels(core, domain),
    grants: (domain) => inspectGrants(core, domain),
    portAt: (domain, port) => portAt(core, domain, port),
    grantAt: (domain, ref) => grantAt(core, domain, ref),
    crash: (domain, text) => {
      crash(core, domain, text);
      backend.domainGone(domain);
    },
    destroy: (domain) => {
      const alive = domain.state.shutdown === undefined;
      if (alive) shutdown(core, domain, 'poweroff', 'destroyed');
      if (alive) backend.domainGone(domain);
      destroy(core, domain);
    },
    save: () => saveState(core),
    restore: (snapshot) => restoreState(core, snapshot),
    adopt: (snapshot) => adoptDomains(core, snapshot),
  };
}

/** Its end; a suspended one keeps its back ends. */
const isGone = ({ state }: Domain): boolean => state.shutdown !== undefined && state.shutdown !== 'suspend';
const isDown = (v: GuestVcpu): boolean => v.domain.state.shutdown !== undefined;

const vcpuFor = (core: Core, cpu: Vcpu): GuestVcpu | undefined => {
  for (const domain of core.domains.values()) {
    const found = domain.vcpus.find((v) => v.cpu === cpu);
    if (found !== undefined) return found;
  }
  return undefined;
};

/**
 * What the captured part of a call lacks is read as it is now, when the vCPU is at hand; without setting accessed
 * bits, since this is for people who look, and a guest must not run differently for being looked at.
 */
function liveReader(
  core: Core,
  v: GuestVcpu | undefined,
  address: bigint,
  length: number,
): Uint8Array | undefined {
  if (v === undefined) return undefined;
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length;) {
    const t = v.cpu.translate(BigInt.asUintN(64, address + BigInt(done)), 'read', 3);
    const mfn = t.ok ? Math.floor(t.machineAddress / PAGE_SIZE) : core.frames.count;
    if (!t.ok || mfn >= core.frames.count) return undefined;
    const offset = t.machineAddress % PAGE_SIZE;
    const n = Math.min(length - done, PAGE_SIZE - offset);
    bytes.set(core.memory.bytes(mfn).subarray(offset, offset + n), done);
    done += n;
  }
  return bytes;
}

/** EFLAGS.DF as a number. */
const DF = 1 << 10;

function systemCall(core: Core, v: GuestVcpu): Outcome {
  if (v.state.kernelMode) return enterHypercall(core, v);
  const { cpu, state } = v;
  returnByRegisters(v);
  core.trace?.trap(v, 'syscall');
  if (!bounce(core, v, 'a system call', state.syscall)) return 'shutdown';
  cpu.flags &= ~DF;
  return 'run';
}

/** The processor met something that it declares and does not do: the guest cannot go on. */
function processorGap(core: Core, v: GuestVcpu): Outcome {
  const rip = hex(v.cpu.get('rip'));
  crash(core, v.domain, `vCPU ${v.id} at rip ${rip}: the processor does not implement this instruction`);
  return 'shutdown';
}

const EXITS: Readonly<Partial<Record<Exit, (core: Core, v: GuestVcpu) => Outcome>>> = {
  [EXIT.SYSCALL]: systemCall,
  [EXIT.EXCEPTION]: handleException,
  [EXIT.INT]: handleInterrupt,
  [EXIT.UNIMPLEMENTED]: processorGap,
};

function createCore(options: HypervisorOptions): Core {
  const { cpu, clock, log } = options;
  const memory = createMachineMemory(cpu);
  const domains = new Map<number, Domain>();
  const warned = new Set<string>();
  const work = { spent: 0 };
  const freed = (mfn: number, owner: DomainId): void => {
    // Nobody may reach the frame through an old translation once it is someone else's.
    cpu.flushAllTlbs();
    const domain = domains.get(owner);
    if (domain === undefined) return;
    domain.state.totalPages--;
    forgetPhysical(core, domain, mfn);
  };
  const frames = createFrameTable(memory, freed, options.frameTable);
  const slots = createXenSlots(memory, frames);
  const types = createPageTypes(memory, frames, {
    fillXenSlots: (l4, domain) => slots.fill(l4, domain),
    flush: () => cpu.flushAllTlbs(),
    spend: (units) => {
      work.spent += units;
    },
    descriptorPageUnmapped: (_mfn, domain) => dropLdtPagesOf(core, domain),
  });
  const core: Core = {
    cpu,
    memory,
    frames,
    types,
    slots,
    domains,
    backend: newBackendState(),
    options,
    log,
    observer: options.observer ?? {},
    trace: options.trace,
    now: () => clock.now(),
    work,
    warnOnce: (text) => {
      if (warned.has(text)) return;
      warned.add(text);
      log.warn(text);
    },
  };
  return core;
}
