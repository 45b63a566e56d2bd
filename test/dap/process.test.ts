import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DebugClient } from '@vscode/debugadapter-testsupport';
import type { DebugProtocol } from '@vscode/debugprotocol';
import { createMessageReader, frameMessage } from '../../src/dap/framing';

// The built adapter as editors start it: a process of its own, with the machine in a worker.

const root = path.join(__dirname, '..', '..');
const adapter = path.join(root, 'dist', 'adapter.js');
const cli = path.join(root, 'bin', 'hyperstep.js');

/** initialize, launch of the sample to its entry, disconnect; returns the adapter's replies by request. */
async function session(
  input: NodeJS.ReadableStream,
  output: NodeJS.WritableStream,
): Promise<DebugProtocol.Response[]> {
  const responses: DebugProtocol.Response[] = [];
  let stopped = false;
  let wake = (): void => undefined;
  const reader = createMessageReader(
    (message) => {
      const { type } = message as DebugProtocol.ProtocolMessage;
      if (type === 'response') responses.push(message as DebugProtocol.Response);
      if (type === 'event' && (message as DebugProtocol.Event).event === 'stopped') stopped = true;
      wake();
    },
    (problem) => assert.fail(problem),
  );
  input.on('data', (chunk: Buffer) => reader.push(chunk));
  const until = async (done: () => boolean): Promise<void> => {
    while (!done()) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  let seq = 0;
  const request = async (command: string, args: object): Promise<void> => {
    output.write(frameMessage({ seq: ++seq, type: 'request', command, arguments: args }));
    await until(() => responses.length === seq);
  };
  await request('initialize', {});
  await request('launch', { stopOnEntry: true });
  await request('configurationDone', {});
  await until(() => stopped);
  await request('stackTrace', { threadId: 1 });
  await request('disconnect', {});
  return responses;
}

function checkReplies(responses: readonly DebugProtocol.Response[]): void {
  assert.ok(
    responses.every(({ success }) => success),
    JSON.stringify(responses),
  );
  const { body } = responses[3] as DebugProtocol.StackTraceResponse;
  assert.deepEqual(
    body.stackFrames.map(({ name }) => name),
    ['_start'],
  );
}

describe('dap: as a process', function () {
  this.timeout(30_000);
  before(() => {
    assert.ok(existsSync(adapter), 'dist/adapter.js: npm run build makes it');
  });

  /** A session from launch to the end by a client that is not ours: Microsoft's, from the protocol's own project. */
  async function wholeSession(dc: DebugClient): Promise<void> {
    const main = path.join(root, 'media', 'samples', 'first-hypercall', 'main.c');
    const line =
      readFileSync(main, 'utf8')
        .split('\n')
        .findIndex((text) => text.includes('map_shared_info();')) + 1;
    await dc.hitBreakpoint({}, { path: main, line });
    const { threads } = (await dc.threadsRequest()).body;
    assert.deepEqual(
      threads.map(({ name }) => name),
      ['d1 first-hypercall v0'],
    );
    const { stackFrames } = (await dc.stackTraceRequest({ threadId: 1 })).body;
    assert.deepEqual(
      stackFrames.map(({ name }) => name.replace(/\+.*/, '')),
      ['guest_main', '_start'],
    );
    const { scopes } = (await dc.scopesRequest({ frameId: stackFrames[0]?.id ?? 0 })).body;
    const variablesReference = scopes.find(({ name }) => name === 'Locals')?.variablesReference ?? 0;
    const { variables } = (await dc.variablesRequest({ variablesReference })).body;
    assert.ok(
      variables.some(({ name, type }) => name === 'info' && type === 'struct start_info *'),
      JSON.stringify(variables),
    );
    await dc.nextRequest({ threadId: 1 });
    const stepped = (await dc.waitForEvent('stopped', 20_000)) as DebugProtocol.StoppedEvent;
    assert.equal(stepped.body.reason, 'step');
    const terminated = dc.waitForEvent('terminated', 20_000);
    const printed = dc.assertOutput('stdout', 'console: PV console ring open', 20_000);
    await dc.continueRequest({ threadId: 1 });
    await Promise.all([printed, terminated]);
  }

  it('a client that is not ours drives a whole session on standard streams', async () => {
    const dc = new DebugClient('node', adapter, 'hyperstep');
    dc.defaultTimeout = 20_000;
    await dc.start();
    try {
      await wholeSession(dc);
    } finally {
      await dc.stop();
    }
  });

  it('a client that is not ours drives a whole session on a port', async () => {
    const child = spawn(process.execPath, [cli, 'dap', '--port', '0'], {
      stdio: ['ignore', 'inherit', 'pipe'],
    });
    const exit = once(child, 'exit');
    try {
      const [said] = (await once(child.stderr, 'data')) as [Buffer];
      const dc = new DebugClient('node', '', 'hyperstep');
      dc.defaultTimeout = 20_000;
      await dc.start(Number(/127\.0\.0\.1:(\d+)/.exec(said.toString())?.[1]));
      await wholeSession(dc);
      await dc.disconnectRequest();
    } finally {
      child.kill();
    }
    await exit;
  });

  it('hyperstep dap: standard streams, and the process ends after disconnect', async () => {
    const child = spawn(process.execPath, [cli, 'dap'], { stdio: ['pipe', 'pipe', 'inherit'] });
    const exit = once(child, 'exit');
    try {
      checkReplies(await session(child.stdout, child.stdin));
      assert.deepEqual(await exit, [0, null]);
    } finally {
      child.kill();
    }
  });

  it('hyperstep dap: ends when its input ends without a word', async () => {
    const child = spawn(process.execPath, [cli, 'dap'], { stdio: ['pipe', 'ignore', 'inherit'] });
    const exit = once(child, 'exit');
    child.stdin.end(frameMessage({ seq: 1, type: 'request', command: 'launch', arguments: {} }));
    try {
      assert.deepEqual(await exit, [0, null]);
    } finally {
      child.kill();
    }
  });

  it('hyperstep dap --port: two clients, each with a machine of its own', async () => {
    const child = spawn(process.execPath, [cli, 'dap', '--port', '0'], {
      stdio: ['ignore', 'inherit', 'pipe'],
    });
    const exit = once(child, 'exit');
    try {
      const [said] = (await once(child.stderr, 'data')) as [Buffer];
      const port = Number(/127\.0\.0\.1:(\d+)/.exec(said.toString())?.[1]);
      await Promise.all(
        [1, 2].map(async () => {
          const socket = connect(port, '127.0.0.1');
          checkReplies(await session(socket, socket));
          socket.destroy();
        }),
      );
    } finally {
      child.kill();
    }
    await exit;
  });

  it('hyperstep dap --pipe', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'hyperstep-'));
    const pipe =
      process.platform === 'win32' ? `\\\\.\\pipe\\${path.basename(folder)}` : path.join(folder, 'dap');
    const child = spawn(process.execPath, [cli, 'dap', '--pipe', pipe], { stdio: 'inherit' });
    const exit = once(child, 'exit');
    try {
      for (const deadline = Date.now() + 10_000; ;) {
        if (existsSync(pipe)) break;
        assert.ok(Date.now() < deadline, 'the pipe does not appear');
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      const socket = connect(pipe);
      checkReplies(await session(socket, socket));
      socket.destroy();
    } finally {
      child.kill();
      rmSync(folder, { recursive: true, force: true });
    }
    await exit;
  });

  it('hyperstep dap: a port that is taken, a pipe that cannot be', async () => {
    const run = async (...args: string[]): Promise<[number, string]> => {
      const child = spawn(process.execPath, [cli, 'dap', ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
      let text = '';
      child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
      const [code] = (await once(child, 'exit')) as [number];
      return [code, text];
    };
    const [code, text] = await run('--pipe', '/nowhere/at/all/dap');
    assert.equal(code, 2);
    assert.match(text, /^hyperstep: cannot listen on pipe \/nowhere\/at\/all\/dap: .*\n$/);
    assert.deepEqual((await run('--port', '99999'))[0], 2);
  });
});
