/** What the bench says: figures with their medians, as a table and as JSON. */
import { execFileSync } from 'node:child_process';
import { cpus, release, totalmem } from 'node:os';
import { GOALS, goalText, reached, row, type Goal, type GoalName } from './goals';

export interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly median: number;
  readonly least: number;
  readonly most: number;
  /** How many it is the median of, or was made from. */
  readonly samples: number;
  readonly goal?: GoalName;
}

export interface Report {
  /** A heading; figures after it belong to it. */
  section(title: string): void;
  figure(name: string, unit: string, samples: readonly number[], goal?: GoalName): void;
  /** One number made of `samples` others: a ratio of medians, a percentile, a count that is always the same. */
  derived(name: string, unit: string, value: number, samples: number, goal?: GoalName): void;
  /** What was left out, and why. */
  missing(what: string): void;
  /** What is being done now, for who waits; no part of the results. */
  progress(what: string): void;
  readonly figures: readonly Figure[];
  readonly left: readonly string[];
}

const sorted = (of: readonly number[]): number[] => [...of].sort((a, b) => a - b);
export const quantile = (of: readonly number[], q: number): number =>
  sorted(of)[Math.min(of.length - 1, Math.floor(q * of.length))] ?? NaN;
export const median = (of: readonly number[]): number => quantile(of, 0.5);
export const geometricMean = (of: readonly number[]): number =>
  Math.exp(of.reduce((sum, x) => sum + Math.log(x), 0) / of.length);

const shown = (n: number): string =>
  Number.isInteger(n) && Math.abs(n) >= 1000
    ? n.toLocaleString('en')
    : Math.abs(n) >= 100
      ? n.toFixed(0)
      : n.toPrecision(3);
const counted = (samples: number): string => `${samples.toString()} sample${samples === 1 ? '' : 's'}`;

/** A line of the table. */
export function lineOf({ name, unit, median: value, least, most, samples, goal }: Figure): string {
  const range = least === most ? '' : ` [${shown(least)} … ${shown(most)}]`;
  const wanted = goal === undefined ? '' : `   goal ${goalText(GOALS[goal])}`;
  const plain = name.slice(name.indexOf(': ') + 2);
  return `  ${plain.padEnd(66)}${`${shown(value)} ${unit}`.padStart(22)}${range}   ${counted(samples)}${wanted}\n`;
}

export function createReport(
  write: (text: string) => void,
  progress: (text: string) => void,
  group: string,
): Report {
  const figures: Figure[] = [];
  const left: string[] = [];
  let under = group;
  const add = (figure: Figure): void => {
    figures.push(figure);
    write(lineOf(figure));
  };
  return {
    figures,
    left,
    section(title) {
      under = title.replaceAll(': ', ', ');
      write(`\n${title}\n`);
    },
    figure(name, unit, samples, goal) {
      add({
        name: `${under}: ${name}`,
        unit,
        median: median(samples),
        least: Math.min(...samples),
        most: Math.max(...samples),
        samples: samples.length,
        ...(goal === undefined ? {} : { goal }),
      });
    },
    derived(name, unit, value, samples, goal) {
      const figure = { name: `${under}: ${name}`, unit, median: value, least: value, most: value, samples };
      add({ ...figure, ...(goal === undefined ? {} : { goal }) });
    },
    missing(what) {
      left.push(what);
      write(`  not measured: ${what}\n`);
    },
    progress,
  };
}

/** What came of the goals, as a table for docs/performance.md. */
export function goalTable(figures: readonly Figure[]): string {
  const rows = Object.entries(GOALS).map(([name, goal]: readonly [string, Goal]) => {
    const figure = figures.find((f) => f.goal === name);
    return figure === undefined
      ? row(goal, '', '', 'not measured')
      : row(goal, `${shown(figure.median)} ${figure.unit}`, figure.samples.toString(), reached(goal, figure.median)); // prettier-ignore
  });
  return ['| figure | here | samples | milestone | goal | reached |', '| --- | --- | --- | --- | --- | --- |', ...rows].join('\n'); // prettier-ignore
}

/** The machine that the figures are of. */
export function describeMachine(): string {
  const git = (...args: readonly string[]): string => {
    try {
      return execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
    } catch {
      return '?';
    }
  };
  const memory = (totalmem() / 2 ** 30).toFixed(0);
  return (
    `${cpus()[0]?.model ?? '?'} × ${cpus().length}, ${memory} GiB, ${process.platform} ${release()}, ` +
    `Node ${process.version}, commit ${git('rev-parse', '--short', 'HEAD')}`
  );
}
