import { parseArgs } from 'node:util';

/** Bad usage or unreadable input: exit status 2, the message alone, no stack. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Exit statuses of every command. */
export const STATUS = {
  /** Clean poweroff, or `--until` text seen. */
  OK: 0,
  /** Guest crash or refused boot. */
  GUEST: 1,
  USAGE: 2,
  /** `--max-instructions` or `--timeout` ended it. */
  LIMIT: 3,
} as const;
export type Status = (typeof STATUS)[keyof typeof STATUS];

interface OptionSpec {
  readonly type: 'string' | 'boolean';
  readonly value?: string;
  /** May be given more than once. */
  readonly multiple?: true;
  readonly help: string;
  /** Commands that take it; all machine-running ones when absent. */
  readonly only?: readonly string[];
}

/** One table: parsing, usage text and the reference page derive from it. */
export const OPTIONS = {
  ramdisk: { type: 'string', value: 'F', help: 'initial ramdisk (module) for the kernel' },
  cmdline: { type: 'string', value: 'S', help: "the guest's command line" },
  memory: {
    type: 'string',
    value: '256M',
    help: 'guest memory: bytes with suffix K, M, G; a bare number is MiB',
  },
  disk: {
    type: 'string',
    value: 'F[,…]',
    multiple: true,
    help: 'a disk as xl.cfg has it (raw or qcow2; ,r: read-only); F is not written unless ,write-through; repeatable',
  },
  vif: {
    type: 'string',
    value: 'SPEC',
    multiple: true,
    help: "a network interface as xl.cfg has it: '', 'mac=…,bridge=…,ip=…'; repeatable",
  },
  forward: {
    type: 'string',
    value: '[A:]P:[dN:]P',
    multiple: true,
    help: "a TCP port of this computer's loopback that leads into the guest: 8080:80, 127.0.0.1:8080:d1:80; repeatable",
  },
  channel: {
    type: 'string',
    value: 'NAME',
    multiple: true,
    help: 'a further console for the guest, as channel = […] of xl.cfg makes one; repeatable',
  },
  console: {
    type: 'string',
    value: '[dN:]N',
    help: 'which console is on the terminal, by number: 0 is the first, 1 the first channel; dN: of domain N',
  },
  vcpus: { type: 'string', value: 'N', help: 'number of virtual CPUs' },
  tier: {
    type: 'string',
    value: 'interpret|compile',
    help: 'what runs guest code; compile turns hot code into WebAssembly, and the guest sees no difference',
  },
  'no-keep': {
    type: 'boolean',
    help: 'do not keep the unpacked kernel on disk for the next launch, nor use one that was kept',
  },
  'on-poweroff': {
    type: 'string',
    value: 'ACTION',
    help: 'what becomes of the domain then: destroy (the default), restart or preserve, as in xl.cfg',
  },
  'on-reboot': { type: 'string', value: 'ACTION', help: 'the same; restart is the default' },
  'on-crash': { type: 'string', value: 'ACTION', help: 'the same; destroy is the default' },
  'on-watchdog': { type: 'string', value: 'ACTION', help: 'the same; destroy is the default' },
  config: {
    type: 'string',
    value: 'F.cfg',
    multiple: true,
    help: 'take kernel, ramdisk, memory, … from an xl.cfg file; options given here win. Given several times: several domains',
  },
  restore: {
    type: 'string',
    value: 'F',
    help: 'go on from the machine saved in F instead of building one; IMAGE then only says where the symbols are',
  },
  save: {
    type: 'string',
    value: 'F',
    help: 'save the machine to F when the run ends, by --until, a limit, the keyboard or the guest',
  },
  ask: {
    type: 'string',
    value: 'WHAT',
    help: 'before the run ends by --until, a limit or the keyboard, ask the guest to poweroff, reboot, halt or suspend and wait for it',
  },
  until: { type: 'string', value: 'TEXT', help: 'end the run, status 0, when TEXT appears on the console' },
  input: { type: 'string', value: 'F', help: 'feed the bytes of F to the console as the guest reads them' },
  'max-instructions': {
    type: 'string',
    value: 'N',
    help: 'end the run, status 3, after N guest instructions',
  },
  timeout: { type: 'string', value: 'S', help: 'end the run, status 3, after S seconds of wall time' },
  json: { type: 'string', value: 'F', help: 'write a summary of the run to F (- for standard output)' },
  quiet: { type: 'boolean', help: 'no hypervisor messages on standard error' },
  format: { type: 'string', value: 'text|ndjson', help: 'how records are printed', only: ['trace'] },
  filter: {
    type: 'string',
    value: 'F',
    help: "only records that match, as in 'mmu_update && refused'; see the how-to page about traces",
    only: ['records'],
  },
  as: {
    type: 'string',
    value: 'text|ndjson|csv|perfetto',
    help: 'how records are written',
    only: ['records'],
  },
  compare: {
    type: 'string',
    value: 'F',
    help: 'what differs from the trace in F, vCPU by vCPU; status 1 when something does',
    only: ['records'],
  },
  like: {
    type: 'string',
    value: 'calls|arguments|moments',
    help: 'how much of two records has to be the same; arguments (with the results) by default',
    only: ['records'],
  },
  summary: { type: 'boolean', help: 'only the table of counts, at the end', only: ['trace'] },
  port: { type: 'string', value: 'N', help: 'serve on loopback TCP port N', only: ['dap'] },
  pipe: { type: 'string', value: 'P', help: 'serve on the Unix socket or named pipe P', only: ['dap'] },
  help: { type: 'boolean', help: 'this text', only: ['run', 'trace', 'records', 'dap', 'inspect', 'demo'] },
} as const satisfies Record<string, OptionSpec>;
export type OptionName = keyof typeof OPTIONS;

const optionSpec = (name: OptionName): OptionSpec => OPTIONS[name];

export const COMMANDS: Readonly<
  Record<string, { readonly positional: string; readonly help: string; readonly machine: boolean }>
> = {
  run: {
    positional: '[IMAGE]',
    help: 'boot IMAGE (ELF or bzImage, a Xen PV kernel) with its console on the terminal',
    machine: true,
  },
  trace: { positional: '[IMAGE]', help: 'the same, printing every hypercall as it happens', machine: true },
  records: {
    positional: 'FILE',
    help: 'a trace in a file (of trace --format ndjson, or exported): filter, convert, compare with another',
    machine: false,
  },
  dap: {
    positional: '',
    help: 'the debug adapter, on standard input and output unless --port or --pipe',
    machine: false,
  },
  demo: {
    positional: '',
    help: 'the bundled sample guest: break on a hypercall, look, step, go on',
    machine: false,
  },
  inspect: {
    positional: 'FILE',
    help: 'what is in a saved machine; reads all of it and checks it',
    machine: false,
  },
};

export interface CommandLine {
  readonly command: string;
  readonly image?: string;
  readonly values: Readonly<Partial<Record<OptionName, string | boolean | (string | boolean)[]>>>;
}

const accepts = (command: string, name: OptionName): boolean => {
  const { only } = optionSpec(name);
  return only === undefined ? (COMMANDS[command]?.machine ?? false) : only.includes(command);
};

/** Parses argv without node and script. Throws UsageError naming the argument at fault. */
export function parseCommandLine(argv: readonly string[]): CommandLine | 'help' | 'version' {
  const [command, ...rest] = argv;
  if (command === undefined || command === 'help' || command === '--help' || command === '-h') return 'help';
  if (command === '--version' || command === 'version') return 'version';
  const spec = COMMANDS[command];
  if (spec === undefined) {
    throw new UsageError(`unknown command '${command}'; commands are ${Object.keys(COMMANDS).join(', ')}`);
  }
  let parsed;
  try {
    parsed = parseArgs({
      args: rest,
      allowPositionals: true,
      options: Object.fromEntries(
        (Object.keys(OPTIONS) as OptionName[])
          .filter((name) => accepts(command, name))
          .map((name) => [
            name,
            { type: optionSpec(name).type, multiple: optionSpec(name).multiple ?? false },
          ]),
      ),
    });
  } catch (e) {
    throw new UsageError(
      `${command}: ${e instanceof Error ? (e.message.split(/\. |\n/)[0] ?? e.message) : String(e)}`,
    );
  }
  if (parsed.values['help'] === true) return 'help';
  const [image, ...extra] = parsed.positionals;
  if (extra.length > 0 || (image !== undefined && spec.positional === '')) {
    throw new UsageError(`${command}: unexpected argument '${extra[0] ?? image ?? ''}'`);
  }
  return {
    command,
    values: parsed.values,
    ...(image === undefined ? {} : { image }),
  };
}

export function usage(): string {
  const lines = ['Usage: hyperstep COMMAND [IMAGE] [options]', '', 'Commands:'];
  for (const [name, c] of Object.entries(COMMANDS))
    lines.push(`  ${`${name} ${c.positional}`.padEnd(26)} ${c.help}`);
  lines.push('', 'Options:');
  for (const name of Object.keys(OPTIONS) as OptionName[]) {
    const o = optionSpec(name);
    const flag = `--${name}${o.value === undefined ? '' : ` ${o.value}`}`;
    lines.push(`  ${flag.padEnd(26)} ${o.help}${o.only && name !== 'help' ? ` (${o.only.join(', ')})` : ''}`);
  }
  lines.push('', 'With no IMAGE and no --config, the bundled sample guest runs.');
  lines.push(
    'Exit status: 0 poweroff or --until seen; 1 guest crash or refused boot; 2 usage; 3 a limit ended it.',
  );
  return lines.join('\n');
}

/** A whole number of at least `min`. */
export function parseCount(text: string, thing: string, min = 1): number {
  const n = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(n) || n < min) {
    throw new UsageError(`${thing} '${text}' is not a whole number of at least ${min.toString()}`);
  }
  return n;
}
