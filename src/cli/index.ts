import { open } from 'node:fs/promises';
import type { Host } from '../dap/host';
import { serveDap } from '../dap/server';
import { LaunchError, resolveLaunch, type LaunchFiles, type MachineArguments } from '../debugger/launch';
import { formatSummary } from '../machine/format';
import type { MachineConfig, Target } from '../machine/target';
import { namedTrace } from '../debugger/named-trace';
import {
  STATUS,
  UsageError,
  parseCommandLine,
  parseCount,
  usage,
  type CommandLine,
  type OptionName,
  type Status,
} from './arguments';
import { demo } from './demo';
import { outputOf } from './output';
import { drainNdjson, drainText } from './records';
import { parseRequest } from './ask';
import { recordsCommand, type OpenTrace } from './trace-file';
import { inspectionText, resumeSuspended, saverOf, type SavedInspection } from './saved';
import { runToEnd, type RunLimits, type RunSummary } from './run';
import { openTerminal } from './terminal';

/** What the entry file wires in. */
export interface CliHost extends LaunchFiles {
  readonly version: string;
  createTarget(config: MachineConfig, paced: boolean): Promise<Target>;
  /** Reads a saved machine's file, all of it, and says what is in it. Rejects with a SavedFileError. */
  inspectSaved(path: string): Promise<SavedInspection>;
  /** Throws in words for people when there is no such file. */
  readonly openTrace: OpenTrace;
  /** The adapter's host, for serving it. */
  dapHost(): Host;
}

/** Runs one command line; resolves with the exit status. */
export async function main(argv: readonly string[], host: CliHost): Promise<Status> {
  const out = outputOf(process.stdout);
  outputOf(process.stderr);
  try {
    const line = parseCommandLine(argv);
    if (line === 'help') await out.write(`${usage()}\n`);
    else if (line === 'version') await out.write(`${host.version}\n`);
    else return await COMMAND[line.command as keyof typeof COMMAND](line, host);
    return STATUS.OK;
  } catch (e) {
    process.stderr.write(`hyperstep: ${e instanceof Error ? e.message : String(e)}\n`);
    if (e instanceof UsageError) return STATUS.USAGE;
    if (e instanceof Error && USAGE_ERRORS.has(e.name)) return STATUS.USAGE;
    if (e instanceof Error && REFUSED_BOOT.has(e.name)) return STATUS.GUEST;
    throw e;
  }
}

/** Bad input: what was asked for cannot be read or makes no sense. */
const USAGE_ERRORS: ReadonlySet<string> = new Set([
  'LaunchError',
  'ServeError',
  'ConfigError',
  'ImageError',
  'SavedFileError',
  'RecordError',
]);
/** The image is what it claims to be, and still no domain can be made of it. */
const REFUSED_BOOT: ReadonlySet<string> = new Set(['BuildError']);

const COMMAND = {
  run: (line: CommandLine, host: CliHost) => machineCommand(line, host, 'console'),
  trace: (line: CommandLine, host: CliHost) => machineCommand(line, host, 'trace'),
  dap: async (line: CommandLine, host: CliHost): Promise<Status> => {
    const port = text(line, 'port');
    const pipe = text(line, 'pipe');
    if (port !== undefined && pipe !== undefined) throw new UsageError('dap: --port or --pipe, not both');
    await serveDap(host.dapHost(), {
      ...(port === undefined ? {} : { port: parseCount(port, '--port', 0) }),
      ...(pipe === undefined ? {} : { pipe }),
    });
    return STATUS.OK;
  },
  records: (line: CommandLine, host: CliHost) => recordsCommand(line, host),
  inspect: async (line: CommandLine, host: CliHost): Promise<Status> => {
    if (line.image === undefined) throw new UsageError('inspect: which file?');
    await outputOf(process.stdout).write(`${inspectionText(await host.inspectSaved(line.image))}\n`);
    return STATUS.OK;
  },
  demo: async (_line: CommandLine, host: CliHost): Promise<Status> => {
    await demo(host);
    return STATUS.OK;
  },
} as const;

const text = (line: CommandLine, name: OptionName): string | undefined => {
  const v = line.values[name];
  return typeof v === 'string' ? v : undefined;
};

/** Repeatable options, and what a launch calls them. */
const LISTS = {
  config: 'config',
  disk: 'disks',
  channel: 'channels',
  vif: 'vifs',
  forward: 'ports',
} as const;

/** What becomes of a domain that ends. */
const ENDS = {
  'on-poweroff': 'onPoweroff',
  'on-reboot': 'onReboot',
  'on-crash': 'onCrash',
  'on-watchdog': 'onWatchdog',
} as const;

function machineArguments(line: CommandLine): MachineArguments {
  const given: Record<string, string | number | boolean | readonly string[]> = {};
  if (line.values['no-keep'] === true) given['keepUnpacked'] = false;
  if (line.image !== undefined) given['kernel'] = line.image;
  for (const name of ['ramdisk', 'cmdline', 'memory', 'restore', 'tier'] as const) {
    const v = text(line, name);
    if (v !== undefined) given[name] = v;
  }
  for (const [option, name] of Object.entries(ENDS)) {
    const v = text(line, option as keyof typeof ENDS);
    if (v !== undefined) given[name] = v;
  }
  const vcpus = text(line, 'vcpus');
  if (vcpus !== undefined) given['vcpus'] = parseCount(vcpus, '--vcpus');
  for (const [option, name] of Object.entries(LISTS)) {
    const list = line.values[option as keyof typeof LISTS];
    if (Array.isArray(list)) given[name] = list.map(String);
  }
  return given;
}

/** The console that the terminal shows. */
function consoleOf(line: CommandLine): { readonly domain?: number; readonly console: number } {
  const given = text(line, 'console');
  const [, domain, console = '0'] = /^(?:d(\d+):)?(\d+)$/.exec(given ?? '0') ?? [];
  if (given !== undefined && !/^(?:d\d+:)?\d+$/.test(given))
    throw new UsageError(`--console '${given}' is neither a number nor dN:N`);
  return { ...(domain === undefined ? {} : { domain: Number(domain) }), console: Number(console) };
}

function limitsOf(line: CommandLine): RunLimits {
  const until = text(line, 'until');
  const most = text(line, 'max-instructions');
  const timeout = text(line, 'timeout');
  const seconds = timeout === undefined ? undefined : Number(timeout);
  if (seconds !== undefined && !(seconds > 0 && Number.isFinite(seconds))) {
    throw new UsageError(`--timeout '${timeout ?? ''}' is not a number of seconds`);
  }
  if (until === '') throw new UsageError('--until needs a text');
  return {
    ...(until === undefined ? {} : { until }),
    ...(most === undefined ? {} : { maxInstructions: BigInt(parseCount(most, '--max-instructions')) }),
    ...(seconds === undefined ? {} : { timeout: seconds * 1000 }),
  };
}

async function inputOf(path: string, host: CliHost): Promise<Uint8Array> {
  try {
    return await host.readFile(path);
  } catch (e) {
    throw new LaunchError('--input', `cannot read '${path}': ${e instanceof Error ? e.message : String(e)}`);
  }
}

/** The file that `--json` names, made before the run: a run of minutes may not end in a path that cannot be written. */
async function jsonFile(path: string): Promise<(text: string) => Promise<void>> {
  if (path === '-') return (text) => outputOf(process.stdout).write(text);
  try {
    const file = await open(path, 'w');
    return async (text) => {
      await file.writeFile(text);
      await file.close();
    };
  } catch (e) {
    throw new LaunchError('--json', `cannot write '${path}': ${e instanceof Error ? e.message : String(e)}`);
  }
}

/** Sizes that the host cannot give are the asker's business; any other RangeError is a defect of ours. */
async function createTarget(host: CliHost, machine: MachineConfig, paced: boolean): Promise<Target> {
  try {
    return await host.createTarget(machine, paced);
  } catch (e) {
    throw e instanceof RangeError ? new LaunchError('memory', e.message) : e;
  }
}

async function machineCommand(line: CommandLine, host: CliHost, shows: 'console' | 'trace'): Promise<Status> {
  const limits = limitsOf(line);
  const shown = consoleOf(line);
  const format = text(line, 'format') ?? 'text';
  if (format !== 'text' && format !== 'ndjson')
    throw new UsageError(`--format is text or ndjson, not '${format}'`);
  const inputFile = text(line, 'input');
  const input = inputFile === undefined ? undefined : await inputOf(inputFile, host);
  const jsonTo = text(line, 'json');
  const saveTo = text(line, 'save');
  const ask = text(line, 'ask');
  const request = ask === undefined ? undefined : parseRequest(ask);
  if (jsonTo === '-' && shows === 'trace')
    throw new UsageError('trace: --json - would mix with the records on standard output; name a file');
  const launch = await resolveLaunch(machineArguments(line), host);
  for (const w of launch.warnings) process.stderr.write(`hyperstep: ${w}\n`);

  const json = jsonTo === undefined ? undefined : await jsonFile(jsonTo);

  const keyboard = shows === 'console' && input === undefined ? process.stdin : undefined;
  const interactive = keyboard?.isTTY === true;
  // Who connects from outside lives by the wall clock.
  const paced = interactive || launch.machine.forwards !== undefined;
  const printed = shows === 'trace' && line.values.summary !== true ? format : undefined;
  const named = printed === 'ndjson' ? await namedTrace(launch.machine, host.dapHost()) : undefined;
  const target = await createTarget(host, named?.machine ?? launch.machine, paced);
  if (line.values.quiet !== true) target.onLog((message) => process.stderr.write(`${message}\n`));
  // Live text may not mix with what a program reads: the console, the trace, or the summary has standard output.
  const standard = outputOf(process.stdout);
  const out = jsonTo === '-' || shows === 'trace' ? outputOf(process.stderr) : standard;
  const terminal = openTerminal(keyboard, out);
  const records =
    named !== undefined
      ? drainNdjson(named.of(target), standard)
      : printed !== undefined
        ? drainText(target, standard)
        : undefined;
  let summary: RunSummary;
  try {
    await resumeSuspended(target);
    if (input !== undefined)
      for (const d of await target.domains())
        if (shown.domain === undefined || shown.domain === d.id)
          await target.consoleInput(d.id, input, shown.console);
    summary = await runToEnd({
      target,
      limits,
      terminal,
      shown,
      clock: () => performance.now(),
      onClosed: standard.onClosed,
      ended: (message) => process.stderr.write(`hyperstep: ${message}\n`),
      hash: json !== undefined,
      ...(request === undefined ? {} : { ask: request }),
      ...(saveTo === undefined ? {} : { save: saverOf(target, saveTo) }),
      ...(records === undefined ? {} : { afterSlice: records }),
    });
    if (shows === 'trace' && line.values.summary === true)
      await standard.write(`${formatSummary(await target.traceSummary())}\n`);
  } finally {
    terminal.restore();
    await target.dispose();
  }
  if ((summary.status !== STATUS.OK || interactive) && summary.message !== '')
    process.stderr.write(`\nhyperstep: ${summary.message}\n`);
  await json?.(`${JSON.stringify(summary, null, 2)}\n`);
  return summary.status;
}
