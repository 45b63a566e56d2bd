import assert from 'node:assert/strict';
import type { Client } from '../support/dap-client';
import { connect } from '../support/dap-client';
import type { FakeHost } from '../support/fake-host';
import { createFakeHost } from '../support/fake-host';
import { program } from '../support/fake-program';

const at = (label: string, plus = 0n): bigint => (program.labels.get(label) ?? 0n) + plus;
const hex = (value: bigint): string => `0x${value.toString(16)}`;

describe('dap: running and stepping', () => {
  let host: FakeHost;
  let client: Client;
  beforeEach(async () => {
    host = createFakeHost();
    client = await connect(host);
  });
  afterEach(() => client.close());

  const rip = async (): Promise<bigint> => {
    const { body } = await client.dc.evaluateRequest({ expression: '$rip', context: 'watch' });
    return BigInt(body.result.split(' ')[0] ?? '0');
  };
  const frames = async (): Promise<string[]> => (await client.stack()).map(({ name }) => name);

  it('stops on entry, steps by instruction into, over and out of calls', async () => {
    await client.launch({ stopOnEntry: true });
    const entry = await client.stopped();
    assert.deepEqual([entry.reason, entry.threadId, entry.allThreadsStopped], ['entry', 1, true]);
    assert.equal(await rip(), at('start'));

    await client.dc.stepInRequest({ threadId: 1, granularity: 'instruction' });
    assert.equal((await client.stopped()).reason, 'step');
    assert.equal(await rip(), at('setup'));
    assert.deepEqual(await frames(), ['setup', 'start+0x5']);

    await client.dc.stepOutRequest({ threadId: 1, granularity: 'instruction' });
    await client.stopped();
    assert.equal(await rip(), at('start', 5n));

    await client.dc.nextRequest({ threadId: 1, granularity: 'instruction' });
    await client.stopped();
    assert.equal(await rip(), at('again'));
    await client.dc.nextRequest({ threadId: 1, granularity: 'instruction' });
    await client.stopped();
    assert.equal(await rip(), at('again', 5n), 'over the call of work, and of leaf inside it');
  });

  it('steps by line, into a function past its prologue and out of it', async () => {
    await client.launch({ stopOnEntry: true });
    await client.stopped();
    const step = async (command: 'next' | 'stepIn' | 'stepOut'): Promise<number> => {
      await client.dc.send(command, { threadId: 1 });
      await client.stopped();
      return (await client.stack())[0]?.line ?? 0;
    };
    assert.equal(await step('next'), 11, 'over setup');
    assert.equal(await step('next'), 12);
    assert.equal(await step('stepIn'), 41, 'in work, past its prologue');
    assert.deepEqual(await frames(), ['work+0x4', 'start+0xf']);
    assert.equal(await step('next'), 42, 'over leaf');
    assert.equal(await step('stepOut'), 13);
  });

  it('runs through the console and the shutdown to terminated', async () => {
    await client.launch();
    await client.event('terminated');
    assert.match(client.output(), /hello, wörld\n/);
    assert.match(client.output(), /powered off/);
    const exited = client.events.find(({ event }) => event === 'exited');
    assert.deepEqual(exited?.body, { exitCode: 0 });
    // As dape does at `terminated`; a second one would be answered with a second `terminate`, and so on.
    await client.dc.terminateRequest({});
    await client.dc.send('threads').catch(() => undefined);
    assert.equal(client.events.filter(({ event }) => event === 'terminated').length, 1);
    const raw = client.events
      .filter(({ event }) => event === 'hyperstep/console')
      .map(({ body }) => body as unknown);
    assert.deepEqual(raw, [{ domain: 1, console: 0, data: 'hello, wörld\r\n' }]);
  });

  it('pauses a loop, and takes requests while it runs', async () => {
    await client.launch({ stopOnEntry: true });
    await client.stopped();
    await client.dc.evaluateRequest({ expression: `rip = ${hex(at('spin'))}`, context: 'repl' });
    await client.dc.continueRequest({ threadId: 1 });
    // Each interrupts the run, which goes on by itself.
    const { body } = await client.dc.evaluateRequest({ expression: '1 + 1', context: 'repl' });
    assert.equal(body.result, '2');
    const memory = await client.dc.customRequest('readMemory', {
      memoryReference: hex(at('spin')),
      count: 2,
    });
    assert.equal(Buffer.from((memory.body as { data: string }).data, 'base64').toString('hex'), 'ebfe');
    assert.equal((await client.dc.threadsRequest()).body.threads.length, 1);
    const refused = await client.refused('stackTrace', { threadId: 1 });
    assert.equal(refused.message, 'notStopped');
    assert.equal(
      client.events.filter(({ event }) => event === 'stopped').length,
      1,
      'none of them looks like a stop',
    );
    await client.dc.pauseRequest({ threadId: 1 });
    assert.equal((await client.stopped()).reason, 'pause');
    assert.equal(await rip(), at('spin'));
  });

  it('sets a breakpoint in a running machine', async () => {
    await client.launch({ stopOnEntry: true });
    await client.stopped();
    await client.dc.evaluateRequest({ expression: `$rip = ${hex(at('spin'))}`, context: 'repl' });
    await client.dc.continueRequest({ threadId: 1 });
    await client.dc.send('setFunctionBreakpoints', { breakpoints: [{ name: `*${hex(at('spin'))}` }] });
    assert.equal((await client.stopped()).reason, 'function breakpoint');
  });

  it('steps over a hypercall and shows the boundary when stopped in one', async () => {
    await client.launch({ stopOnEntry: true });
    await client.stopped();
    await client.dc.setFunctionBreakpointsRequest({ breakpoints: [{ name: 'hypercall:mmu_update' }] });
    await client.dc.continueRequest({ threadId: 1 });
    const stop = await client.stopped();
    assert.equal(stop.reason, 'function breakpoint');
    assert.equal(stop.description, 'Hypercall mmu_update');
    const [boundary, code] = await client.stack();
    assert.equal(
      boundary?.name,
      'hypercall mmu_update(ureqs=[{ptr=0x41008, val=0x42063}], count=0x1, foreigndom=DOMID_SELF)',
    );
    assert.equal(boundary.presentationHint, 'label');
    assert.match(code?.name ?? '', /^start\+/);
    const before = await rip();
    await client.dc.nextRequest({ threadId: 1, granularity: 'instruction' });
    assert.equal((await client.stopped()).reason, 'step');
    assert.equal(await rip(), before + 2n);
  });

  it('restarts: to the start of the same machine, or with another kernel', async () => {
    await client.launch({ kernel: '/guests/kernel', stopOnEntry: true });
    await client.stopped();
    await client.dc.stepInRequest({ threadId: 1, granularity: 'instruction' });
    await client.stopped();
    await client.dc.restartRequest({});
    assert.equal((await client.stopped()).reason, 'entry');
    assert.equal(await rip(), at('start'));
    assert.equal(host.targets.length, 1, 'the same machine');

    host.files.set('/guests/kernel', new Uint8Array([9]));
    await client.dc.restartRequest({});
    assert.equal((await client.stopped()).reason, 'entry');
    assert.equal(host.targets.length, 2);
    assert.ok(host.targets[0]?.disposed());

    host.files.delete('/guests/kernel');
    const refused = await client.refused('restart');
    assert.match(refused.message ?? '', /cannot read '\/guests\/kernel'/);
    assert.equal(
      (await client.stopped()).reason,
      'entry',
      'the client thinks that it runs, and hears that it does not',
    );
    assert.equal(await rip(), at('start'), 'the machine that was there is still there');
  });

  it('goes on after restarts that were refused, and restarts when it can', async () => {
    const image = new Uint8Array([1, 2, 3]);
    await client.launch({ kernel: '/guests/kernel', stopOnEntry: true });
    await client.stopped();
    host.files.delete('/guests/kernel');
    for (const time of ['once', 'twice']) {
      await client.refused('restart');
      assert.equal((await client.stopped()).reason, 'entry', time);
      assert.equal((await client.dc.threadsRequest()).body.threads.length, 1);
      assert.deepEqual(await frames(), ['start']);
    }
    await client.dc.stepInRequest({ threadId: 1, granularity: 'instruction' });
    assert.equal((await client.stopped()).reason, 'step');
    assert.equal(await rip(), at('setup'));

    // In a run nothing stands still, and nothing says so.
    await client.dc.evaluateRequest({ expression: `rip = ${hex(at('spin'))}`, context: 'repl' });
    await client.dc.continueRequest({ threadId: 1 });
    const stops = (): number => client.events.filter(({ event }) => event === 'stopped').length;
    const before = stops();
    await client.refused('restart');
    await new Promise((resolve) => setTimeout(resolve, 50));
    await client.dc.threadsRequest();
    assert.equal(stops(), before, 'it still runs');
    await client.dc.pauseRequest({ threadId: 1 });
    assert.equal((await client.stopped()).reason, 'pause');

    host.files.set('/guests/kernel', image);
    await client.dc.restartRequest({});
    assert.equal((await client.stopped()).reason, 'entry');
    assert.equal(await rip(), at('start'));
    await client.dc.continueRequest({ threadId: 1 });
    await client.event('terminated');
  });

  it('says of a stop that no frame has a source, also where there are lines but not their files', async () => {
    type Said = Awaited<ReturnType<Client['stopped']>> & { readonly withoutSource?: boolean };
    await client.launch({ stopOnEntry: true });
    assert.equal(((await client.stopped()) as Said).withoutSource, undefined, 'it is here');

    const bare = { ...createFakeHost(), sourcePath: () => undefined };
    const other = await connect(bare);
    try {
      await other.launch({ stopOnEntry: true });
      assert.equal(((await other.stopped()) as Said).withoutSource, true);
      const [top] = await other.stack();
      assert.equal(top?.line, 10, 'the line is known all the same');
      assert.equal(top.source?.path, undefined);
    } finally {
      await other.close();
    }

    const mapped = await connect({
      ...createFakeHost(),
      sourcePath: (file) => (file === '/here/fake.c' ? file : undefined),
    });
    try {
      await mapped.launch({ stopOnEntry: true, sourceMap: { '': '/here' } });
      assert.equal(
        ((await mapped.stopped()) as Said).withoutSource,
        undefined,
        'found where it was said to be',
      );
    } finally {
      await mapped.close();
    }
  });

  it('restarts a running machine', async () => {
    await client.launch({ stopOnEntry: true });
    await client.stopped();
    await client.dc.evaluateRequest({ expression: `rip = ${hex(at('spin'))}`, context: 'repl' });
    await client.dc.continueRequest({ threadId: 1 });
    await client.dc.restartRequest({});
    assert.equal((await client.stopped()).reason, 'entry');
  });

  it('terminates, and disconnects with the machine disposed of', async () => {
    await client.launch({ stopOnEntry: true });
    await client.stopped();
    await client.dc.terminateRequest();
    await client.event('terminated');
    assert.ok(host.targets[0]?.disposed());
    await client.dc.disconnectRequest();
  });
});
