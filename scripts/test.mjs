// `npm test`: on a fresh clone, installs and builds; then runs mocha once per group.
//   npm test                      all groups
//   npm test -- unit fuzz         these groups
//   npm test -- unit --grep adc   further arguments go to mocha
import { Buffer } from 'node:buffer';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { installAndBuild, root } from './install.mjs';

/** Folders of test/ that are a group of their own; `unit` is everything else. */
const slow = ['guests', 'fuzz', 'workbench'];
const groups = ['unit', ...slow];
/** Mocha processes at a time. What stands in the slow groups uses the processors by itself, or times things. */
const processes = { unit: Math.min(2, availableParallelism()) };

const args = process.argv.slice(2);
const firstOption = args.findIndex((arg) => !groups.includes(arg));
const chosen = firstOption === -1 ? args : args.slice(0, firstOption);
const mochaArgs = firstOption === -1 ? [] : args.slice(firstOption);

const groupOf = (file) => slow.find((name) => file.startsWith(name + path.sep)) ?? 'unit';

/** Some test files in a process of their own. What it prints is shown as it comes, or given back whole. */
function runMocha(own, totalsFile, shown) {
  const mocha = ['node_modules/mocha/bin/mocha.js', '--reporter', 'scripts/reporter.cjs', ...mochaArgs];
  const child = spawn(process.execPath, [...mocha, ...own], {
    cwd: root,
    stdio: shown ? 'inherit' : ['ignore', 'pipe', 'pipe'],
    // Kernels that tests have unpacked are not kept in somebody's home.
    env: {
      ...process.env,
      HYPERSTEP_TEST_TOTALS: totalsFile,
      XDG_CACHE_HOME: path.join(scratch, 'cache'),
    },
  });
  const output = [];
  for (const stream of shown ? [] : [child.stdout, child.stderr]) {
    stream.on('data', (data) => output.push(data));
  }
  return new Promise((resolve) => {
    child.on('close', (status, signal) => {
      const totals = existsSync(totalsFile)
        ? JSON.parse(readFileSync(totalsFile, 'utf8'))
        : { passed: 0, failed: 0, skipped: 0 };
      resolve({ status, signal, output: Buffer.concat(output), totals });
    });
  });
}

installAndBuild();

const files = readdirSync(path.join(root, 'test'), { recursive: true })
  .filter((file) => file.endsWith('.test.ts'))
  .sort();
const scratch = mkdtempSync(path.join(tmpdir(), 'hyperstep-test-'));
const sum = { passed: 0, failed: 0, skipped: 0 };

// Tests that need a real guest say so one by one; here it only counts that CI got them all.
console.log('\n== real guests');
const fetched = spawnSync(process.execPath, ['--import', 'tsx', 'scripts/fetch-guests.ts'], {
  cwd: root,
  stdio: 'inherit',
});
if (fetched.status !== 0) sum.failed += 1;

for (const group of chosen.length > 0 ? chosen : groups) {
  const own = files.filter((file) => groupOf(file) === group).map((file) => path.join('test', file));
  if (own.length === 0) {
    console.log(`\n== ${group}: no test files`);
    continue;
  }
  console.log(`\n== ${group}`);
  // It is large: away from CI it is installed only where it is asked for. The tests say so when it is missing.
  if (group === 'workbench' && (chosen.includes(group) || process.env.CI === 'true')) {
    spawnSync(process.execPath, ['--import', 'tsx', 'scripts/workbench-install.ts', 'current', 'floor'], {
      cwd: root,
      stdio: 'inherit',
    });
  }
  const shares = Math.min(own.length, processes[group] ?? 1);
  const runs = Array.from({ length: shares }, (_, share) =>
    runMocha(
      own.filter((_, i) => i % shares === share),
      path.join(scratch, `${group}-${share}.json`),
      share === 0,
    ),
  );
  for (const run of runs) {
    const { status, signal, output, totals } = await run;
    process.stdout.write(output);
    // A process that died before its totals were written, or ended badly without a failed test, is a failure too.
    if (status !== 0 && totals.failed === 0) {
      console.error(`${group}: mocha ended with ${signal ?? `status ${status}`}`);
      totals.failed = 1;
    }
    for (const kind of Object.keys(sum)) sum[kind] += totals[kind];
  }
}
rmSync(scratch, { recursive: true, force: true });

console.log(
  `\n${sum.passed} passed, ${sum.failed} failed${sum.skipped > 0 ? `, ${sum.skipped} skipped` : ''}`,
);
if (sum.passed === 0) console.error('no test ran');
process.exitCode = sum.failed > 0 || sum.passed === 0 ? 1 : 0;
