/** A hypervisor with small domains on a fake processor, and a way to make hypercalls as their kernels would. */
import { createLog } from '../../src/base/log';
import type { Core } from '../../src/hypervisor/core';
import type { DomainBuild, KernelInput } from '../../src/hypervisor/builder/input';
import { machineFramesFor } from '../../src/hypervisor/builder/sizing';
import { createHypervisor } from '../../src/hypervisor/hypervisor';
import { HYPERCALLS } from '../../src/hypervisor/hypercalls/table';
import type { Observer } from '../../src/hypervisor/observer';
import type { Call } from '../../src/hypervisor/state';
import type { Domain, GuestVcpu, Hypervisor, Outcome } from '../../src/hypervisor/types';
import { EXIT } from '../../src/cpu/exits';
import type { Type } from '../../src/abi/layout';
import { fakeCpu, type FakeCpu } from './fake-cpu';

export const VIRT_BASE = 0xffff_ffff_8000_0000n;
/** Text, then data that the tests use for their arguments. */
export const IMAGE_PAGES = 16;
export const SCRATCH = VIRT_BASE + 0x8000n;

export const tinyKernel = (layout: Partial<KernelInput['layout']> = {}): KernelInput => ({
  name: 'tiny',
  segments: [
    {
      virtual: VIRT_BASE,
      pseudoPhysical: 0n,
      data: new Uint8Array(64).fill(0x90),
      memsz: IMAGE_PAGES * 4096,
    },
  ],
  layout: {
    virtBase: VIRT_BASE,
    virtKstart: VIRT_BASE,
    virtKend: VIRT_BASE + BigInt(IMAGE_PAGES * 4096),
    virtEntry: VIRT_BASE,
    ...layout,
  },
  notes: {},
});

export interface Answer {
  /** Signed. */
  readonly result: bigint;
  readonly errno: string | undefined;
  readonly reason: string | undefined;
  readonly outcome: Outcome;
}

export interface TestMachine {
  readonly cpu: FakeCpu;
  readonly hv: Hypervisor;
  readonly core: Core;
  readonly domain: Domain;
  readonly v: GuestVcpu;
  readonly calls: Call[];
  readonly traps: string[];
  readonly log: string[];
  now: bigint;
  build(build?: Partial<DomainBuild>, kernel?: KernelInput): Domain;
  call(name: string, ...args: (bigint | number)[]): Answer;
  callOn(v: GuestVcpu, name: string, ...args: (bigint | number)[]): Answer;
  /** Writes a value to guest memory and gives its address. */
  put<T>(type: Type<T>, value: T, at?: bigint): bigint;
  fetch<T>(type: Type<T>, at: bigint): T;
  /** Machine frame behind a guest-virtual address. */
  frameOf(va: bigint): number;
}

export const DEFAULT_MEMORY = 4 * 2 ** 20;

export function testMachine(
  options: {
    readonly observer?: Observer;
    readonly memory?: number;
    readonly domains?: number;
    readonly vcpus?: number;
    readonly kernel?: KernelInput;
    readonly ramdisk?: Uint8Array;
    /** Instead of the fake one. */
    readonly processor?: (frames: number, vcpus: number) => FakeCpu;
  } = {},
): TestMachine {
  const memory = options.memory ?? DEFAULT_MEMORY;
  const count = options.domains ?? 1;
  const vcpus = options.vcpus ?? 1;
  const cpu = (options.processor ?? fakeCpu)(
    machineFramesFor(Array.from({ length: Math.max(count, 1) }, () => memory)),
    Math.max(count, 1) * vcpus,
  );
  const calls: Call[] = [];
  const traps: string[] = [];
  const log: string[] = [];
  const cores: Core[] = [];
  const hv = createHypervisor(
    {
      cpu,
      clock: { now: () => machine.now },
      cpuid: (leaf, subleaf) => ({ eax: leaf, ebx: subleaf, ecx: 0, edx: 0xffff_ffff }),
      log: createLog((level, _source, text) => log.push(`${level}: ${text}`), 'xen', 'debug'),
      ...(options.observer === undefined ? {} : { observer: options.observer }),
      trace: {
        hypercall: (_v, call) => calls.push({ ...call }),
        trap: (_v, name) => traps.push(name),
      },
    },
    (core) => cores.push(core),
  );
  const [core] = cores;
  if (core === undefined) throw new Error('the hypervisor has no core');

  function callOn(v: GuestVcpu, name: string, ...args: (bigint | number)[]): Answer {
    const nr = HYPERCALLS.find((d) => d.name === name)?.nr;
    if (nr === undefined) throw new Error(`no hypercall ${name}`);
    return raw(v, nr, args);
  }
  function raw(v: GuestVcpu, nr: number, args: readonly (bigint | number)[]): Answer {
    const registers = ['rdi', 'rsi', 'rdx', 'r10', 'r8', 'r9'] as const;
    if (v.state.run === 'runnable') hv.scheduled(v, true);
    v.cpu.set('rax', BigInt(nr));
    registers.forEach((r, i) => v.cpu.set(r, BigInt(args[i] ?? 0)));
    const outcome = hv.handleExit(v, EXIT.SYSCALL);
    const last = calls[calls.length - 1];
    return { result: BigInt.asIntN(64, v.cpu.get('rax')), errno: last?.errno, reason: last?.reason, outcome };
  }

  const machine: TestMachine = {
    cpu,
    hv,
    core,
    calls,
    traps,
    log,
    now: 1000n,
    get domain() {
      const [first] = hv.domains.values();
      if (first === undefined) throw new Error('no domain');
      return first;
    },
    get v() {
      const [first] = machine.domain.vcpus;
      if (first === undefined) throw new Error('no vCPU');
      return first;
    },
    build: (build = {}, kernel = options.kernel ?? tinyKernel()) => {
      const domain = hv.buildDomain({ name: 'test', cmdline: '', memory, vcpus, ...build }, kernel);
      for (const v of domain.vcpus) if (v.state.online) hv.scheduled(v, true);
      return domain;
    },
    call: (name, ...args) => callOn(machine.v, name, ...args),
    callOn,
    put: (type, value, at = SCRATCH) => {
      const bytes = new Uint8Array(type.size);
      type.write(new DataView(bytes.buffer), 0, value);
      const done = machine.v.cpu.writeLinear(at, bytes, 3);
      if (done < bytes.length) throw new Error(`0x${at.toString(16)} cannot be written`);
      return at;
    },
    fetch: (type, at) => {
      const bytes = new Uint8Array(type.size);
      if (machine.v.cpu.readLinear(at, bytes, 3) < bytes.length)
        throw new Error(`0x${at.toString(16)} cannot be read`);
      return type.read(new DataView(bytes.buffer), 0);
    },
    frameOf: (va) => {
      const t = machine.v.cpu.translate(va, 'read', 0);
      if (!t.ok) throw new Error(`0x${va.toString(16)} is not mapped`);
      return Math.floor(t.machineAddress / 4096);
    },
  };
  const extra = options.ramdisk === undefined ? {} : { ramdisk: options.ramdisk };
  for (let i = 0; i < count; i++) machine.build(extra);
  return machine;
}
