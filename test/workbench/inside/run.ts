import { appendFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import Mocha from 'mocha';
import type { End, Result } from './results';
import { RESULTS } from './results';

const write = (line: Result | End): void => {
  appendFileSync(path.join(homedir(), RESULTS), `${JSON.stringify(line)}\n`);
};

const textOf = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : String(error);

class LinesReporter extends Mocha.reporters.Base {
  constructor(runner: Mocha.Runner) {
    super(runner);
    runner.on('pass', (test) => {
      write({ test: test.fullTitle(), ms: test.duration ?? 0 });
    });
    runner.on('pending', (test) => {
      write({ test: test.fullTitle(), ms: 0, error: 'skipped, for no reason that could be printed' });
    });
    // Also hooks come here.
    runner.on('fail', (test, error) => {
      write({ test: test.fullTitle(), ms: test.duration ?? 0, error: textOf(error) });
    });
  }
}

function runMocha(): Promise<void> {
  const mocha = new Mocha({
    timeout: 60_000,
    reporter: LinesReporter,
  });
  for (const file of ['manifest.ts', 'session.ts']) mocha.addFile(path.join(__dirname, file));
  return new Promise((resolve, reject) => {
    mocha.run((failures) => {
      if (failures === 0) resolve();
      else reject(new Error(`${failures} failed`));
    });
  });
}

/** Rejects when a test failed, which VS Code reports to its window. */
export async function run(): Promise<void> {
  await runMocha();
  write({ end: true });
}
