/**
 * A whole session in editors that are not ours, each with the configuration that docs/how-to/other-clients.md gives:
 * `npx tsx scripts/editors/run.ts [--nvim PATH] --nvim-dap FOLDER [--emacs PATH] --dape FOLDER`. The plugins are
 * checkouts of their own; an editor whose plugin is not named is not run, and that is said. Status 1 if one fails.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const root = join(__dirname, '..', '..');
const sample = join(root, 'media', 'samples', 'first-hypercall');

const { values } = parseArgs({
  options: {
    nvim: { type: 'string', default: 'nvim' },
    'nvim-dap': { type: 'string' },
    emacs: { type: 'string', default: 'emacs' },
    dape: { type: 'string' },
  },
});

interface Editor {
  readonly name: string;
  readonly plugin: string | undefined;
  readonly option: string;
  readonly command: string;
  /** Of the block in the documentation, and of the file that the session reads. */
  readonly language: 'lua' | 'elisp';
  readonly configuration: string;
  arguments(plugin: string): readonly string[];
}

const editors: readonly Editor[] = [
  {
    name: 'Neovim with nvim-dap',
    plugin: values['nvim-dap'],
    option: '--nvim-dap',
    command: values.nvim,
    language: 'lua',
    configuration: 'configuration.lua',
    arguments: (plugin) =>
      ['--headless', '-u', 'NONE', '-i', 'NONE', '-n', '--cmd', `set rtp+=${plugin}`].concat(
        '-c',
        `luafile ${join(__dirname, 'nvim-dap.lua')}`,
      ),
  },
  {
    name: 'Emacs with dape',
    plugin: values.dape,
    option: '--dape',
    command: values.emacs,
    language: 'elisp',
    configuration: 'configuration.el',
    arguments: (plugin) => ['-Q', '--batch', '-L', plugin, '-l', join(__dirname, 'dape.el')],
  },
];

/** A place in main.c as sessions print it. */
const lineWith = (text: string): string =>
  `main.c:${
    readFileSync(join(sample, 'main.c'), 'utf8')
      .split('\n')
      .findIndex((line) => line.includes(text)) + 1
  }`;

/** In this order, with other lines between. */
const expected: readonly RegExp[] = [
  /^launch: stopped entry$/,
  /^ {2}frame _start boot\.S:\d+$/,
  /^continue: stopped function breakpoint$/,
  /^ {2}frame hypercall set_trap_table\(/,
  /^ {2}frame register_traps\+0x[0-9a-f]+ traps\.c:\d+$/,
  /^ {2}scope Hypercall$/,
  /^step into: stopped step$/,
  /^ {2}frame set_trap_table\.run \(hypervisor\) traps\.ts:\d+$/,
  /^ {2}frame hypercall set_trap_table\(/,
  /^ {2}frame guest_main\+0x[0-9a-f]+ main\.c:\d+$/,
  /^ {2}scope Locals$/,
  /^ {2}cursor traps\.ts:\d+$/,
  /^step out: stopped step$/,
  /^ {2}frame \S+ \(hypervisor\) hypercall\.ts:\d+$/,
  /^continue: stopped breakpoint$/,
  new RegExp(`^ {2}cursor ${lineWith('map_shared_info();')}$`),
  /^step over: stopped step$/,
  new RegExp(`^ {2}cursor ${lineWith('register_callbacks();')}$`),
  /^walk of 0x[0-9a-f]+$/,
  /^ {2}machine address 0x[0-9a-f]+$/,
  /^first-hypercall: done$/,
  /^ended$/,
];

/** The first that is missing. */
function missing(lines: readonly string[]): RegExp | undefined {
  let from = 0;
  return expected.find((one) => {
    const at = lines.findIndex((line, i) => i >= from && one.test(line));
    from = at + 1;
    return at === -1;
  });
}

function configurationOf(language: string): string {
  const text = readFileSync(join(root, 'docs', 'how-to', 'other-clients.md'), 'utf8');
  const block = new RegExp('^```' + language + '\\n([^]*?)^```$', 'm').exec(text)?.[1];
  if (block === undefined) throw new Error(`docs/how-to/other-clients.md has no ${language}`);
  return block;
}

const lives = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

/** What is wrong, or nothing. */
async function run(editor: Editor, plugin: string): Promise<string | undefined> {
  const folder = mkdtempSync(join(tmpdir(), 'editor-'));
  try {
    cpSync(sample, folder, { recursive: true });
    cpSync(join(sample, 'first-hypercall.elf'), join(folder, 'kernel.elf'));
    writeFileSync(join(folder, editor.configuration), configurationOf(editor.language));
    // `hyperstep` as the documentation calls it; it leaves its process's number.
    const cli = join(root, 'bin', 'hyperstep.js');
    const shim = `#!/bin/sh\necho $$ >"${folder}/adapter.pid"\nexec "${process.execPath}" "${cli}" "$@"\n`;
    writeFileSync(join(folder, 'hyperstep'), shim, { mode: 0o755 });
    const started = Date.now();
    const { stdout, stderr, status, error } = spawnSync(editor.command, editor.arguments(plugin), {
      cwd: folder,
      env: { ...process.env, PATH: `${folder}${delimiter}${process.env['PATH'] ?? ''}`, HOME: folder },
      encoding: 'utf8',
      timeout: 120_000,
    });
    if (error !== undefined) return error.message;
    const lines = stdout.split(/\r?\n/).map((line) => line.replace(/^\| /, ''));
    const lacks = missing(lines);
    if (status !== 0 || lacks !== undefined)
      return `status ${String(status)}${lacks === undefined ? '' : `, no line ${lacks.source}`}\n${stdout}\n${stderr}`;
    if (!existsSync(join(folder, 'adapter.pid'))) return 'another adapter was started';
    const pid = Number(readFileSync(join(folder, 'adapter.pid'), 'utf8'));
    for (let tries = 0; lives(pid); tries++) {
      if (tries === 50) return `the adapter, process ${pid}, is still there after 5 s`;
      await sleep(100);
    }
    console.log(`${editor.name}: the whole session, and the adapter is gone (${Date.now() - started} ms)`);
    return undefined;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function main(): Promise<void> {
  for (const editor of editors) {
    if (editor.plugin === undefined) {
      console.log(`${editor.name}: not run, ${editor.option} does not say where the plugin is`);
      continue;
    }
    const problem = await run(editor, editor.plugin);
    if (problem === undefined) continue;
    console.error(`${editor.name}: ${problem}`);
    process.exitCode = 1;
  }
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
