/**
 * `npm run bench [-- options]`: figures of this machine, now. Timings on a shared machine are noise: medians of
 * several runs in turn, processor time where it can be had, and ratios taken within one run. Never fails on time.
 *
 *   --quick       one run of each
 *   --runs N      so many (5)
 *   --only A,B    some groups: start, speed, boundary, probes, steps, symbols, kernels, disk, saved, boot
 *   --json F      the same as JSON
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { bootToShell } from './boot';
import { debugFile } from './debug-file';
import { disk } from './disk';
import { debugging } from './debugging';
import { boundary, interpreterSpeed, probes, start } from './inside';
import { kernelTimes } from './kernels';
import { findPeers, type Peers } from './peers';
import { saved } from './saved';
import { createReport, describeMachine, type Report } from './report';

interface Bench {
  readonly report: Report;
  readonly runs: number;
  readonly peers: Peers;
  /** For files of its own. */
  readonly folder: string;
}

/** In the order in which they are run. */
const GROUPS: Readonly<Record<string, (bench: Bench) => Promise<void>>> = {
  start: ({ report, runs }) => start(report, runs),
  speed: ({ report, runs }) => interpreterSpeed(report, runs),
  boundary: ({ report, runs }) => boundary(report, runs),
  probes: ({ report, runs }) => {
    probes(report, runs);
    return Promise.resolve();
  },
  steps: ({ report, runs, folder }) => debugging(report, runs, folder),
  symbols: ({ report }) => debugFile(report),
  kernels: ({ report, runs, peers, folder }) => kernelTimes(report, peers, runs, folder),
  disk: ({ report, runs, folder }) => disk(report, runs, folder),
  saved: ({ report, runs, folder }) => saved(report, runs, folder),
  boot: ({ report, runs, peers, folder }) => bootToShell(report, peers, runs, folder),
};

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      json: { type: 'string' },
      runs: { type: 'string', default: '5' },
      quick: { type: 'boolean', default: false },
      only: { type: 'string', default: Object.keys(GROUPS).join() },
    },
  });
  const runs = values.quick ? 1 : Number(values.runs);
  const groups = values.only.split(',');
  const unknown = groups.find((name) => GROUPS[name] === undefined);
  if (unknown !== undefined || !Number.isInteger(runs) || runs < 1) {
    process.stderr.write(`--only takes of ${Object.keys(GROUPS).join()}; --runs a number from 1\n`);
    return 2;
  }
  const report = createReport((text) => process.stdout.write(text));
  const machine = describeMachine();
  process.stdout.write(`${machine}\nmedian of ${runs.toString()} [least … most]\n`);
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  const peers = findPeers();
  try {
    for (const name of groups) await GROUPS[name]?.({ report, runs, peers, folder });
  } finally {
    peers.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
  if (values.json !== undefined) {
    const all = {
      date: new Date().toISOString(),
      machine,
      runs,
      figures: report.figures,
      missing: report.left,
    };
    writeFileSync(values.json, `${JSON.stringify(all, null, 2)}\n`);
  }
  return 0;
}

void main().then((status) => (process.exitCode = status));
