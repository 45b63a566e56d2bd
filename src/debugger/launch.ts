import type {
  DiskConfig,
  DomainConfig,
  ForwardConfig,
  GivenFile,
  MachineConfig,
  VifConfig,
} from '../machine/target';
import { END_ARGUMENTS, endActions, type EndArguments } from './end-actions';
import { parseDisk, parseVif, parseXlConfig, type XlDisk, type XlVif } from '../guest/xlcfg';

/**
 * What a launch says about a domain. What becomes of it when it ends (`onReboot` and so on) has xl's words, and xl's
 * defaults.
 */
export interface DomainArguments extends EndArguments {
  /** Without one, that of the configuration file, else the kernel's. */
  readonly name?: string;
  readonly kernel?: string;
  readonly ramdisk?: string;
  readonly cmdline?: string;
  /** "256M", "1G", or a number of MiB. */
  readonly memory?: string | number;
  readonly vcpus?: number;
  /** Path of an xl.cfg(5) file; what is given beside it wins. */
  readonly config?: string;
  /**
   * Disks as xl-disk-configuration(5) has them: "disk.img", "root.qcow2,qcow2,xvda,r". What the guest writes is
   * gone with the machine, unless `write-through` is among the words. The next free xvdX where no vdev is named.
   */
  readonly disks?: readonly string[];
  /** Names of the consoles that the domain has beside its first, after those of the configuration file. */
  readonly channels?: readonly string[];
  /**
   * Network interfaces as xl-network-configuration(5) has them: "", "bridge=lan,ip=10.0.2.20"; after those of the
   * configuration file.
   */
  readonly vifs?: readonly string[];
}

/** What a launch says about the machine; the command line has the same names. */
export interface MachineArguments extends Omit<DomainArguments, 'config' | 'name'> {
  /** As for one domain; several files are several domains. */
  readonly config?: string | readonly string[];
  /** Several domains in one machine, the first of which is number 1. What is about one domain stands here then. */
  readonly domains?: readonly DomainArguments[];
  /**
   * Path of a saved machine, which goes on from where it was instead of being built. Of the others only `ports` and
   * `kernel` may be given with it: where the kernel's symbols are, should it have moved.
   */
  readonly restore?: string;
  /**
   * Ports of this computer's loopback that lead into the guest: "8080:80", "127.0.0.1:8080:d1:80". A domain without an
   * interface gets one for it.
   */
  readonly ports?: readonly string[];
  /** What runs guest code: "interpret", or "compile", which compiles what is hot. The guest sees no difference. */
  readonly tier?: string;
  /** Hypercalls that are kept before the oldest go. Each takes some 100 bytes of the host's memory. */
  readonly traceRecords?: number;
  /** MiB that marks for going back may take; 0: none are kept. */
  readonly history?: number;
  /** Whether compressed kernels are kept unpacked on this computer's disk, for the next launch. They are by default. */
  readonly keepUnpacked?: boolean;
}

/** The one way to files: nothing else here opens any. */
export interface LaunchFiles {
  readFile(path: string): Promise<Uint8Array>;
  sampleGuest(): Promise<{ readonly name: string; readonly bytes: Uint8Array }>;
  /** As the path can be found again from elsewhere. */
  absolute(path: string): string;
  /**
   * What a saved machine's file says about itself. Kernels' contents, for their symbols, are there where they are
   * found and are what they were.
   * @param kernel where the first domain's kernel is, should it have moved
   */
  readSaved(path: string, kernel?: string): Promise<Launch>;
}

/** What was asked for cannot be launched; names the argument. */
export class LaunchError extends Error {
  constructor(
    readonly argument: string,
    readonly problem: string,
  ) {
    super(`${argument}: ${problem}`);
    this.name = 'LaunchError';
  }
}

export interface Launch {
  readonly machine: MachineConfig;
  /** From the configuration file: what has no effect here. */
  readonly warnings: readonly string[];
}

const MIB = 2 ** 20;
const DEFAULT_MEMORY = 256 * MIB;
/** Below this no page tables fit beside a kernel; a whole machine lives in one 32-bit WebAssembly memory. */
const memoryRange = { lowest: MIB, highest: 3584 * MIB };
/** MAX_VIRT_CPUS of the legacy shared_info (xen.h, XEN_LEGACY_MAX_VCPUS) is 32; more need registered vcpu_info. */
const MAX_VCPUS = 128;

const units: Readonly<Record<string, number>> = { '': MIB, k: 2 ** 10, m: MIB, g: 2 ** 30, t: 2 ** 40 };

/** @returns bytes. Throws a LaunchError for what is not a size or not a sensible one. */
export function parseMemory(value: string | number): number {
  const match = /^\s*(\d{1,15})\s*(?:([kmgt])(?:i?b)?)?\s*$/i.exec(String(value));
  const unit = units[(match?.[2] ?? '').toLowerCase()];
  if (match === null || unit === undefined) {
    throw new LaunchError('memory', `'${value}' is not a size such as "256M", "1G" or a number of MiB`);
  }
  const bytes = Number(match[1]) * unit;
  if (bytes < memoryRange.lowest || bytes > memoryRange.highest) {
    throw new LaunchError('memory', `'${value}' is outside of 1M to 3584M`);
  }
  return bytes;
}

const isAbsolute = (path: string): boolean => /^([/\\]|[A-Za-z]:[/\\]|[a-z][a-z0-9+.-]+:\/\/)/.test(path);
const folderOf = (path: string): string =>
  path.slice(0, Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1);
const baseName = (path: string): string => path.slice(folderOf(path).length);

async function read(files: LaunchFiles, argument: string, path: string): Promise<Uint8Array> {
  try {
    return await files.readFile(path);
  } catch (error) {
    throw new LaunchError(
      argument,
      `cannot read '${path}': ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

const givenFile = async (files: LaunchFiles, argument: string, path: string): Promise<GivenFile> => ({
  name: baseName(path),
  path: files.absolute(path),
  bytes: await read(files, argument, path),
});

function diskConfig(
  { target, format, vdev, writable, cdrom, writeThrough }: XlDisk,
  files: LaunchFiles,
): DiskConfig {
  if (format !== 'raw' && format !== 'qcow2')
    throw new LaunchError('disk', `${vdev}: images of format ${format} cannot be read; raw and qcow2 can`);
  const access = !writable ? 'read-only' : writeThrough === true ? 'write-through' : 'overlay';
  return {
    vdev,
    image: { name: target, path: target === '' ? '' : files.absolute(target) },
    format,
    access,
    cdrom,
  };
}

const vifConfig = ({ mac, bridge, ip }: XlVif): VifConfig => ({
  ...(mac === undefined ? {} : { mac }),
  ...(bridge === undefined ? {} : { bridge }),
  ...(ip === undefined ? {} : { ip }),
});

const MAX_PORT = 65_535;
const LOOPBACK = /^(127\.\d{1,3}\.\d{1,3}\.\d{1,3}|localhost|\[::1\])$/;

/** `[ADDRESS:]PORT:[dN:]PORT`, into domain `own` where it names none. Only this computer itself can get at a guest. */
function parseForward(text: string, own: number, domains: number): ForwardConfig {
  const [, host = '127.0.0.1', port = '', domain = `${own}`, guestPort = ''] =
    /^(?:([^:[\]]+|\[[^\]]*\]):)?(\d{1,5}):(?:d(\d{1,5}):)?(\d{1,5})$/.exec(text.trim()) ?? [];
  if (guestPort === '') {
    throw new LaunchError('ports', `'${text}' is not such as "8080:80" or "127.0.0.1:8080:d1:80"`);
  }
  if (!LOOPBACK.test(host)) {
    throw new LaunchError(
      'ports',
      `'${text}': ${host} is no loopback address; guests are for this computer only`,
    );
  }
  if (Number(port) > MAX_PORT || Number(guestPort) > MAX_PORT || Number(guestPort) === 0)
    throw new LaunchError('ports', `'${text}': ports go up to ${MAX_PORT}`);
  if (Number(domain) < 1 || Number(domain) > domains)
    throw new LaunchError('ports', `'${text}': there is no domain ${domain}`);
  return {
    host: host.replace(/^\[(.*)\]$/, '$1'),
    port: Number(port),
    domain: Number(domain),
    guestPort: Number(guestPort),
  };
}

/** Disks as arguments have them, after those of the configuration file. */
function parseDisks(
  given: readonly string[],
  before: readonly XlDisk[],
  warn: (message: string) => void,
): XlDisk[] {
  const disks: XlDisk[] = [...before];
  const free = (): string => {
    for (let letter = 0x61; letter < 0x7b; letter++) {
      const vdev = `xvd${String.fromCharCode(letter)}`;
      if (!disks.some((d) => d.vdev === vdev)) return vdev;
    }
    throw new LaunchError('disk', 'there are more disks without a name than xvda to xvdz');
  };
  given.forEach((text, i) => {
    disks.push(parseDisk({ kind: 'string', text, line: 1, column: 1 }, `disk ${i + 1}`, warn, free));
  });
  return disks;
}

/** Paths inside a configuration file are relative to it. */
async function readConfig(
  files: LaunchFiles,
  path: string,
): Promise<{
  args: DomainArguments;
  disks: XlDisk[];
  vifs: readonly XlVif[];
  channels: string[];
  name?: string;
  warnings: string[];
}> {
  const source = new TextDecoder().decode(await read(files, 'config', path));
  const xl = parseXlConfig(source, path);
  const beside = (other: string): string => (isAbsolute(other) ? other : folderOf(path) + other);
  if (xl.kernel === undefined) throw new LaunchError('config', `${path} sets no kernel`);
  return {
    args: {
      kernel: beside(xl.kernel),
      ...(xl.ramdisk === undefined ? {} : { ramdisk: beside(xl.ramdisk) }),
      ...(xl.cmdline === undefined ? {} : { cmdline: xl.cmdline }),
      ...(xl.memory === undefined ? {} : { memory: xl.memory }),
      ...(xl.vcpus === undefined ? {} : { vcpus: xl.vcpus }),
      ...Object.fromEntries(
        (Object.keys(END_ARGUMENTS) as (keyof EndArguments)[]).flatMap((name) => {
          const action = xl[name];
          return action === undefined ? [] : [[name, action]];
        }),
      ),
    },
    ...(xl.name === undefined ? {} : { name: xl.name }),
    vifs: xl.vifs,
    channels: xl.channels.map(({ name }) => name),
    disks: xl.disks.map((d) => ({ ...d, target: d.target === '' ? '' : beside(d.target) })),
    warnings: xl.warnings.map(({ line, column, message }) => `${path}:${line}:${column}: ${message}`),
  };
}

/** What a saved machine is, its file says alone. */
async function resolveSaved(path: string, given: MachineArguments, files: LaunchFiles): Promise<Launch> {
  const others = Object.entries(given).filter(
    ([name, value]) => value !== undefined && (BUILDING as readonly string[]).includes(name),
  );
  const [other] = others;
  if (other !== undefined)
    throw new LaunchError(other[0], `it cannot be given with restore: the machine is what '${path}' says`);
  const launch = await files.readSaved(path, given.kernel);
  const { domains } = launch.machine;
  const forwards = (given.ports ?? []).map((text) => parseForward(text, 1, Math.max(1, domains.length)));
  return forwards.length === 0 ? launch : { ...launch, machine: { ...launch.machine, forwards } };
}

/** Arguments by which a machine is built. */
const BUILDING = [
  'ramdisk', 'cmdline', 'memory', 'vcpus', 'config', 'disks', 'vifs', 'channels', 'domains',
] as const; // prettier-ignore
/** What is about one domain, and is not said of several at once. */
const OF_ONE_DOMAIN = [
  'kernel', 'ramdisk', 'cmdline', 'memory', 'vcpus', 'disks', 'vifs', 'channels', ...Object.keys(END_ARGUMENTS),
]; // prettier-ignore

const MAX_HISTORY = 16_384;

/**
 * Reads what the arguments name. With neither kernel nor config, the bundled sample.
 * @throws LaunchError, or the configuration file's ConfigError, naming the thing and the place
 */
export async function resolveLaunch(given: MachineArguments, files: LaunchFiles): Promise<Launch> {
  const { tier } = given;
  if (tier !== undefined && tier !== 'interpret' && tier !== 'compile')
    throw new LaunchError('tier', `there are interpret and compile, no '${tier}'`);
  const { traceRecords } = given;
  if (traceRecords !== undefined && !(Number.isInteger(traceRecords) && traceRecords > 0))
    throw new LaunchError('traceRecords', `${traceRecords} is not a whole number of at least 1`);
  const { history = 0 } = given;
  if (!(Number.isInteger(history) && history >= 0 && history <= MAX_HISTORY))
    throw new LaunchError('history', `${history} is not a whole number of MiB up to ${MAX_HISTORY}`);
  const { machine, ...launch } = await resolveMachine(given, files);
  const { keepUnpacked = true } = given;
  const domains = keepUnpacked
    ? machine.domains
    : machine.domains.map((d): DomainConfig => ({ ...d, kernel: { ...d.kernel, unkept: true } }));
  return {
    ...launch,
    machine: {
      ...machine,
      domains,
      ...(tier === undefined ? {} : { tier }),
      ...(traceRecords === undefined ? {} : { traceRecords }),
      ...(history === 0 ? {} : { history: { memory: history * MIB } }),
    },
  };
}

async function resolveMachine(given: MachineArguments, files: LaunchFiles): Promise<Launch> {
  if (given.restore !== undefined) return resolveSaved(given.restore, given, files);
  const wanted = domainsOf(given);
  const once = readingOnce(files);
  const resolved = await Promise.all(
    wanted.map((args, i) =>
      resolveDomain(args, once).catch((error: unknown) => {
        const isOneOfSeveral = given.domains !== undefined && error instanceof LaunchError;
        throw isOneOfSeveral ? new LaunchError(`domains[${i}].${error.argument}`, error.problem) : error;
      }),
    ),
  );
  const forwards = [
    ...resolved.flatMap(({ ports }, i) => ports.map((text) => parseForward(text, i + 1, wanted.length))),
    ...(given.ports ?? []).map((text) => parseForward(text, 1, wanted.length)),
  ];
  const domains = distinct(
    resolved.map(({ config }, i) =>
      forwards.some(({ domain }) => domain === i + 1) ? { ...config, vifs: config.vifs ?? [{}] } : config,
    ),
    wanted,
  );
  return {
    machine: { domains, ...(forwards.length === 0 ? {} : { forwards }) },
    warnings: [...new Set(resolved.flatMap(({ warnings }) => warnings))],
  };
}

function domainsOf(given: MachineArguments): readonly DomainArguments[] {
  const {
    domains,
    config,
    ports: _p,
    tier: _t,
    restore: _r,
    traceRecords: _n,
    history: _h,
    keepUnpacked: _k,
    ...one
  } = given;
  const files = typeof config === 'string' ? [config] : config;
  if (domains === undefined && (files?.length ?? 0) < 2) {
    const [file] = files ?? [];
    return [{ ...one, ...(file === undefined ? {} : { config: file }) }];
  }
  if (domains?.length === 0) throw new LaunchError('domains', 'a machine has at least one');
  if (domains !== undefined && files !== undefined)
    throw new LaunchError('config', 'beside domains it would be nobody’s; each of them may have its own');
  const astray = OF_ONE_DOMAIN.find((name) => one[name as keyof typeof one] !== undefined);
  if (astray !== undefined)
    throw new LaunchError(astray, 'of which domain? With several, it stands in an entry of domains');
  return domains ?? (files ?? []).map((file) => ({ config: file }));
}

/** What several domains are made of is read once, and is the same bytes for all of them. */
function readingOnce(files: LaunchFiles): LaunchFiles {
  const known = new Map<string, Promise<Uint8Array>>();
  let sample: ReturnType<LaunchFiles['sampleGuest']> | undefined;
  return {
    ...files,
    sampleGuest: () => (sample ??= files.sampleGuest()),
    readFile: (path) => {
      const place = files.absolute(path);
      const reading = known.get(place) ?? files.readFile(path);
      known.set(place, reading);
      return reading;
    },
  };
}

/** No two domains have one name: those that were not given one are numbered. */
function distinct(configs: readonly DomainConfig[], wanted: readonly DomainArguments[]): DomainConfig[] {
  const count = (name: string): number => configs.filter((one) => one.name === name).length;
  return configs.map((one, i) => {
    if (count(one.name) === 1) return one;
    if (wanted[i]?.name !== undefined) throw new LaunchError('domains', `two have the name '${one.name}'`);
    return { ...one, name: `${one.name}-${i + 1}` };
  });
}

interface ResolvedDomain {
  readonly config: DomainConfig;
  /** Those that its interfaces are given. */
  readonly ports: readonly string[];
  readonly warnings: readonly string[];
}

async function resolveDomain(given: DomainArguments, files: LaunchFiles): Promise<ResolvedDomain> {
  const fromFile = given.config === undefined ? undefined : await readConfig(files, given.config);
  const args: DomainArguments = { ...fromFile?.args, ...given };
  const vcpus = args.vcpus ?? 1;
  if (!Number.isInteger(vcpus) || vcpus < 1 || vcpus > MAX_VCPUS) {
    throw new LaunchError('vcpus', `${vcpus} is not a whole number from 1 to ${MAX_VCPUS}`);
  }
  const memory = args.memory === undefined ? DEFAULT_MEMORY : parseMemory(args.memory);
  const kernel =
    args.kernel === undefined ? await files.sampleGuest() : await givenFile(files, 'kernel', args.kernel);
  const warnings = [...(fromFile?.warnings ?? [])];
  const warn = (message: string): void => void warnings.push(message);
  const disks = parseDisks(args.disks ?? [], fromFile?.disks ?? [], warn);
  const channels = [...(fromFile?.channels ?? []), ...(args.channels ?? [])];
  const vifs = [
    ...(fromFile?.vifs ?? []),
    ...(args.vifs ?? []).map((text, i) =>
      parseVif({ kind: 'string', text, line: 1, column: 1 }, `vif ${i + 1}`, warn),
    ),
  ];
  const config: DomainConfig = {
    name: args.name ?? fromFile?.name ?? kernel.name.replace(/\.(elf|bin|gz|xz)$/, ''),
    kernel,
    cmdline: args.cmdline ?? '',
    memory,
    vcpus,
    ...(disks.length === 0 ? {} : { disks: disks.map((disk) => diskConfig(disk, files)) }),
    ...(vifs.length === 0 ? {} : { vifs: vifs.map(vifConfig) }),
    ...(channels.length === 0 ? {} : { channels }),
    ...endActions(args, warn, (argument, problem) => new LaunchError(argument, problem)),
    ...(args.ramdisk === undefined ? {} : { ramdisk: await givenFile(files, 'ramdisk', args.ramdisk) }),
  };
  return { config, ports: vifs.flatMap((vif) => vif.forwards ?? []), warnings };
}
