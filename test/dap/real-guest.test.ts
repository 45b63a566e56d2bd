import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { DebugProtocol } from '@vscode/debugprotocol';
import { adapterHost } from '../../src/host/adapter';
import { inProcessTarget } from '../../src/host/machine';
import type { Client } from '../support/dap-client';
import { connect } from '../support/dap-client';
import { guestPath } from '../support/guests';
import { withLine } from '../support/lines';

// The adapter on the real machine: the bundled sample, and GRUB, which nobody here wrote.

const samples = path.join(__dirname, '..', '..', 'media', 'samples', 'first-hypercall');
const main = path.join(samples, 'main.c');

/** GRUB moves its cursor about by these. */
const escapes = new RegExp(`${String.fromCharCode(27)}\\[[\\d;?]*[A-Za-z]`, 'g');

describe('dap: real guests', function () {
  this.timeout(60_000);
  let client: Client;
  afterEach(() => client.close());

  const place = async (): Promise<string> => {
    const frame = (await client.stack()).find(({ source }) => source !== undefined);
    return `${frame?.source?.name ?? '?'}:${frame?.line ?? 0}`;
  };
  const functions = async (...names: string[]): Promise<void> => {
    const { body } = await client.dc.setFunctionBreakpointsRequest({
      breakpoints: names.map((name) => ({ name })),
    });
    for (const { verified, message } of body.breakpoints) assert.ok(verified, message);
  };
  const variables = async (scope: string): Promise<Map<string, DebugProtocol.Variable>> => {
    const [frame] = await client.stack();
    const { scopes } = (await client.dc.scopesRequest({ frameId: frame?.id ?? 0 })).body;
    const variablesReference = scopes.find(({ name }) => name === scope)?.variablesReference ?? 0;
    const list = (await client.dc.variablesRequest({ variablesReference })).body.variables;
    return new Map(list.map((one) => [one.name, one]));
  };

  for (const where of ['in this thread', 'in a worker'] as const) {
    it(`the sample ${where}: source lines, a hypercall and its refusal, to poweroff`, async function () {
      const worker = path.join(__dirname, '..', '..', 'dist', 'worker.js');
      if (where === 'in a worker') assert.ok(existsSync(worker), 'dist/worker.js: npm run build makes it');
      client = await connect(adapterHost(where === 'in this thread' ? { inProcess: inProcessTarget } : {}));
      await client.launch({ stopOnEntry: true });
      await client.stopped();
      assert.deepEqual(
        (await client.stack()).map(({ name }) => name),
        ['_start'],
      );
      assert.equal(await place(), `boot.S:${withLine(path.join(samples, 'boot.S'), 'cld')}`);
      const { threads } = (await client.dc.threadsRequest()).body;
      assert.deepEqual(
        threads.map(({ name }) => name),
        ['d1 first-hypercall v0'],
      );

      // Source lines.
      const line = withLine(main, 'open_console();');
      const { body } = await client.dc.setBreakpointsRequest({
        source: { path: main },
        breakpoints: [{ line }],
      });
      assert.deepEqual([body.breakpoints[0]?.verified, body.breakpoints[0]?.line], [true, line]);
      assert.equal((await client.go('continue')).reason, 'breakpoint');
      assert.equal(await place(), `main.c:${line}`);
      await client.dc.setBreakpointsRequest({ source: { path: main }, breakpoints: [] });
      await client.go('next');
      assert.equal(await place(), `main.c:${line + 1}`, 'over open_console, with its hypercalls');
      assert.match(client.output(), /console: PV console ring open/);
      await client.go('stepIn');
      assert.equal((await client.stack())[0]?.name.split('+')[0], 'ask_version');
      await client.go('stepOut');
      assert.equal((await client.stack())[0]?.name.split('+')[0], 'guest_main');

      // A hypercall, its arguments, and the way back.
      await functions('hypercall:mmu_update');
      const stop = await client.go('continue');
      assert.match(stop.description ?? '', /^Hypercall mmu_update/);
      const names = (await client.stack()).map(({ name }) => name.replace(/\+.*/, ''));
      assert.match(names[0] ?? '', /^hypercall mmu_update.*\(ureqs=/);
      assert.ok(names.includes('build_page_table') && names.at(-1) === '_start', names.join(' < '));
      const args = await variables('Hypercall');
      assert.equal(args.get('count')?.value, '1');
      const { result } = (
        await client.dc.evaluateRequest({ expression: 'ureqs[0].ptr & 7', context: 'watch' })
      ).body;
      assert.equal(result, '0', 'MMU_NORMAL_PT_UPDATE');
      await client.go('next', { granularity: 'instruction' });
      assert.deepEqual(
        (await client.stack()).map(({ name }) => name.replace(/\+.*/, '')),
        names.slice(1),
        'the call is over, and nothing else',
      );
      assert.equal(BigInt((await variables('General')).get('rax')?.value ?? '1'), 0n, 'it succeeded');

      // What the editor's trees ask for.
      const walk = await client.custom('hyperstep/walk', { address: 'rsp' });
      assert.deepEqual(
        walk.levels.map(({ level }) => level),
        [4, 3, 2, 1],
      );
      const { entries } = await client.custom('hyperstep/pageTable', { path: [] });
      assert.ok(entries.some(({ table }) => table));
      const machine = walk.machineAddress ?? '';
      const read = async (memoryReference: string): Promise<unknown> =>
        (
          (await client.dc.customRequest('readMemory', { memoryReference, count: 16 })).body as {
            data: string;
          }
        ).data;
      const { result: rsp } = (await client.dc.evaluateRequest({ expression: 'rsp', context: 'watch' })).body;
      assert.equal(
        await read(`machine:${machine}`),
        await read(rsp.split(' ')[0] ?? ''),
        'two names of the same memory',
      );
      assert.ok((await variables('Hypervisor')).size > 3);

      // A refusal with its reason.
      await functions();
      await client.dc.setExceptionBreakpointsRequest({ filters: ['hypercall-failed'] });
      const refusal = await client.go('continue');
      assert.equal(refusal.reason, 'exception');
      const info = (await client.dc.exceptionInfoRequest({ threadId: 1 })).body;
      assert.equal(info.exceptionId, 'hypercall-failed');
      assert.match(info.description ?? '', /EINVAL|EBUSY/);
      assert.ok((info.description ?? '').length > 40, `in words: ${info.description ?? ''}`);

      await client.dc.setExceptionBreakpointsRequest({ filters: [] });
      await client.dc.continueRequest({ threadId: 1 });
      await client.event('terminated');
      assert.deepEqual(client.events.find(({ event }) => event === 'exited')?.body, { exitCode: 0 });
      assert.match(client.output(), /first-hypercall: done/);
    });
  }

  it('the sample: restart runs the same again, to the instruction', async () => {
    client = await connect(adapterHost({ inProcess: inProcessTarget }));
    await client.launch({ stopOnEntry: true });
    await client.stopped();
    const run = async (): Promise<string> => {
      await functions('hypercall:sched_op.shutdown');
      await client.go('continue');
      const trace = await client.custom('hyperstep/trace', { from: 0, count: 10_000 });
      assert.ok(trace.records.length > 20);
      return JSON.stringify(trace.records);
    };
    const first = await run();
    await client.dc.restartRequest({});
    assert.equal((await client.stopped()).reason, 'entry');
    assert.equal(await run(), first);
  });

  it('a kernel that can be read and does not boot refuses a restart; the session is what it was', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'restart-'));
    try {
      const kernel = path.join(folder, 'kernel.elf');
      copyFileSync(path.join(samples, 'first-hypercall.elf'), kernel);
      client = await connect(adapterHost({ inProcess: inProcessTarget }));
      await client.launch({ kernel, stopOnEntry: true });
      await client.stopped();
      await client.go('stepIn', { granularity: 'instruction' });
      const rip = async (): Promise<string> =>
        (await client.dc.evaluateRequest({ expression: 'rip', context: 'repl' })).body.result;
      const before = await rip();
      // An ELF file, and no kernel: of a program of this computer, and a kernel that wants too much memory.
      copyFileSync(process.execPath, kernel);
      const refused = await client.refused('restart');
      assert.match(refused.message ?? '', /kernel\.elf/);
      assert.notEqual((await client.stopped()).reason, 'exited');
      assert.equal(await rip(), before);
      copyFileSync(path.join(samples, 'first-hypercall.elf'), kernel);
      const tooSmall = await client.refused('restart', {
        arguments: { kernel, memory: '1M', stopOnEntry: true },
      });
      assert.match(tooSmall.message ?? '', /memory|MiB|KiB|fit/i);
      await client.stopped();
      await client.go('stepIn', { granularity: 'instruction' });
      assert.notEqual(await rip(), before);
      await client.dc.customRequest('restart', {
        arguments: { kernel, stopOnEntry: true, cmdline: 'other' },
      });
      assert.equal((await client.stopped()).reason, 'entry');
      assert.ok(!client.events.some(({ event }) => event === 'terminated'));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('two vCPUs are two threads; one that is offline can be looked at, not stepped', async () => {
    client = await connect(adapterHost({ inProcess: inProcessTarget }));
    await client.launch({ stopOnEntry: true, vcpus: 2 });
    await client.stopped();
    const { threads } = (await client.dc.threadsRequest()).body;
    assert.deepEqual(
      threads.map(({ name }) => name),
      ['d1 first-hypercall v0', 'd1 first-hypercall v1 (offline)'],
    );
    const second = threads[1]?.id ?? 0;
    assert.equal((await client.dc.stackTraceRequest({ threadId: second })).body.stackFrames.length, 1);
    assert.match((await client.refused('next', { threadId: second })).message ?? '', /d1v1 is offline/);
    assert.equal((await client.go('next')).threadId, threads[0]?.id);
  });

  it('a kernel that is none, or for something else, is refused in words; the next launch works', async () => {
    client = await connect(adapterHost({ inProcess: inProcessTarget }));
    await client.dc.initializeRequest();
    const cases: [object, RegExp][] = [
      [{ kernel: main }, /main\.c.*neither an ELF file nor a bzImage/],
      [{ kernel: path.join(samples, 'nothing') }, /cannot read/],
      [{ kernel: process.execPath }, /node/],
      [{ memory: '1M' }, /memory|MiB|KiB|fit/i],
    ];
    for (const [args, message] of cases) {
      assert.match((await client.refused('launch', args)).message ?? '', message);
    }
    await client.dc.launchRequest({ stopOnEntry: true } as DebugProtocol.LaunchRequestArguments);
    await client.dc.configurationDoneRequest();
    await client.stopped();
  });

  it('GRUB: to its prompt, commands answered, a hypercall breakpoint, halt', async function () {
    const kernel = guestPath('grub', this);
    client = await connect(adapterHost({ inProcess: inProcessTarget }));
    await client.launch({ kernel, memory: '128M', noConfigurationDone: true });
    await functions('hypercall:grant_table_op');
    await client.dc.configurationDoneRequest();
    const stop = await client.stopped();
    assert.match(stop.description ?? '', /^Hypercall grant_table_op/);
    const args = await variables('Hypercall');
    assert.ok(args.has('cmd'), [...args.keys()].join(' '));
    await functions();
    await client.dc.continueRequest({ threadId: 1 });

    const seen = async (text: RegExp, from = 0): Promise<number> => {
      for (const deadline = Date.now() + 20_000; Date.now() < deadline;) {
        const plain = client.output().slice(from);
        if (text.test(plain.replace(escapes, ''))) return client.output().length;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return assert.fail(`${String(text)} not seen in: ${JSON.stringify(client.output().slice(from))}`);
    };
    const type = async (line: string, answer: RegExp): Promise<void> => {
      const from = client.output().length;
      await client.custom('hyperstep/consoleInput', { domain: 1, data: `${line}\r` });
      await seen(answer, from);
    };
    await seen(/grub> ?/);
    await type('echo one two', /one two[\s\S]*grub>/);
    await type('set colour=blue', /grub>/);
    await type('echo [$colour]', /\[blue\][\s\S]*grub>/);

    // Looking at a guest that waits for a key.
    await client.dc.pauseRequest({ threadId: 1 });
    assert.equal((await client.stopped()).reason, 'pause');
    assert.ok((await client.stack()).length > 0);
    const summary = await client.custom('hyperstep/traceSummary', {});
    assert.ok(summary.calls.some(({ name }) => name === 'event_channel_op'));
    await client.dc.continueRequest({ threadId: 1 });

    await client.custom('hyperstep/consoleInput', { domain: 1, data: 'halt\r' });
    await client.event('terminated');
    assert.deepEqual(client.events.find(({ event }) => event === 'exited')?.body, { exitCode: 0 });
  });
});
