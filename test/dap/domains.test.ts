import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { DebugProtocol } from '@vscode/debugprotocol';
import type { LaunchArguments } from '../../src/dap/protocol';
import { adapterHost } from '../../src/host/adapter';
import { inProcessTarget } from '../../src/host/machine';
import type { Client } from '../support/dap-client';
import { connect } from '../support/dap-client';
import { withLine } from '../support/lines';

// Several domains in one machine: two that share a page and a doorbell, and one of another image.

const samples = path.join(__dirname, '..', '..', 'media', 'samples');
const folder = path.join(samples, 'neighbours');
const neighbours = path.join(folder, 'neighbours.elf');
const source = path.join(folder, 'neighbours.c');
const tour = path.join(samples, 'c-tour', 'shapes.c');

const neighbour = (role: string, peer: number, then = '') => ({
  name: role,
  kernel: neighbours,
  cmdline: `role=${role} peer=${peer} ${then}`,
  memory: '4M',
});
const both = [neighbour('giver', 2), neighbour('taker', 1)];

describe('dap: several domains', function () {
  this.timeout(60_000);
  let client: Client;
  const start = async (args: LaunchArguments): Promise<void> => {
    client = await connect(adapterHost({ inProcess: inProcessTarget }));
    await client.launch({ stopOnEntry: true, ...args });
    await client.stopped();
  };
  afterEach(() => client.close());

  const breakAt = async (
    file: string,
    text: string,
    condition?: string,
  ): Promise<DebugProtocol.Breakpoint> => {
    const { body } = await client.dc.setBreakpointsRequest({
      source: { path: file },
      breakpoints: [{ line: withLine(file, text), ...(condition === undefined ? {} : { condition }) }],
    });
    return body.breakpoints[0] ?? assert.fail('no breakpoint');
  };
  const functions = async (...names: string[]): Promise<DebugProtocol.Breakpoint[]> => {
    const breakpoints = names.map((name) => ({ name }));
    return (await client.dc.setFunctionBreakpointsRequest({ breakpoints })).body.breakpoints;
  };
  const threads = async (): Promise<string[]> =>
    (await client.dc.threadsRequest()).body.threads.map(({ id, name }) => `${id} ${name}`);
  const stack = async (threadId: number): Promise<string[]> =>
    (await client.stack(threadId)).map(({ name }) => name.replace(/\+.*/, ''));
  const evaluate = async (expression: string, threadId: number): Promise<string> => {
    const stackFrames = await client.stack(threadId);
    const frameId = stackFrames[0]?.id ?? 0;
    return (await client.dc.evaluateRequest({ expression, frameId, context: 'watch' })).body.result;
  };

  it('threads, symbols, sources and modules are each domain’s own', async () => {
    const third = { name: 'tour', kernel: path.join(samples, 'c-tour', 'c-tour.elf'), memory: '8M' };
    await start({ domains: [...both, third] });
    assert.deepEqual(await threads(), ['1 d1 giver v0', '2 d2 taker v0', '3 d3 tour v0']);
    const { modules } = (await client.dc.modulesRequest({})).body;
    assert.deepEqual(
      modules.map(({ name, version }) => `${name}: ${version ?? ''}`),
      ['neighbours.elf: domain giver', 'neighbours.elf: domain taker', 'c-tour.elf: domain tour'],
    );
    assert.match(client.output(), /^d1, d2: neighbours\.elf: \d+ symbols, source lines$/m);
    assert.match(client.output(), /^d3: c-tour\.elf: \d+ symbols, source lines$/m);

    assert.equal((await breakAt(tour, 'long area = shape->area(shape);')).verified, true);
    assert.equal((await breakAt(source, 'struct evtchn_bind_interdomain bind = ')).verified, true);
    const seen = new Map<number, string[]>();
    for (let i = 0; i < 2; i++) {
      const { threadId = 0, description = '' } = await client.go();
      seen.set(threadId, [description, ...(await stack(threadId)).slice(0, 2)]);
    }
    assert.deepEqual(seen.get(2), ['Paused on a breakpoint in d2 taker', 'take', 'guest_main']);
    assert.deepEqual(seen.get(3), ['Paused on a breakpoint in d3 tour', 'total_area', 'guest_main']);
    assert.equal(await evaluate('peer', 2), '1');
    assert.equal(await evaluate('peer', 1), '2', 'each has its own memory');
    assert.equal(await evaluate('shape->colour', 3), 'BLUE (4)');
    await assert.rejects(evaluate('shape->colour', 2), /there is no 'shape' here/);
    const { body } = (await client.dc.send('loadedSources')) as DebugProtocol.LoadedSourcesResponse;
    const names = body.sources.map(({ path: at = '' }) => path.relative(samples, at));
    assert.ok(names.includes('neighbours/neighbours.c') && names.includes('c-tour/shapes.c'), String(names));
  });

  it('a breakpoint is in one domain only: by the name’s end, by dom, by where the image runs', async () => {
    await start({ domains: both });
    const [first, wrong, call] = await functions(
      'open_console:d2',
      'open_console:d7',
      'hypercall:grant_table_op:d1',
    );
    assert.equal(first?.verified, true);
    assert.match(wrong?.message ?? '', /no domain d7; there are d1, d2/);
    assert.equal(call?.verified, true);
    const one = await client.go();
    assert.match(`${one.threadId} ${one.description}`, /^1 Hypercall grant_table_op\S* in d1 giver$/);
    const two = await client.go();
    assert.deepEqual([two.threadId, two.description], [2, 'Paused on a breakpoint in d2 taker']);

    await functions();
    // The taker comes by first.
    await breakAt(source, 'seen++;', '$dom == 1 && peer == 2');
    assert.equal((await client.go()).threadId, 1);
    await breakAt(source, 'seen++;', 'dom == 2');
    assert.equal((await client.go()).threadId, 2);
    await client.dc.setBreakpointsRequest({ source: { path: source }, breakpoints: [] });
    const { breakpoints } = (
      await client.dc.setFunctionBreakpointsRequest({
        breakpoints: [{ name: 'hypercall:event_channel_op', condition: 'dom == 2' }],
      })
    ).body;
    assert.equal(breakpoints[0]?.verified, true);
    assert.equal((await client.go()).threadId, 2);
  });

  it('steps in one domain while the other runs; consoles say whose they are; the end is that of both', async () => {
    await start({ domains: both });
    await breakAt(source, 'print("taker: page mapped');
    await client.go();
    await client.dc.nextRequest({ threadId: 2 });
    const stepped = await client.stopped();
    assert.deepEqual([stepped.threadId, stepped.description], [2, 'Paused after a step in d2 taker']);
    assert.equal(await evaluate('map.status', 2), '0');
    const terminated = client.event('terminated');
    await client.dc.continueRequest({ threadId: 1 });
    await terminated;
    const exited = client.events.find(({ event }) => event === 'exited');
    assert.deepEqual(exited?.body, { exitCode: 0 });
    const lines = client.output().split('\n');
    const real = readFileSync(path.join(folder, 'real-xen.txt'), 'utf8').split('\n');
    for (const [id, role] of [
      [1, 'giver'],
      [2, 'taker'],
    ] as const) {
      const from = real.indexOf(`== ${role}`) + 1;
      const wanted = real
        .slice(from)
        .filter((_line, i, all) => !all.slice(0, i + 1).some((one) => one.startsWith('==')));
      const said = lines
        .filter((line) => line.startsWith(`(d${id}) `))
        .map((line) => line.slice(5).trimEnd());
      assert.deepEqual(
        said,
        wanted.filter((line) => line !== ''),
        role,
      );
    }
    assert.match(client.output(), /^d2 taker: poweroff; d1 giver goes on$/m);
  });

  it('runs one vCPU alone while the others stay, and says when it waits for them', async () => {
    await start({ domains: both });
    const first = await stack(1);
    const rip = await evaluate('$rip', 1);
    const alone = async (command: string, threadId: number): Promise<unknown> =>
      (await client.dc.send(command, { threadId, singleThread: true })).body as unknown;
    // The taker alone asks again and again for what the giver has not done yet.
    assert.deepEqual(await alone('continue', 2), { allThreadsContinued: false });
    assert.deepEqual(await stack(1), first, 'a vCPU that stays can be looked at');
    await assert.rejects(stack(2), /notStopped/);
    const pausing = client.stopped();
    await client.dc.pauseRequest({ threadId: 2 });
    const { reason, threadId, allThreadsStopped } = await pausing;
    assert.deepEqual([reason, threadId, allThreadsStopped], ['pause', 2, true]);
    await alone('next', 2);
    assert.deepEqual((await client.stopped()).threadId, 2);
    assert.equal(await evaluate('$rip', 1), rip);

    const before = await evaluate('$rip', 2);
    await alone('continue', 1);
    const waits = await client.stopped();
    assert.deepEqual(
      [waits.reason, waits.description, waits.threadId],
      ['pause', 'Waits for another vCPU in d1 giver', 1],
    );
    assert.match(waits.text ?? '', /^d1v0 runs alone and is blocked: it has no timer/);
    assert.equal(await evaluate('$rip', 2), before);

    // The same for clients whose own requests have no such thing: they are told that it runs.
    const stays = await evaluate('$rip', 1);
    for (const asked of [{ threadId: 2 }, { domain: 2, vcpu: 0 }]) {
      const continued = client.event('continued');
      await client.custom('hyperstep/runAlone', asked);
      assert.deepEqual((await continued).body, { threadId: 2, allThreadsContinued: false });
      const stopping = client.stopped();
      await client.dc.pauseRequest({ threadId: 2 });
      assert.equal((await stopping).threadId, 2);
      assert.equal(await evaluate('$rip', 1), stays);
    }
    const nowhere = await client.refused('hyperstep/runAlone', { domain: 7, vcpu: 0 });
    assert.equal(nowhere.message, 'there is no vCPU d7v0');

    const terminated = client.event('terminated');
    await client.dc.continueRequest({ threadId: 1 });
    await terminated;
  });

  it('one that crashes, or would start again, leaves the others; who steps there is told', async () => {
    await start({ domains: [neighbour('giver', 2), neighbour('taker', 1, 'then=crash')] });
    await breakAt(source, 'shut_down(SHUTDOWN_crash);');
    await client.dc.setExceptionBreakpointsRequest({ filters: [] });
    await breakAt(source, '    if (same(option("then"), "spin")) {').catch(() => undefined);
    await functions('shut_down:d2');
    assert.equal((await client.go()).threadId, 2);
    await functions();
    await breakAt(source, 'print("giver: got a page').catch(() => undefined);
    await client.dc.continueRequest({ threadId: 2 });
    const told = await client.event('output').then(async function next(event): Promise<string> {
      const { output } = event.body as DebugProtocol.OutputEvent['body'];
      return /crash/.test(output) && /goes on/.test(output) ? output : next(await client.event('output'));
    });
    assert.match(told, /d1 giver goes on/);
    const pausing = client.stopped();
    await client.dc.pauseRequest({ threadId: 1 });
    await pausing;
    assert.deepEqual(await threads(), ['1 d1 giver v0 (blocked)', '2 d2 taker v0 (dead)']);
  });

  it('reboot of one of several is answered in words, and it is kept', async () => {
    await start({ domains: [neighbour('giver', 2), { ...neighbour('taker', 1), onPoweroff: 'restart' }] });
    const { reason, description, text = '' } = await client.go();
    assert.deepEqual([reason, description], ['pause', 'The domain has ended in d2 taker']);
    assert.equal(
      text,
      'd2 taker: poweroff: it would start again, which one of several domains cannot; it is kept as it is',
    );
    const last = await client.go();
    assert.equal(last.text, 'd1 giver: poweroff; the domains that are kept can be looked at');
  });

  it('a list of xl.cfg files; what is of one domain has no place beside several', async () => {
    await start({ config: ['giver', 'taker'].map((role) => path.join(folder, `${role}.cfg`)) });
    assert.deepEqual(await threads(), ['1 d1 giver v0', '2 d2 taker v0']);
    await client.close();
    client = await connect(adapterHost({ inProcess: inProcessTarget }));
    await client.dc.initializeRequest();
    const { message } = await client.refused('launch', { domains: both, cmdline: 'quiet' });
    assert.equal(message, 'cmdline: of which domain? With several, it stands in an entry of domains');
    const other = await client.refused('launch', { domains: [both[0], { kernel: '/nowhere' }] });
    assert.match(other.message ?? '', /^domains\[1\]\.kernel: cannot read '\/nowhere': /);
  });
});
