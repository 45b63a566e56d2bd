import { createLog } from '../base/log';
import { createCpu, type CpuOptions, type Tier } from '../cpu/cpu';
import { createMemory, type MachineMemory } from '../cpu/memory';
import { processorCpuid } from '../cpu/processor';
import { offsetOf } from '../cpu/state';
import { createDevices, rebootedDevices, type DeviceOptions, type Disk } from '../devices/index';
import { NotArriving, waitForAll } from '../guest/arriving';
import { readImage, unpackImage, type KernelImage, type UnpackedImage } from '../guest/image';
import { machineFramesFor } from '../hypervisor/builder/sizing';
import { frameTableSize } from '../hypervisor/frames';
import { createHypervisor } from '../hypervisor/hypervisor';
import type { Hypervisor } from '../hypervisor/types';
import { createClock } from './clock';
import { openDisks, type BlockFile, type ImageMark, type OpenFile } from './disks';
import { createMachine, type Machine } from './machine';
import { createMarks } from './marks';
import { SavedFileError, type Compression } from './saved/container';
import type { SavedDomain } from './saved/contents';
import { openSaved } from './saved/load';
import { configsOf, originOf, withFiles } from './saved/origin';
import { createFastPath } from './fastpath/index';
import { JOURNAL_SIZE } from './fastpath/entries';
import { createGates } from './gates';
import { callName } from './format';
import { createStops, stateAt } from './stops';
import { createDataWatches } from './data-watches';
import { createTlbs } from './tlbs';
import { asGiven } from './config';
import type { DomainConfig, KernelFile, MachineConfig } from './target';
import { namingOf, type NamedBy } from './tallies';
import { createTrace, TRACE_RECORD_SIZE } from './trace';

export interface AssembleOptions {
  /** dist/interpret.wasm, compiled. */
  readonly interpreter: WebAssembly.Module;
  readonly log: (text: string) => void;
  readonly tier?: Tier;
  /** For measurements of the region compiler. */
  readonly compile?: CpuOptions['compile'];
  /** Hypercalls that the trace keeps before it overwrites the oldest. */
  readonly traceRecords?: number;
  /** Whether the most frequent exits are seen to in place (fastpath/): as they are by default. For tests, and to measure. */
  readonly fastPath?: boolean;
  /** For disks whose images are files. */
  readonly openFile?: OpenFile;
  /** For machines that go on from a file. */
  readonly saved?: Compression;
  /** What the host has of a kernel that is needed again, when a domain reboots. */
  readonly unpacked?: (kernel: KernelFile) => Promise<UnpackedImage | undefined>;
}

/** The whole Linux boot is the same in both tiers (scripts/tiers.ts). */
const DEFAULT_TIER = 'compile';
const DEFAULT_TRACE_RECORDS = 65_536;

/** The sum of the vCPUs' instruction counts. Asked several times an exit, so straight from their states. */
function retiredOf({ u64, layout }: MachineMemory): () => bigint {
  const counts = layout.vcpus.map(
    (address) => (address + offsetOf('icount')) / BigUint64Array.BYTES_PER_ELEMENT,
  );
  const [only = 0] = counts;
  if (counts.length === 1) return () => u64[only] ?? 0n;
  return () => counts.reduce((sum, at) => sum + (u64[at] ?? 0n), 0n);
}

/** The same as a number, of the halves. */
function countOf({ u32, layout }: MachineMemory): () => number {
  const halves = layout.vcpus.map(
    (address) => (address + offsetOf('icount')) / Uint32Array.BYTES_PER_ELEMENT,
  );
  return () => {
    let sum = 0;
    for (let i = 0; i < halves.length; i++) {
      const at = halves[i] ?? 0;
      sum += (u32[at + 1] ?? 0) * 2 ** 32 + (u32[at] ?? 0);
    }
    return sum;
  };
}

/**
 * Builds the machine that `config` describes, its domains at their first instruction, or as it was saved.
 * @throws ImageError, BuildError, SavedFileError or RangeError, naming what cannot be had and why
 */
export async function assembleMachine(config: MachineConfig, given: AssembleOptions): Promise<Machine> {
  const options: AssembleOptions = { tier: config.tier ?? DEFAULT_TIER, ...given };
  if (config.saved !== undefined) return restoreMachine(config.saved.path, options);
  try {
    return await build(config, options);
  } catch (error) {
    // Whatever was wrong may come from bytes that had not been checked yet: who unpacks the file here finds out.
    if (!config.domains.some(hasFailed)) throw error;
    return build({ ...config, domains: config.domains.map(asGiven) }, options);
  }
}

async function build(config: MachineConfig, options: AssembleOptions): Promise<Machine> {
  const kernels = await unpackedOf(config.domains);
  // What is there can be refused before anything is made of it.
  const read = kernels.map((k) =>
    k.unpacked.progress === undefined ? readImage(k.unpacked, k.name) : undefined,
  );
  const size = {
    frames: machineFramesFor(config.domains.map((d) => d.memory)),
    processors: config.domains.reduce((sum, d) => sum + d.vcpus, 0),
  };
  const domains = config.domains.map(asGiven);
  const machine = emptyMachine(domains, size, options, [], ({ hypervisor }, next) => {
    const images = kernels.map(({ unpacked, name }, i) => read[i] ?? readImage(unpacked, name));
    buildDomains(hypervisor, domains, images, next);
  });
  for (const { unpacked } of kernels)
    if (unpacked.progress !== undefined) waitForAll({ progress: unpacked.progress });
  return machine;
}

interface UnpackedKernel {
  readonly name: string;
  readonly unpacked: UnpackedImage;
}

const unpackedOf = (domains: readonly DomainConfig[]): Promise<UnpackedKernel[]> =>
  Promise.all(
    domains.map(async ({ kernel: { name, bytes, unpacked } }) => ({
      name,
      unpacked: unpacked ?? (await unpackImage(bytes, name)),
    })),
  );

const imagesOf = async (domains: readonly DomainConfig[]): Promise<KernelImage[]> =>
  (await unpackedOf(domains)).map(({ name, unpacked }) => readImage(unpacked, name));

/** Its kernel was on its way and did not arrive as it should. */
function hasFailed({ kernel: { unpacked } }: DomainConfig): boolean {
  if (unpacked?.progress === undefined) return false;
  try {
    waitForAll({ progress: unpacked.progress });
    return false;
  } catch (error) {
    if (error instanceof NotArriving) return true;
    throw error;
  }
}

/** @param next is told which domain's back ends begin next */
function buildDomains(
  hypervisor: Hypervisor,
  domains: readonly DomainConfig[],
  images: readonly KernelImage[],
  next: (domain: number) => void,
): void {
  domains.forEach((d, i) => {
    const image = images[i];
    if (image === undefined) throw new Error('an image for each domain');
    next(i);
    hypervisor.buildDomain(
      {
        name: d.name,
        cmdline: d.cmdline,
        memory: d.memory,
        vcpus: d.vcpus,
        ...(d.ramdisk === undefined ? {} : { ramdisk: d.ramdisk.bytes }),
      },
      image,
    );
  });
  hypervisor.drainBackend();
}

/** The machine of a file. Nothing of it was ever used when this throws. */
function restoreMachine(path: string, options: AssembleOptions): Machine {
  const { saved, openFile } = options;
  if (saved === undefined || openFile === undefined) throw new Error('there are no files here');
  const source = openNamed(openFile, path);
  try {
    const file = openSaved(source, path, saved);
    const { about } = file;
    return emptyMachine(configsOf(about, file.images()), about, options, about.domains, (machine, next) => {
      file.load(machine, next);
    });
  } finally {
    source.close();
  }
}

function openNamed(openFile: OpenFile, path: string): BlockFile {
  try {
    return openFile(path, false);
  } catch (error) {
    throw new SavedFileError(`${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/**
 * @param known what a file says of the domains; none for a machine that is built
 * @param populate makes the domains; it calls `next` before the one whose disks are then opened
 */
function emptyMachine(
  domains: readonly DomainConfig[],
  size: { readonly frames: number; readonly processors: number },
  options: AssembleOptions,
  known: readonly SavedDomain[],
  populate: (machine: Machine, next: (domain: number) => void) => void,
): Machine {
  const ringSize = (options.traceRecords ?? DEFAULT_TRACE_RECORDS) * TRACE_RECORD_SIZE;
  const memory = createMemory({
    frames: size.frames,
    vcpus: size.processors,
    reserve: ringSize + frameTableSize(size.frames) + JOURNAL_SIZE,
  });

  const log = createLog((level, source, message) => {
    options.log(level === 'info' ? `(${source}) ${message}` : `(${source}) ${level}: ${message}`);
  }, 'machine');
  // The parts know each other through these two: nothing runs before all of them exist.
  const late = <T>(what: string): { value: T | undefined; get(): T } => ({
    value: undefined,
    get() {
      if (this.value === undefined) throw new Error(`${what} is used before it exists`);
      return this.value;
    },
  });
  const hv = late<Hypervisor>('the hypervisor');
  const gates = createGates((text) => log.warn(text));
  const stops = createStops(() => hv.get(), gates);
  const tlbs = createTlbs(memory);
  const watches = createDataWatches({
    memory,
    gates,
    hypervisor: () => hv.get(),
    follow: () => {
      tlbs.follow();
    },
    calls: () => trace.next(),
    callAt: (number) => callName(trace.read(hv.get(), number).call),
    stateAt: (vcpu, own) => stateAt(hv.get(), vcpu, own),
  });

  const cpu = createCpu({
    memory,
    interpreter: options.interpreter,
    tier: options.tier ?? DEFAULT_TIER,
    ...(options.compile === undefined ? {} : { compile: options.compile }),
    hooks: {
      cpuid: (vcpu, leaf, subleaf) => hv.get().cpuid(vcpu, leaf, subleaf),
      tsc: (vcpu) => hv.get().tsc(vcpu),
      tscBase: (vcpu, into, at) => {
        clock.base(vcpu.icount(), into, at);
      },
      cow: (mfn) => {
        marks.beforeStore(mfn);
      },
      watch: (_vcpu, machineAddress, _linear, size, write) => watches.accessed(machineAddress, size, write),
      stored: (mfn, offset, length) => {
        watches.stored(mfn, offset, length);
      },
    },
  });
  const marks = createMarks(memory, (mfn) => {
    cpu.beforeStore(mfn);
  });
  const clock = createClock(retiredOf(memory), countOf(memory));
  const { reserve } = memory.layout;
  const ring = memory.bytes.subarray(reserve, reserve + ringSize);
  let naming: ((nr: number) => NamedBy) | undefined;
  const trace = createTrace(
    ring,
    clock,
    (vcpu, call) => hv.get().namesOf(vcpu, call),
    (nr) => (naming ??= namingOf(hv.get().hypercalls))(nr),
  );
  const hypervisor = createHypervisor({
    cpu,
    clock,
    cpuid: processorCpuid,
    log: log.child('xen'),
    observer: stops.observer,
    trace,
    frameTable: { buffer: memory.memory.buffer, at: reserve + ringSize },
  });
  hv.value = hypervisor;
  const disks = openDisks(options.openFile, log.child('disks'));
  const opened: (readonly Disk[])[] = [];
  const optionsAt = (domain: () => number): DeviceOptions => ({
    disks: () => {
      const i = domain();
      return (opened[i] ??= disks.open(i, domains[i]?.disks ?? [], marksOf(known[i])));
    },
    vifs: () => domains[domain()]?.vifs ?? [],
    channels: () => domains[domain()]?.channels ?? [],
  });
  let next = 0;
  hypervisor.backend.observer = stops.backends;
  const devices = createDevices(
    hypervisor.backend,
    log.child('devices'),
    optionsAt(() => next),
  );

  /** With its kernel unpacked, where the host has that. */
  const atHand = async (domain: DomainConfig): Promise<DomainConfig> => {
    const unpacked = await options.unpacked?.(domain.kernel);
    return unpacked === undefined ? domain : { ...domain, kernel: { ...domain.kernel, unpacked } };
  };

  const blank = cpu.vcpus.map((v) => v.saveState());
  /**
   * The same again in the same memory, by a hypervisor and back ends that live only for that: what they end up
   * with is what those that everybody holds are given to go on with.
   */
  const rebuild = async (): Promise<void> => {
    const complete = domains.map((d, i) => withFiles(d, known[i], options.openFile));
    const images = await imagesOf(await Promise.all(complete.map(atHand)));
    for (let mfn = 0; mfn < memory.frameCount; mfn++) clear(hypervisor, mfn);
    cpu.vcpus.forEach((v, i) => {
      const icount = v.get('icount');
      const state = blank[i];
      if (state !== undefined) v.restoreState(state);
      v.set('icount', icount);
    });
    const silent = createLog(() => undefined, 'reboot');
    const fresh = createHypervisor({ cpu, clock, cpuid: processorCpuid, log: silent });
    let now = 0;
    const itsDevices = createDevices(
      fresh.backend,
      silent,
      optionsAt(() => now),
    );
    buildDomains(fresh, complete, images, (domain) => (now = domain));
    hypervisor.restore(fresh.save());
    devices.restore(rebootedDevices(itsDevices.save(), devices.save()));
  };

  const machine = createMachine({
    cpu,
    hypervisor,
    devices,
    disks,
    clock,
    marks,
    tlbs,
    trace,
    stops,
    watches,
    fastPath:
      options.fastPath === false
        ? undefined
        : createFastPath({
            ...{ cpu, hypervisor, clock, trace, stops, watches },
            journal: reserve + ringSize + frameTableSize(size.frames),
          }),
    setStops: (points) => {
      gates.set(points);
      stops.set(points);
      watches.set(points.filter((p) => p.kind === 'data'));
    },
    quiet: () => {
      stops.set([]);
      watches.set([]);
    },
    log,
    origin: originOf(domains, disks, known),
    rebuild,
  });
  try {
    populate(machine, (domain) => (next = domain));
  } catch (error) {
    disks.dispose();
    throw error;
  }
  return machine;
}

const marksOf = (domain: SavedDomain | undefined): ReadonlyMap<string, ImageMark> =>
  new Map(
    (domain?.disks ?? []).flatMap(({ vdev, image }) =>
      image.mark === undefined ? [] : [[vdev, image.mark]],
    ),
  );

/** Zeroes a frame; one that is zero already is no store, which would make a mark keep its contents. */
function clear({ memory }: Hypervisor, mfn: number): void {
  const page = memory.bytes(mfn);
  const words = new Uint32Array(page.buffer, page.byteOffset, page.length / 4);
  if (words.some((word) => word !== 0)) memory.zero(mfn);
}
