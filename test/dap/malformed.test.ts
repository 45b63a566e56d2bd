import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import type { DebugProtocol } from '@vscode/debugprotocol';
import { createMessageReader, frameMessage } from '../../src/dap/framing';
import { refusedRequests } from '../../src/dap/capabilities';
import { handlers } from '../../src/dap/requests';
import { createFakeHost } from '../support/fake-host';
import type { InlineClient } from '../support/inline-client';
import { connectInline } from '../support/inline-client';
import { createRandom } from '../support/random';
import { wrongArguments } from '../support/wrong-arguments';

/** These end the machine, or make another one, which is not what is tested here. */
const ending = new Set(['disconnect', 'terminate', 'restart', 'launch']);

describe('dap: malformed messages and arguments', () => {
  let client: InlineClient;
  beforeEach(() => {
    client = connectInline(createFakeHost());
  });
  afterEach(() => client.close());

  const launch = async (): Promise<void> => {
    await client.request('initialize', { adapterID: 'hyperstep' });
    await client.request('launch', { stopOnEntry: true });
    await client.request('configurationDone');
    await client.event('stopped');
  };
  const alive = async (): Promise<void> => {
    const response = await client.request('evaluate', { expression: '6 * 7', context: 'watch' });
    assert.deepEqual([response.success, (response.body as { result: string }).result], [true, '0x2a (42)']);
  };

  it('reports messages that are no requests, and lives', async () => {
    await launch();
    for (const message of [
      null,
      1,
      'x',
      [],
      {},
      { type: 'request' },
      { type: 'request', command: 7, seq: 1 },
      { type: 'request', command: 'threads' },
      { type: 'event', event: 'x' },
    ]) {
      client.post(message);
      const { body } = await client.event('output').then(async (event) => {
        let last = event;
        while (!(last.body as { output: string }).output.startsWith('malformed'))
          last = await client.event('output');
        return last as DebugProtocol.OutputEvent;
      });
      assert.equal(body.category, 'stderr');
    }
    client.post({ type: 'response', request_seq: 99 });
    await alive();
  });

  it('names the request it does not know, and the argument that does not fit', async () => {
    await launch();
    const cases: [command: string, args: unknown, message: RegExp][] = [
      ['flyToTheMoon', {}, /request 'flyToTheMoon' is not known/],
      ['toString', {}, /request 'toString' is not known/],
      ['stackTrace', undefined, /arguments: expected an object, got nothing/],
      ['stackTrace', { threadId: '1' }, /threadId: expected a whole number, got "1"/],
      ['stackTrace', { threadId: 77 }, /there is no thread 77/],
      ['stackTrace', { threadId: 1, levels: -1 }, /levels: expected a whole number, not negative, got -1/],
      ['scopes', { frameId: 4711 }, /there is no frame 4711/],
      ['variables', { variablesReference: 5 }, /there are no variables 5/],
      [
        'setBreakpoints',
        { source: {}, breakpoints: [{ line: 'x' }] },
        /breakpoints\[0\]\.line: expected a whole number, got "x"/,
      ],
      ['setFunctionBreakpoints', { breakpoints: {} }, /breakpoints: expected a list/],
      [
        'next',
        { threadId: 1, granularity: 'yard' },
        /granularity: expected statement, line, instruction, got "yard"/,
      ],
      ['disassemble', { memoryReference: '0x0', instructionCount: 1e9 }, /at most 20000 instructions/],
      ['hyperstep/pageTable', { path: [-1] }, /path\[0\]: expected/],
      ['attach', {}, /nothing to attach to/],
      ['launch', {}, /running already/],
      ['initialize', { pathFormat: 'dos' }, /pathFormat 'dos'/],
      ['dataBreakpointInfo', { name: 7 }, /name: expected a text, got 7/],
      ['dataBreakpointInfo', { name: 'x', bytes: -1 }, /bytes: expected a whole number, not negative/],
      [
        'setDataBreakpoints',
        { breakpoints: [{ dataId: 'machine', accessType: 'smell' }] },
        /breakpoints\[0\]\.accessType: expected read, write, readWrite, got "smell"/,
      ],
      ['stepInTargets', { frameId: 4711 }, /there is no frame 4711/],
      ['stepIn', { threadId: 1, targetId: 4711 }, /there is no target 4711/],
      ['goto', { threadId: 1, targetId: 4711 }, /there is no target 4711/],
      ['evaluate', { expression: '1', format: 7 }, /format: expected an object, got 7/],
      ['stepBack', { threadId: 1 }, /no history is kept/],
      ['source', { sourceReference: 1 }, /sources are files/],
      ['exceptionInfo', { threadId: 1 }, /not stopped at an exception/],
    ];
    for (const [command, args, message] of cases) {
      const response = (await client.request(command, args)) as DebugProtocol.ErrorResponse;
      assert.equal(response.success, false, command);
      assert.match(response.message ?? '', message);
      assert.equal(response.body.error?.variables?.['_text'], response.message);
    }
    await alive();
  });

  it('answers every request before there is a machine', async () => {
    for (const command of handlers.keys()) {
      if (ending.has(command)) continue;
      const response = await client.request(command, { threadId: 1, frameId: 1, variablesReference: 1, name: 'x', value: '1', expression: '1', text: 'r', column: 1, vcpu: 0, at: '/', memoryReference: '0x0', count: 1, instructionCount: 1, data: '', address: '0', mfn: 0, from: 0, path: [], file: 'x', question: { kind: 'info' }, prefix: '', retired: 1, rip: '0x0', vdev: 'xvda', change: 'plug', request: 'suspend', how: 'anew', domain: 1, line: 1, filters: [], breakpoints: [], targetId: 1, locationReference: 1, source: { path: '/x' } }); // prettier-ignore
      assert.ok(
        response.success ||
          /no machine|nothing to attach|sources are files/.test(response.message ?? '') ||
          refusedRequests.has(command),
        `${command}: ${response.message ?? ''}`,
      );
    }
    await launch();
    await alive();
  });

  it('takes configurationDone before launch, and continue before configurationDone', async () => {
    await client.request('configurationDone');
    await client.request('initialize', {});
    await client.request('launch', { stopOnEntry: true });
    await client.event('stopped');
    await alive();

    const early = connectInline(createFakeHost());
    await early.request('launch', {});
    await early.request('continue', { threadId: 1 });
    await early.event('terminated');
    await early.close();
  });

  it('refuses launches that cannot be, in words, and takes the next', async () => {
    const cases: [args: object, message: RegExp][] = [
      [{ kernel: '/nowhere/vmlinuz' }, /^kernel: cannot read '\/nowhere\/vmlinuz': ENOENT/],
      [{ kernel: '/guests/kernel', ramdisk: '/nowhere/initrd' }, /^ramdisk: cannot read '\/nowhere\/initrd'/],
      [{ config: '/nowhere/x.cfg' }, /^config: cannot read '\/nowhere\/x.cfg'/],
      [{ memory: 'lots' }, /^memory: 'lots' is not a size/],
      [{ memory: 0 }, /^memory: '0' is outside of 1M to 3584M/],
      [{ memory: '99999G' }, /^memory: '99999G' is outside/],
      [{ vcpus: 0 }, /^vcpus: 0 is not a whole number from 1 to/],
      [{ vcpus: 1e6 }, /^vcpus: 1000000 is not/],
      [{ kernel: 5 }, /^kernel: expected a text, got 5/],
    ];
    for (const [args, message] of cases) {
      const response = (await client.request('launch', args)) as DebugProtocol.ErrorResponse;
      assert.match(response.message ?? '', message);
      assert.equal(response.body.error?.showUser, true);
    }
    await launch();
    await alive();
  });

  it('an error of the machine is an error response, not the end', async () => {
    const failing = connectInline(
      createFakeHost({
        failing: { hypervisorState: 'the worker {lost} its mind', run: 'internal error at 0x10' },
      }),
    );
    await failing.request('launch', { stopOnEntry: true });
    await failing.request('configurationDone');
    await failing.event('stopped');
    const { body: trace } = (await failing.request('stackTrace', {
      threadId: 1,
    })) as DebugProtocol.StackTraceResponse;
    const { body: scopes } = (await failing.request('scopes', {
      frameId: trace.stackFrames[0]?.id,
    })) as DebugProtocol.ScopesResponse;
    const variablesReference = scopes.scopes.find(({ name }) => name === 'Hypervisor')?.variablesReference;
    const refused = (await failing.request('variables', {
      variablesReference,
    })) as DebugProtocol.ErrorResponse;
    assert.equal(refused.message, 'the worker {lost} its mind');
    assert.equal(refused.body.error?.format, '{_text}');
    assert.equal(refused.body.error.showUser, true);

    await failing.request('continue', { threadId: 1 });
    const stop = (await failing.event('stopped')) as DebugProtocol.StoppedEvent;
    assert.equal(stop.body.reason, 'pause', 'a run that failed leaves the machine standing');
    assert.ok(failing.log.some((one) => JSON.stringify(one).includes('internal error at 0x10')));
    await failing.close();
  });

  it('survives wrong arguments of every request (fuzz)', async () => {
    await launch();
    const random = createRandom(4711);
    const commands = [...handlers.keys()].filter(
      (one) => !ending.has(one) && !/^(continue|next|step|pause)/.test(one),
    );
    for (let i = 0; i < 3000; i++) {
      const command = random.pick(commands);
      const response = await client.request(command, wrongArguments(random));
      assert.equal(response.type, 'response');
      if (!response.success) assert.ok((response.message ?? '').length > 0, command);
    }
    await client.request('setFunctionBreakpoints', { breakpoints: [] });
    await alive();
  });

  it('cancels a launch under way', async () => {
    const host = createFakeHost();
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const slow = connectInline({
      ...host,
      createTarget: async (config) => (await gate, host.createTarget(config)),
    });
    await slow.request('initialize', { supportsProgressReporting: true });
    const launching = slow.request('launch', {});
    const progress = (await slow.event('progressStart')) as DebugProtocol.ProgressStartEvent;
    assert.deepEqual([progress.body.title, progress.body.cancellable], ['Booting', true]);
    for (let text = ''; !text.startsWith('building');) {
      text = ((await slow.event('progressUpdate')) as DebugProtocol.ProgressUpdateEvent).body.message ?? '';
    }
    assert.equal((await slow.request('cancel', { progressId: progress.body.progressId })).success, true);
    release();
    assert.equal((await launching).message, 'cancelled');
    await slow.event('progressEnd');
    assert.ok(host.targets[0]?.disposed(), 'the machine that nobody waits for is gone');
    assert.equal((await slow.request('launch', { stopOnEntry: true })).success, true);
    await slow.close();
  });

  it('on standard streams: garbage, wrong lengths and bad JSON, and the adapter still answers', async function () {
    this.timeout(30_000);
    const script = path.join(__dirname, '..', 'support', 'fake-adapter.ts');
    const child = spawn(process.execPath, ['--import', 'tsx', script], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const messages: DebugProtocol.ProtocolMessage[] = [];
    let wake = (): void => undefined;
    const reader = createMessageReader(
      (message) => {
        messages.push(message as DebugProtocol.ProtocolMessage);
        wake();
      },
      (problem) => assert.fail(`the adapter itself sent a malformed message: ${problem}`),
    );
    child.stdout.on('data', (chunk: Buffer) => reader.push(chunk));
    const response = async (seq: number): Promise<DebugProtocol.Response> => {
      for (;;) {
        const found = messages.find(
          (one) => one.type === 'response' && (one as DebugProtocol.Response).request_seq === seq,
        );
        if (found !== undefined) return found as DebugProtocol.Response;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    };
    const random = createRandom(99);
    const send = (seq: number, command: string, args: object): void => {
      child.stdin.write(frameMessage({ seq, type: 'request', command, arguments: args }));
    };
    try {
      send(1, 'initialize', {});
      await response(1);
      const garbage = [
        'EHLO x\r\n\r\n', 'Content-Length: x\r\n\r\n', 'Content-Length: 2\r\n\r\n{{', 'Content-Length: 4\r\n\r\nnull',
        'Content-Length: 70000000000\r\n\r\n', 'Content-Length: 2\r\n\r\n[]', '\r\n\r\n\r\n\r\n',
      ]; // prettier-ignore
      for (let seq = 2; seq < 120; seq++) {
        child.stdin.write(random.pick(garbage));
        send(seq, 'threads', wrongArguments(random));
        const { success } = await response(seq);
        assert.ok(success);
      }
      send(120, 'launch', { stopOnEntry: true });
      assert.ok((await response(120)).success);
      send(121, 'disconnect', {});
      await response(121);
      const [code] = (await once(child, 'exit')) as [number];
      assert.equal(code, 0, 'it ends by itself once the client has gone');
    } finally {
      child.kill();
    }
  });
});
