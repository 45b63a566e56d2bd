// Plain Node without dependencies: this runs before anything is installed.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');

const packagesIn = (file) => JSON.parse(readFileSync(path.join(root, file), 'utf8')).packages ?? {};

/** What the lock file asks for and node_modules does not have. Optional packages are another platform's. */
function firstMissing() {
  const installed = 'node_modules/.package-lock.json';
  if (!existsSync(path.join(root, installed))) return 'node_modules';
  const have = packagesIn(installed);
  return Object.entries(packagesIn('package-lock.json'))
    .filter(([name, { optional, devOptional }]) => name !== '' && !optional && !devOptional)
    .find(([name, { version }]) => have[name]?.version !== version)?.[0];
}

/** Runs a command in the checkout with its output shown; ends this process with its status if it fails. */
export function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (error) {
    console.error(`hyperstep: cannot run ${command}: ${error.message}`);
    process.exit(1);
  }
  if (status !== 0) process.exit(status ?? 1);
}

/** Installs the packages if node_modules is not what the lock file says, then builds what changed. */
export function installAndBuild() {
  if (Number.parseInt(process.versions.node, 10) < 20) {
    console.error(`hyperstep: needs Node 20 or later; this is ${process.version}`);
    process.exit(1);
  }
  const missing = firstMissing();
  if (missing !== undefined) {
    console.log(`hyperstep: ${missing} is missing or not of the locked version: npm ci`);
    run('npm', ['ci', '--no-audit', '--no-fund'], { shell: process.platform === 'win32' });
  }
  run(process.execPath, ['--import', 'tsx', 'scripts/build.ts']);
}
