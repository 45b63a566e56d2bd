// The command line: as a process (what npm's bin runs, so it needs a built dist/), or quicker, in this one.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { main } from '../../src/cli/index';
import { adapterHost } from '../../src/host/adapter';
import { inProcessTarget } from '../../src/host/machine';
import { launchFiles } from '../../src/host/node';
import { inspectSavedFile } from '../../src/host/saved-file';
import { openTraceFile } from '../../src/host/trace-file';

export const root = join(__dirname, '..', '..');
const BIN = join(root, 'bin', 'hyperstep.js');

export interface Finished {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Started {
  readonly pid: number;
  kill(signal: NodeJS.Signals): void;
  /** Resolves when standard output or error has shown `text`. */
  shown(text: string): Promise<void>;
  write(text: string): void;
  closeInput(): void;
  closeOutput(): void;
  readonly finished: Promise<Finished>;
}

/** Kills what has not ended by then: the test that waits for it fails with what it said so far. */
const PATIENCE = 40_000;

export function start(...args: string[]): Started {
  const child = spawn(process.execPath, [BIN, ...args], { cwd: root, stdio: 'pipe' });
  let stdout = '';
  let stderr = '';
  const watchers = new Set<() => void>();
  const look = (): void => {
    for (const w of [...watchers]) w();
  };
  child.stdout.on('data', (data: Buffer) => {
    stdout += data.toString('utf8');
    look();
  });
  child.stderr.on('data', (data: Buffer) => {
    stderr += data.toString('utf8');
    look();
  });
  child.stdin.on('error', () => undefined);
  const patience = setTimeout(() => child.kill('SIGKILL'), PATIENCE);
  const finished = new Promise<Finished>((resolve) => {
    child.on('close', (status, signal) => {
      clearTimeout(patience);
      look();
      resolve({ status, signal, stdout, stderr });
    });
  });
  return {
    pid: child.pid ?? 0,
    kill: (signal) => child.kill(signal),
    shown: (text) =>
      new Promise((resolve, reject) => {
        const check = (): void => {
          if (stdout.includes(text) || stderr.includes(text)) {
            watchers.delete(check);
            resolve();
          } else if (child.exitCode !== null || child.signalCode !== null) {
            watchers.delete(check);
            reject(new Error(`it ended without '${text}': ${stdout.slice(-300)}${stderr.slice(-300)}`));
          }
        };
        watchers.add(check);
        check();
      }),
    write: (text) => child.stdin.write(text),
    closeInput: () => child.stdin.end(),
    closeOutput: () => child.stdout.destroy(),
    finished,
  };
}

/** Runs to the end with nothing on standard input. */
export async function hyperstep(...args: string[]): Promise<Finished> {
  const run = start(...args);
  run.closeInput();
  return run.finished;
}

/** What a command says and answers without a process of its own: for the many that end before a machine runs. */
export async function inProcess(...args: string[]): Promise<Pick<Finished, 'status' | 'stdout' | 'stderr'>> {
  const said = { stdout: '', stderr: '' };
  const streams = ['stdout', 'stderr'] as const;
  const originals = streams.map((name) => process[name].write.bind(process[name]));
  for (const name of streams) {
    process[name].write = (data: string | Uint8Array): boolean => {
      said[name] += typeof data === 'string' ? data : Buffer.from(data).toString('latin1');
      return true;
    };
  }
  try {
    const host = {
      version: '0',
      createTarget: inProcessTarget,
      ...launchFiles,
      inspectSaved: inspectSavedFile,
      openTrace: openTraceFile,
      dapHost: adapterHost,
    };
    const status = await main(args, host);
    return { status, ...said };
  } finally {
    streams.forEach((name, i) => {
      const original = originals[i];
      if (original !== undefined) process[name].write = original;
    });
  }
}
