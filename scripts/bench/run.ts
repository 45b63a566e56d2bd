/**
 * `npm run bench [-- options] [GROUP…]`: figures of this machine, now. Timings on a shared machine are noise: medians
 * of several runs in turn, processor time where it can be had, and ratios taken within one run. Never fails on time;
 * a group that cannot be measured is said, and the others go on.
 *
 *   GROUP…        some groups only: start, cold, speed, boundary, trace, probes, steps, symbols, saved, disk, compile, boot, kernels
 *   --quick       one run of each
 *   --runs N      so many (5)
 *   --without A   without some peers: xen, v86, bochs
 *   --json F      the results as JSON, written after each group
 *   --resume      groups that F already has, of this commit and as many runs, are taken from there
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { bootToShell } from './boot';
import { cold } from './cold';
import { debugFile } from './debug-file';
import { disk } from './disk';
import { debugging } from './debugging';
import { boundary, interpreterSpeed, probes, start } from './inside';
import { kernelTimes } from './kernels';
import { optionsOf, type GroupName } from './options';
import { findPeers, type Peers } from './peers';
import { compiling } from './compile';
import { saved } from './saved';
import { tracing } from './tracing';
import { createReport, describeMachine, goalTable, lineOf, type Figure, type Report } from './report';

interface Bench {
  readonly report: Report;
  readonly runs: number;
  readonly peers: Peers;
  /** For files of its own. */
  readonly folder: string;
}

interface Group {
  measure(bench: Bench): void | Promise<void>;
  /** What it takes on a quiet machine of two processors, in seconds: once, and for each run. */
  readonly takes: readonly [number, number];
}

const MEASURES: Readonly<Record<GroupName, Group>> = {
  start: { measure: ({ report, runs }) => start(report, runs), takes: [0, 8] },
  cold: { measure: ({ report, runs }) => cold(report, runs), takes: [2, 1] },
  speed: { measure: ({ report, runs }) => interpreterSpeed(report, runs), takes: [1, 1] },
  boundary: { measure: ({ report, runs }) => boundary(report, runs), takes: [3, 2] },
  trace: { measure: ({ report, runs, folder }) => tracing(report, runs, folder), takes: [3, 30] },
  probes: {
    measure: ({ report, runs }) => {
      probes(report, runs);
    },
    takes: [0, 28],
  },
  steps: { measure: ({ report, runs, folder }) => debugging(report, runs, folder), takes: [15, 9] },
  symbols: { measure: ({ report, runs }) => debugFile(report, runs), takes: [0, 8] },
  saved: { measure: ({ report, runs, folder }) => saved(report, runs, folder), takes: [10, 4] },
  disk: { measure: ({ report, runs, folder }) => disk(report, runs, folder), takes: [8, 8] },
  compile: { measure: ({ report, runs }) => compiling(report, runs), takes: [2, 18] },
  boot: {
    measure: ({ report, runs, peers, folder }) => bootToShell(report, peers, runs, folder),
    takes: [0, 26],
  },
  kernels: {
    measure: ({ report, runs, peers, folder }) => kernelTimes(report, peers, runs, folder),
    takes: [60, 40],
  },
};

/** Bochs, which is run once. */
const BOCHS_SECONDS = 250;

interface Result {
  readonly figures: readonly Figure[];
  readonly missing: readonly string[];
}
interface Results {
  readonly machine: string;
  readonly runs: number;
  readonly groups: Readonly<Record<string, Result>>;
}

const minutes = (seconds: number): string =>
  `${Math.floor(seconds / 60).toString()}:${Math.floor(seconds % 60).toString().padStart(2, '0')}`; // prettier-ignore

/** What an interrupted run left behind, if it was the same. */
function before(file: string, machine: string, runs: number): Results['groups'] {
  if (!existsSync(file)) return {};
  const old = JSON.parse(readFileSync(file, 'utf8')) as Results;
  return old.machine === machine && old.runs === runs ? old.groups : {};
}

async function main(): Promise<number> {
  const { groups: names, runs, without, json, resume } = optionsOf(process.argv.slice(2));
  const say = (text: string): void => void process.stdout.write(text);
  const machine = describeMachine();
  say(`${machine}, load ${loadavg().map((n) => n.toFixed(1)).join(' ')}\n`); // prettier-ignore
  const peers = findPeers(without);
  const groups: Record<string, Result> = {
    ...(resume && json !== undefined ? before(json, machine, runs) : {}),
  };
  const rest = names.filter((name) => groups[name] === undefined);
  const seconds = rest.reduce((sum, name) => {
    const [once, each] = MEASURES[name].takes;
    return sum + once + each * runs + (name === 'kernels' && peers.has('bochs') ? BOCHS_SECONDS : 0);
  }, 0);
  say(`median of ${runs.toString()} [least … most]; about ${minutes(seconds)} minutes on a quiet machine\n`);
  const began = performance.now();
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  let status = 0;
  try {
    for (const name of names) {
      const known = groups[name];
      if (known !== undefined) {
        say(`\n${name}, measured before\n${known.figures.map(lineOf).join('')}`);
        continue;
      }
      const progress = (what: string): void => {
        const passed = minutes((performance.now() - began) / 1000);
        process.stderr.write(
          `… ${passed} of ${minutes(seconds)}: ${name}${what === '' ? '' : `, ${what}`}\n`,
        );
      };
      progress('');
      const report = createReport(say, progress, name);
      try {
        await MEASURES[name].measure({ report, runs, peers, folder });
      } catch (error) {
        report.missing(`${name}, the rest of it: ${error instanceof Error ? error.message : String(error)}`);
        status = 1;
      }
      groups[name] = { figures: report.figures, missing: report.left };
      if (json === undefined) continue;
      const all: Results & { date: string } = { date: new Date().toISOString(), machine, runs, groups };
      writeFileSync(json, `${JSON.stringify(all, null, 2)}\n`);
    }
  } finally {
    peers.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
  const figures = names.flatMap((name) => groups[name]?.figures ?? []);
  say(`\n${goalTable(figures)}\n\n${minutes((performance.now() - began) / 1000)} minutes\n`);
  return status;
}

void main().then((status) => (process.exitCode = status));
