/** Going back from inside the hypervisor, over the protocol, with the machine in its worker. */
import assert from 'node:assert/strict';
import path from 'node:path';
import type { DebugProtocol } from '@vscode/debugprotocol';
import { adapterHost } from '../../src/host/adapter';
import type { Client } from '../support/dap-client';
import { connect } from '../support/dap-client';
import { withLine } from '../support/lines';

const dispatch = path.join(__dirname, '..', '..', 'src', 'hypervisor', 'dispatch.ts');

describe('dap: back from inside the hypervisor', function () {
  this.timeout(60_000);
  let client: Client;
  beforeEach(async () => {
    client = await connect(adapterHost(), { supportsProgressReporting: true });
  });
  afterEach(() => client.close());

  const rows = async (variablesReference: number): Promise<DebugProtocol.Variable[]> =>
    (await client.dc.variablesRequest({ variablesReference })).body.variables;
  const isInside = (frame: DebugProtocol.StackFrame | undefined): boolean =>
    frame?.name.endsWith('(hypervisor)') === true;
  /** The frames and what the innermost has, as they are shown. */
  const shown = async (): Promise<string> => {
    const frames = await client.stack();
    const { scopes } = (await client.dc.scopesRequest({ frameId: frames[0]?.id ?? 0 })).body;
    const values = [];
    for (const { name, variablesReference } of scopes)
      if (/^(Locals|General)/i.test(name))
        values.push(...(await rows(variablesReference)).map((row) => `${row.name}=${row.value}`));
    return [...frames.map(({ name, line }) => `${name}:${line}`), ...values].join('\n');
  };
  const leave = async (): Promise<void> => {
    for (let out = 0; isInside((await client.stack())[0]); out++) {
      assert.ok(out < 40, 'never left');
      await client.go('stepOut');
    }
  };

  it('to the calling instruction and in again, as it was; after stepping out, to before the call', async () => {
    await client.launch({ noConfigurationDone: true });
    const named = (...names: string[]): Promise<unknown> =>
      client.dc.setFunctionBreakpointsRequest({ breakpoints: names.map((name) => ({ name })) });
    await named('hypercall:xen_version');
    await client.dc.configurationDoneRequest();
    await client.stopped();
    // From the boundary, too, a step back is to before the instruction.
    await client.go('stepBack', { granularity: 'instruction' });
    const calling = await shown();
    await named();
    await client.go('stepIn');
    const first = await shown();
    assert.ok(isInside((await client.stack())[0]), first);
    const inside = [first];
    for (let n = 0; n < 4; n++) {
      await client.go('next');
      inside.push(await shown());
    }
    const { reason } = await client.go('stepBack');
    assert.equal(reason, 'step');
    assert.equal(await shown(), calling);
    await client.go('stepIn');
    assert.equal(await shown(), first);
    for (const one of inside.slice(1)) {
      await client.go('next');
      assert.equal(await shown(), one);
    }
    await leave();
    const after = await shown();
    await client.go('stepBack', { granularity: 'instruction' });
    assert.equal(await shown(), calling);
    await client.go('stepIn', { granularity: 'instruction' });
    assert.equal(await shown(), first);
    await leave();
    assert.equal(await shown(), after);
  });

  it('to statements of earlier entries, from inside a later one', async () => {
    await client.launch({ stopOnEntry: true });
    await client.stopped();
    const line = withLine(dispatch, 'const declaration = declarationOf(call.nr);');
    await client.dc.setBreakpointsRequest({ source: { path: dispatch }, breakpoints: [{ line }] });
    const hits: string[] = [];
    for (let n = 0; n < 6; n++) {
      assert.equal((await client.go('continue')).reason, 'breakpoint');
      hits.push(await shown());
    }
    assert.equal(new Set(hits).size, hits.length, 'they differ');
    const printed = client.output();
    for (let n = 0; n < 5; n++) await client.go('next');
    // Of the entry that it stands in, nothing before is met.
    for (const wanted of hits.slice(0, -1).reverse()) {
      assert.equal((await client.go('reverseContinue')).reason, 'breakpoint');
      assert.equal(await shown(), wanted);
    }
    // On from there by steps and by itself, as before.
    await client.go('next');
    for (const wanted of hits.slice(1)) {
      assert.equal((await client.go('continue')).reason, 'breakpoint');
      assert.equal(await shown(), wanted);
    }
    assert.equal(client.output(), printed, 'nothing is said twice');
    await client.go('stepBack');
    await client.go('stepIn');
    await client.dc.setBreakpointsRequest({ source: { path: dispatch }, breakpoints: [] });
    assert.equal((await client.go('reverseContinue')).description, 'At the beginning of the history');
  });

  it('a privileged instruction, which retires only behind it; and again by restarting the frame', async () => {
    await client.launch({ stopOnEntry: true });
    await client.stopped();
    const [entry] = await client.stack();
    // nop; mov rax, cr0; nop
    const data = Buffer.from([0x90, 0x0f, 0x20, 0xc0, 0x90]).toString('base64');
    await client.dc.send('writeMemory', { memoryReference: entry?.instructionPointerReference ?? '', data });
    const single = { granularity: 'instruction' };
    await client.go('stepIn', single);
    const before = await shown();
    await client.go('stepIn', single);
    const first = await shown();
    assert.match(first, /^decideFault \(hypervisor\)/);
    for (const command of ['next', 'stepOut']) {
      await client.go(command);
      await client.go('stepBack', single);
      assert.equal(await shown(), before, command);
      await client.go('stepIn', single);
      assert.equal(await shown(), first);
    }
    await client.go('stepOut');
    for (const name of [/^handleExit \(hypervisor\)$/, /^#GP /]) {
      const frame = (await client.stack()).find((one) => name.test(one.name));
      assert.equal(frame?.canRestart, true);
      assert.equal((await client.go('restartFrame', { frameId: frame.id })).reason, 'restart');
      assert.equal(await shown(), first);
      await client.go('next');
    }
    for (const frame of await client.stack()) {
      if (frame.canRestart === true) continue;
      const { message } = await client.refused('restartFrame', { frameId: frame.id });
      assert.match(message ?? '', /only the boundary .* stepBack, which takes back/);
    }
    await leave();
    await client.go('stepBack', single);
    assert.equal(await shown(), before);
  });

  it('a hypercall by restarting its frame, also from its boundary', async () => {
    await client.launch({ noConfigurationDone: true });
    await client.dc.setFunctionBreakpointsRequest({ breakpoints: [{ name: 'hypercall:xen_version' }] });
    await client.dc.configurationDoneRequest();
    await client.stopped();
    const [boundary] = await client.stack();
    await client.go('restartFrame', { frameId: boundary?.id });
    const first = await shown();
    assert.ok(isInside((await client.stack())[0]), first);
    for (let n = 0; n < 3; n++) await client.go('next');
    const outermost = (await client.stack()).filter((one) => isInside(one)).pop();
    await client.go('restartFrame', { frameId: outermost?.id });
    assert.equal(await shown(), first);
    await leave();
    assert.match((await client.stack())[0]?.name ?? '', /^HYPERVISOR_xen_version/);
  });

  it('says so when it takes long, and ends by cancel, pause, restart and with its session', async () => {
    await client.launch({ stopOnEntry: true });
    await client.stopped();
    /** Somewhere in an endless loop, and a breakpoint there that no time of it was meant for. */
    const loop = async (): Promise<void> => {
      const at = (await client.stack())[0]?.instructionPointerReference ?? '';
      // inc rax; jmp to it
      const data = Buffer.from([0x48, 0xff, 0xc0, 0xeb, 0xfb]).toString('base64');
      await client.dc.send('writeMemory', { memoryReference: at, data });
      await client.dc.continueRequest({ threadId: 1 });
      await new Promise((resolve) => setTimeout(resolve, 500));
      await client.go('pause');
      await client.dc.send('setInstructionBreakpoints', {
        breakpoints: [{ instructionReference: at, condition: 'rax == 0x7777777777777777' }],
      });
    };
    const search = async (): Promise<string> => {
      await client.dc.send('reverseContinue', { threadId: 1 });
      for (;;) {
        const { progressId, title } = (await client.event('progressStart')).body as Record<string, string>;
        if (title === 'Going back' && progressId !== undefined) return progressId;
      }
    };
    await loop();
    const start = await shown();
    const progressId = await search();
    const cancelled = client.stopped();
    await client.dc.send('cancel', { progressId });
    assert.equal((await cancelled).reason, 'pause');
    assert.equal(await shown(), start);
    await search();
    assert.equal((await client.go('pause')).reason, 'pause');
    assert.equal(await shown(), start);
    await search();
    const again = client.stopped();
    await client.dc.send('restart');
    assert.equal((await again).reason, 'entry');
    await client.dc.send('setInstructionBreakpoints', { breakpoints: [] });
    await loop();
    await search();
    const asked = Date.now();
    await client.close();
    assert.ok(Date.now() - asked < 4000, 'it hangs up in the midst of a search');
  });
});
