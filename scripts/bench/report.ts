/** What the bench says: figures with their medians, as a table and as JSON. */
import { execFileSync } from 'node:child_process';
import { cpus, release, totalmem } from 'node:os';

export interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly median: number;
  readonly least: number;
  readonly most: number;
  readonly samples: number;
  readonly goal?: string;
}

export interface Report {
  /** A heading; figures after it belong to it. */
  section(title: string): void;
  figure(name: string, unit: string, samples: readonly number[], goal?: string): void;
  /** What was left out, and why. */
  missing(what: string): void;
  readonly figures: readonly Figure[];
  readonly left: readonly string[];
}

const sorted = (of: readonly number[]): number[] => [...of].sort((a, b) => a - b);
export const quantile = (of: readonly number[], q: number): number =>
  sorted(of)[Math.min(of.length - 1, Math.floor(q * of.length))] ?? NaN;
export const median = (of: readonly number[]): number => quantile(of, 0.5);

const shown = (n: number): string =>
  Number.isInteger(n) && Math.abs(n) >= 1000
    ? n.toLocaleString('en')
    : Math.abs(n) >= 100
      ? n.toFixed(0)
      : n.toPrecision(3);

export function createReport(write: (text: string) => void): Report {
  const figures: Figure[] = [];
  const left: string[] = [];
  let under = '';
  return {
    figures,
    left,
    section(title) {
      under = title;
      write(`\n${title}\n`);
    },
    figure(name, unit, samples, goal) {
      const figure: Figure = {
        name: `${under}: ${name}`,
        unit,
        median: median(samples),
        least: Math.min(...samples),
        most: Math.max(...samples),
        samples: samples.length,
        ...(goal === undefined ? {} : { goal }),
      };
      figures.push(figure);
      const value = `${shown(figure.median)} ${unit}`.padStart(20);
      const range = samples.length > 1 ? `   [${shown(figure.least)} … ${shown(figure.most)}]` : '';
      write(`  ${name.padEnd(68)}${value}${range}${goal === undefined ? '' : `   goal ${goal}`}\n`);
    },
    missing(what) {
      left.push(what);
      write(`  not measured: ${what}\n`);
    },
  };
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
