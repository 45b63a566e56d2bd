import assert from 'node:assert/strict';
import path from 'node:path';
import type { DebugProtocol } from '@vscode/debugprotocol';
import type { Host } from '../../src/dap/host';
import { adapterHost } from '../../src/host/adapter';
import type { Client } from '../support/dap-client';
import { connect } from '../support/dap-client';
import { createFakeHost } from '../support/fake-host';
import { withLine } from '../support/lines';

// Each way to come to stand still, and what the client is told of it: the reason is the protocol's, the words are true.

type Stopped = DebugProtocol.StoppedEvent['body'];

const samples = path.join(__dirname, '..', '..', 'media', 'samples');
const main = path.join(samples, 'first-hypercall', 'main.c');
const dispatch = path.join(__dirname, '..', '..', 'src', 'hypervisor', 'dispatch.ts');
const single = { granularity: 'instruction' };

/** What is set beforehand is taken away again. */
interface Way {
  readonly name: string;
  readonly reason: string;
  readonly description: string | RegExp;
  /** There is none where this is not given. */
  readonly text?: RegExp;
  come(): Promise<Stopped>;
}

describe('dap: what a stop is told as', function () {
  this.timeout(60_000);
  let client: Client;
  const start = async (
    args: Parameters<Client['launch']>[0],
    host: Host = adapterHost(),
  ): Promise<Stopped> => {
    client = await connect(host);
    await client.launch({ stopOnEntry: true, ...args });
    return client.stopped();
  };
  afterEach(() => client.close());

  const check = ({ name, reason, description, text }: Way, stop: Stopped): void => {
    assert.equal(stop.reason, reason, `${name}: ${JSON.stringify(stop)}`);
    if (typeof description === 'string') assert.equal(stop.description, description, name);
    else assert.match(stop.description ?? '', description, name);
    if (text === undefined) assert.equal(stop.text, undefined, name);
    else assert.match(stop.text ?? '', text, name);
    assert.equal(stop.allThreadsStopped, true, name);
  };
  const all = async (ways: readonly Way[]): Promise<void> => {
    for (const way of ways) {
      const before = client.events.filter(({ event }) => event === 'stopped').length;
      const stop = await way.come().catch((error: unknown) => {
        throw new Error(`${way.name}: ${String(error)}`);
      });
      check(way, stop);
      const after = client.events.filter(({ event }) => event === 'stopped').length;
      assert.equal(after, before + 1, `${way.name}: told once`);
    }
  };

  const set = async (command: string, args: object): Promise<void> => {
    const { body } = (await client.dc.send(command, args)) as DebugProtocol.SetBreakpointsResponse;
    for (const { verified, message } of body.breakpoints) assert.ok(verified, message);
  };
  const functions = (...names: string[]): Promise<void> =>
    set('setFunctionBreakpoints', { breakpoints: names.map((name) => ({ name })) });
  const lines = (file: string, ...texts: string[]): Promise<void> =>
    set('setBreakpoints', { source: { path: file }, breakpoints: texts.map((text) => ({ line: withLine(file, text) })) }); // prettier-ignore
  const filters = (...names: string[]): Promise<unknown> =>
    client.dc.setExceptionBreakpointsRequest({ filters: names });
  const watch = async (name: string): Promise<void> => {
    const { body } = await client.dc.dataBreakpointInfoRequest({ name });
    await set('setDataBreakpoints', { breakpoints: [{ dataId: body.dataId, accessType: 'write' }] });
  };
  const frame = async (): Promise<DebugProtocol.StackFrame> => (await client.stack())[0] ?? assert.fail();
  const to =
    (
      setting: () => Promise<unknown>,
      clear: () => Promise<unknown>,
      command = 'continue',
      args: object = {},
    ) =>
    async (): Promise<Stopped> => {
      await setting();
      const stop = await client.go(command, args);
      await clear();
      return stop;
    };
  const by =
    (command: string, args: object = {}) =>
    (): Promise<Stopped> =>
      client.go(command, args);
  const unset = (): Promise<void> => functions();
  const unwatch = (): Promise<void> => set('setDataBreakpoints', { breakpoints: [] });
  const spin = async (): Promise<void> => {
    const memoryReference = (await frame()).instructionPointerReference ?? '';
    await client.dc.send('writeMemory', {
      memoryReference,
      data: Buffer.from([0xeb, 0xfe]).toString('base64'),
    });
  };
  const pausing =
    (command: string, args: object = {}) =>
    async (): Promise<Stopped> => {
      await client.dc.send(command, { threadId: 1, ...args });
      await client.dc.pauseRequest({ threadId: 1 });
      return client.stopped();
    };

  it('in the guest and in the hypervisor, forwards and back', async () => {
    const entry = await start({});
    check({ name: 'entry', reason: 'entry', description: 'Before the first instruction', come: () => Promise.resolve(entry) }, entry); // prettier-ignore
    const step = { reason: 'step', description: 'Paused after a step' };
    const back = { reason: 'step', description: 'Paused after a step back' };
    const inside = { reason: 'step', description: 'Paused in the hypervisor' };
    const place = { description: 'Paused on a breakpoint' };
    const begin = { reason: 'entry', description: 'At the beginning of the history' };
    const beforeCall = { reason: 'function breakpoint', description: /^Hypercall xen_version\S*$/ };
    const instruction = async (): Promise<void> =>
      set('setInstructionBreakpoints', { breakpoints: [{ instructionReference: (await client.stack())[1]?.instructionPointerReference }] }); // prettier-ignore
    const goto = async (): Promise<Stopped> => {
      const args = { source: { path: main }, line: withLine(main, 'be_refused();') };
      const { body } = (await client.dc.send('gotoTargets', args)) as DebugProtocol.GotoTargetsResponse;
      return client.go('goto', { targetId: body.targets[0]?.id });
    };
    const restart = async (): Promise<Stopped> => {
      const found = (await client.stack()).find(({ canRestart }) => canRestart === true);
      return client.go('restartFrame', { frameId: found?.id });
    };
    await all([
      { name: 'a step back from there', ...begin, come: by('stepBack', single) },
      { name: 'an instruction', ...step, come: by('stepIn', single) },
      { name: 'an instruction back', ...back, come: by('stepBack', single) },
      {
        name: 'a function',
        reason: 'function breakpoint',
        ...place,
        come: to(() => functions('say_hello'), unset),
      },
      { name: 'an instruction breakpoint', reason: 'instruction breakpoint', ...place, come: to(instruction, () => set('setInstructionBreakpoints', { breakpoints: [] })) }, // prettier-ignore
      { name: 'a line', reason: 'breakpoint', ...place, come: to(() => lines(main, 'ask_version();'), () => lines(main)) }, // prettier-ignore
      { name: 'a step into a function', ...step, come: by('stepIn') },
      { name: 'a step over a line', ...step, come: by('next') },
      { name: 'a step over a line, back', ...back, come: by('stepBack') },
      { name: 'a step into it again', ...step, come: by('stepIn') },
      { name: 'a step out', ...step, come: by('stepOut') },
      { name: 'a step onto a breakpoint', reason: 'breakpoint', ...place, come: to(() => lines(main, 'build_page_table();'), () => lines(main), 'next') }, // prettier-ignore
      { name: 'back to a breakpoint', reason: 'breakpoint', ...place, come: to(() => lines(main, 'open_console();'), () => lines(main), 'reverseContinue') }, // prettier-ignore
      { name: 'a hypercall', ...beforeCall, come: to(() => functions('hypercall:xen_version'), unset) },
      { name: 'a step into it', ...inside, come: by('stepIn') },
      { name: 'a step in it', ...inside, come: by('next') },
      { name: 'its frame again', reason: 'restart', description: 'The frame begins again', come: restart },
      { name: 'a line of it', reason: 'breakpoint', ...place, come: to(() => lines(dispatch, 'const declaration = declarationOf(call.nr);'), () => lines(dispatch)) }, // prettier-ignore
      { name: 'its return', reason: 'function breakpoint', description: /^Return from hypercall xen_version\S*$/, come: to(() => functions('hypercall:xen_version:return'), unset) }, // prettier-ignore
      { name: 'state of the hypervisor', reason: 'data breakpoint', description: "The hypervisor's state has changed", text: /d1v0\.run/, come: to(() => watch('d1v0.run'), unwatch) }, // prettier-ignore
      { name: 'an event by its name', reason: 'function breakpoint', ...place, text: /#PF/, come: to(() => functions('trap:#PF'), unset) }, // prettier-ignore
      { name: 'the same by a filter, too', reason: 'exception', description: 'Paused on guest-fault', text: /#PF/, come: to(async () => { await functions('trap:*'); await filters('guest-fault'); }, async () => { await unset(); await filters(); }) }, // prettier-ignore
      { name: 'data', reason: 'data breakpoint', description: 'Paused on a data breakpoint', text: /^message.*→/, come: to(() => watch('message'), unwatch) }, // prettier-ignore
      { name: 'back to the beginning', ...begin, come: by('reverseContinue') },
      { name: 'a refusal', reason: 'exception', description: 'Paused on hypercall-failed', text: /failed with|E[A-Z]+/, come: to(() => filters('hypercall-failed'), () => filters()) }, // prettier-ignore
      { name: 'a check', reason: 'exception', description: 'Paused on failing-check', text: /E[A-Z]+/, come: to(() => filters('failing-check'), () => filters()) }, // prettier-ignore
      { name: 'back to guest_main', reason: 'breakpoint', ...place, come: to(() => lines(main, 'take_timer_event();'), () => lines(main), 'reverseContinue') }, // prettier-ignore
      { name: 'another place', reason: 'goto', description: 'Paused at another place', come: goto },
    ]);
    // Why it stood still before that is over.
    assert.match((await client.refused('exceptionInfo', { threadId: 1 })).message ?? '', /not stopped at an/);
    await spin();
    const paused = { reason: 'pause', description: 'Paused' };
    await all([
      { name: 'a run that is paused', ...paused, come: pausing('continue') },
      { name: 'a step that is paused', ...paused, come: pausing('next') },
      { name: 'a step out that is paused', ...paused, come: pausing('stepOut') },
      { name: 'a step after that', ...step, come: by('stepIn', single) },
    ]);
  });

  it('a run that fails says that it has', async () => {
    await start({}, createFakeHost({ failing: { run: 'the wires are cut' } }));
    await all([
      { name: 'failure', reason: 'pause', description: 'The run has failed', text: /^the wires are cut$/, come: by('continue') }, // prettier-ignore
    ]);
  });

  it('the end of a domain that is kept, and a crash', async () => {
    await start({ onPoweroff: 'preserve' });
    const ended = { reason: 'pause', description: 'The domain has ended' };
    await all([
      { name: 'shutdown', ...ended, text: /poweroff.*; it is kept as it is$/, come: by('continue') },
    ]);
    await client.close();
    await start({});
    // A jump to where nothing is, with no handler for what follows.
    const memoryReference = (await frame()).instructionPointerReference ?? '';
    await client.dc.send('writeMemory', {
      memoryReference,
      data: Buffer.from([0x0f, 0x0b]).toString('base64'),
    });
    await all([
      { name: 'crash', reason: 'exception', description: 'Paused on domain-crash', text: /./, come: to(() => filters('domain-crash'), () => filters()) }, // prettier-ignore
    ]);
  });

  it('one of several domains is named in each; one that runs alone waits for the other', async () => {
    const kernel = path.join(samples, 'neighbours', 'neighbours.elf');
    const one = (name: string, peer: number) => ({ name, kernel, cmdline: `role=${name} peer=${peer}`, memory: '4M' }); // prettier-ignore
    await start({ domains: [one('giver', 2), one('taker', 1)] });
    const alone = async (): Promise<Stopped> => client.go('continue', { threadId: 1, singleThread: true });
    await all([
      { name: 'a step', reason: 'step', description: 'Paused after a step in d2 taker', come: by('stepIn', { threadId: 2, ...single }) }, // prettier-ignore
      { name: 'alone', reason: 'pause', description: 'Waits for another vCPU in d1 giver', text: /^d1v0 runs alone and is blocked/, come: alone }, // prettier-ignore
    ]);
  });
});
