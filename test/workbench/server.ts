import type { ChildProcess } from 'node:child_process';
import { execFileSync, spawn } from 'node:child_process';
import { appendFileSync, copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import type { Workbench } from '../../scripts/workbench-install';

export interface EditorServer {
  readonly url: string;
  readonly pid: number;
  /** Ends it and every process it started. */
  stop(): Promise<void>;
}

const settings = {
  'workbench.startupEditor': 'none',
  'workbench.secondarySideBar.defaultVisibility': 'hidden',
  'workbench.tips.enabled': false,
  'telemetry.telemetryLevel': 'off',
  'extensions.autoUpdate': false,
  'extensions.autoCheckUpdates': false,
  'extensions.ignoreRecommendations': true,
  'chat.disableAIFeatures': true,
  'git.enabled': false,
  'remote.autoForwardPorts': false,
  // Rows of text in the DOM, which tests can read, rather than a canvas.
  'terminal.integrated.gpuAcceleration': 'off',
};

const waitMs = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => {
        if (address !== null && typeof address === 'object') resolve(address.port);
        else reject(new Error('no free port'));
      });
    });
  });
}

async function isHealthy(url: string): Promise<boolean> {
  try {
    // Kept-alive connections would outlast the test.
    return (await fetch(`${url}/healthz`, { headers: { connection: 'close' } })).ok;
  } catch {
    return false;
  }
}

/** Ends a process group that was started here: first kindly. */
async function endGroup(child: ChildProcess): Promise<void> {
  const { pid } = child;
  if (pid === undefined) return;
  const ended = new Promise<void>((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once('exit', () => resolve());
  });
  const signal = (name: NodeJS.Signals): void => {
    try {
      process.kill(-pid, name);
    } catch {
      // The group is gone.
    }
  };
  signal('SIGTERM');
  const kindly = await Promise.race([ended.then(() => true), waitMs(5000).then(() => false)]);
  signal('SIGKILL');
  if (!kindly) await ended;
}

/**
 * Starts code-server with extensions, everything it writes in `home`.
 *
 * @param trust whether workspaces are trusted without being asked for
 * @param log file that gets what it says
 * @param inside whether windows can run tests beside the extensions; notifications do not pop up then
 */
export async function startServer(
  workbench: Workbench,
  home: string,
  vsixes: readonly string[],
  {
    trust,
    log,
    inside = false,
  }: { readonly trust: boolean; readonly log: string; readonly inside?: boolean },
): Promise<EditorServer> {
  const at = (name: string): string => path.join(home, name);
  mkdirSync(at('user/User'), { recursive: true });
  writeFileSync(at('config.yaml'), '{}');
  writeFileSync(
    at('user/User/settings.json'),
    JSON.stringify({
      ...settings,
      'security.workspace.trust.enabled': !trust,
      'security.workspace.trust.startupPrompt': 'never',
    }),
  );
  // Its native one is not compiled, and then there are no logs.
  const vscode = path.join(workbench.server, '../../../lib/vscode');
  copyFileSync(
    path.join(__dirname, 'spdlog.cjs'),
    path.join(vscode, 'node_modules', '@vscode', 'spdlog', 'index.js'),
  );
  const env = {
    ...process.env,
    HOME: home,
    EXTENSIONS_GALLERY: '{}',
    PATH: `${path.dirname(workbench.node)}${path.delimiter}${process.env['PATH'] ?? ''}`,
    // Not to be taken for the window of an editor in which the tests may run.
    VSCODE_IPC_HOOK_CLI: undefined,
  };
  const common = [workbench.server, '--config', at('config.yaml'), '--user-data-dir', at('user')];
  const folders = [...common, '--extensions-dir', at('extensions')];
  const install = vsixes.flatMap((vsix) => ['--install-extension', vsix]);
  execFileSync(workbench.node, [...folders, ...install], { env, stdio: 'pipe' });

  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const child = spawn(
    workbench.node,
    [
      ...(inside ? [path.join(__dirname, 'smoke-test-driver.cjs')] : []),
      ...folders,
      ...['--bind-addr', `127.0.0.1:${port}`, '--auth', 'none'],
      '--disable-telemetry',
      '--disable-update-check',
      '--disable-getting-started-override',
      ...(trust ? ['--disable-workspace-trust'] : []),
      ...(inside ? ['--enable-smoke-test-driver'] : []),
    ],
    // A group of its own, so that what it starts can be ended with it.
    { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data: Buffer) => {
      appendFileSync(log, data);
    });
  }
  const stop = (): Promise<void> => endGroup(child);
  for (let tries = 0; tries < 300; tries++) {
    if (child.exitCode !== null) break;
    if (await isHealthy(url)) return { url, pid: child.pid ?? 0, stop };
    await waitMs(100);
  }
  await stop();
  throw new Error(`code-server did not come up; see ${log}`);
}
