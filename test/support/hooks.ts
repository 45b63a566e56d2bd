import workerThreads from 'node:worker_threads';

// House rule 10: every process, worker and socket has an owner that disposes it, and tests fail on leaks.
// The check runs once per mocha process, after the last test; `exit` in .mocharc.json then ends a process
// that a leaked handle would keep alive for ever.

/** Kinds reported by process.getActiveResourcesInfo() that outlive the test that made them only by mistake. */
const leakKinds = new Set([
  'ChildProcess',
  'FSEventWrap',
  'PipeConnectWrap',
  'PipeServerWrap',
  'ProcessWrap',
  'StatWatcher',
  'TCPConnectWrap',
  'TCPServerWrap',
  'TCPSocketWrap',
]);

/** How long a handle that was closed may take to be gone. */
const graceMs = 3000;

/**
 * Threads do not show among the resources, so each is noted as it is made, with what it runs. The one that
 * esbuild keeps for tsx is not ours.
 */
const workers = new Map<workerThreads.Worker, string>();
const OriginalWorker = workerThreads.Worker;
workerThreads.Worker = class extends OriginalWorker {
  constructor(file: string | URL, options?: workerThreads.WorkerOptions) {
    super(file, options);
    if (String(file).includes('esbuild')) return;
    workers.set(this, options?.eval === true ? 'inline script' : String(file));
    this.once('exit', () => workers.delete(this));
  }
};

function activeLeaks(baseline: ReadonlyMap<string, number>): string[] {
  const handles = [...count()]
    .filter(([kind, number]) => leakKinds.has(kind) && number > (baseline.get(kind) ?? 0))
    .map(([kind, number]) => `${number - (baseline.get(kind) ?? 0)} × ${kind}`);
  return [...[...workers.values()].map((file) => `worker ${file}`), ...handles];
}

function count(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}

let baseline: Map<string, number>;

export const mochaHooks = {
  beforeAll(): void {
    baseline = count();
  },

  async afterAll(this: Mocha.Context): Promise<void> {
    this.timeout(graceMs * 2);
    const deadline = Date.now() + graceMs;
    let leaks = activeLeaks(baseline);
    while (leaks.length > 0 && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      leaks = activeLeaks(baseline);
    }
    if (leaks.length > 0) throw new Error(`the tests left handles open: ${leaks.join(', ')}`);
  },
};
