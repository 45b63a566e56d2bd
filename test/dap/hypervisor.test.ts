/** Into the hypervisor's source and back, over the protocol, with the machine in its worker. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { adapterHost } from '../../src/host/adapter';
import type { DebugProtocol } from '@vscode/debugprotocol';
import type { Client } from '../support/dap-client';
import { connect } from '../support/dap-client';
import { withLine } from '../support/lines';

const sched = path.join(__dirname, '..', '..', 'src', 'hypervisor', 'hypercalls', 'sched.ts');
const line = withLine(sched, 'const { cpu } = context.vcpu;');

describe('dap: the hypervisor in steps', function () {
  this.timeout(60_000);
  let client: Client;
  beforeEach(async () => {
    client = await connect(adapterHost());
  });
  afterEach(() => client.close());

  it('stops at a line of the hypervisor, shows its locals, and steps out to the guest', async () => {
    const initialized = client.launch({ noConfigurationDone: true });
    await initialized;
    const { body } = await client.dc.setBreakpointsRequest({
      source: { path: sched },
      breakpoints: [{ line, condition: 'reason == 0' }, { line: 100_000 }],
    });
    assert.deepEqual(
      body.breakpoints.map(({ verified }) => verified),
      [true, false],
    );
    await client.dc.configurationDoneRequest();
    assert.equal((await client.stopped()).reason, 'breakpoint');
    const stackFrames = await client.stack();
    const [top] = stackFrames;
    assert.ok(top);
    assert.equal(top.name, 'shutdown.run (hypervisor)');
    assert.equal(top.line, line);
    assert.match(top.source?.path ?? '', /hypervisor.hypercalls.sched\.ts$/);
    const names = stackFrames.map(({ name }) => name);
    const boundary = names.findIndex((name) => name.startsWith('hypercall sched_op'));
    assert.ok(boundary > 1, names.join('\n'));
    assert.ok(names.length > boundary + 1, 'the guest is below the boundary');

    const { scopes } = (await client.dc.scopesRequest({ frameId: top.id })).body;
    const [locals] = scopes;
    assert.equal(locals?.name, 'Locals');
    const rows = (await client.dc.variablesRequest({ variablesReference: locals.variablesReference })).body
      .variables;
    const given = rows.find(({ name }) => name === 'context');
    assert.ok(given !== undefined && given.variablesReference > 0, 'objects can be looked into');
    const below = { variablesReference: given.variablesReference };
    const members = (await client.dc.variablesRequest(below)).body.variables;
    assert.ok(members.some(({ name, variablesReference }) => name === 'domain' && variablesReference > 0));
    const watch = await client.dc.evaluateRequest({
      expression: 'context.domain.id + 1',
      frameId: top.id,
      context: 'watch',
    });
    assert.equal(watch.body.result, '2');
    const register = await client.dc.evaluateRequest({
      expression: '$rip',
      frameId: top.id,
      context: 'watch',
    });
    assert.match(register.body.result, /^0x/);

    await client.dc.nextRequest({ threadId: 1 });
    const next = await client.stopped();
    assert.equal(next.description, 'Paused in the hypervisor');
    const after = (await client.dc.stackTraceRequest({ threadId: 1, levels: 1 })).body.stackFrames[0];
    assert.ok(after !== undefined && after.line > line);
  });

  it('enters a hypercall from the call site by stepping in, and not where that is turned off', async () => {
    for (const stepIntoHypervisor of [true, false]) {
      const one = await connect(adapterHost());
      await one.launch({ noConfigurationDone: true, stepIntoHypervisor });
      await one.dc.setFunctionBreakpointsRequest({ breakpoints: [{ name: 'hypercall:xen_version' }] });
      await one.dc.configurationDoneRequest();
      await one.stopped();
      await one.dc.stepInRequest({ threadId: 1 });
      await one.stopped();
      const { name } = (await one.dc.stackTraceRequest({ threadId: 1, levels: 1 })).body.stackFrames[0] ?? {};
      assert.equal(/\(hypervisor\)$/.test(name ?? ''), stepIntoHypervisor, name);
      // Out, as often as it takes, is the guest again.
      for (let out = 0; stepIntoHypervisor && out < 40; out++) {
        await one.dc.stepOutRequest({ threadId: 1 });
        await one.stopped();
        const [top] = (await one.dc.stackTraceRequest({ threadId: 1, levels: 1 })).body.stackFrames;
        if (top?.name.endsWith('(hypervisor)') !== true) break;
        assert.ok(out < 39, 'never left');
      }
      await one.close();
    }
  });

  const src = (file: string): string => path.join(__dirname, '..', '..', 'src', file);
  const isInside = (frame: DebugProtocol.StackFrame | undefined): boolean =>
    frame?.name.endsWith('(hypervisor)') === true;
  const stepIn = async (): Promise<void> => {
    await client.dc.stepInRequest({ threadId: 1, granularity: 'instruction' });
    await client.stopped();
  };
  const leave = async (): Promise<DebugProtocol.StackFrame> => {
    for (let out = 0; out < 40; out++) {
      await client.dc.stepOutRequest({ threadId: 1 });
      await client.stopped();
      const [top] = await client.stack();
      if (top !== undefined && !isInside(top)) return top;
    }
    throw new Error('never left');
  };
  /** The boundary's name, above the first frame of the guest. */
  const boundary = async (): Promise<string> =>
    (await client.stack()).find((one) => !isInside(one))?.name ?? '';

  it('enters a fault, whose boundary tells what it is', async () => {
    await client.launch({ noConfigurationDone: true });
    await client.dc.send('setExceptionBreakpoints', {
      filters: [],
      filterOptions: [{ filterId: 'guest-fault', condition: 'vector == 14 && error == 2' }],
    });
    await client.dc.configurationDoneRequest();
    assert.equal((await client.stopped()).reason, 'exception');
    assert.equal(await boundary(), '#PF error code 0x2 at 0xffffc00000008000 bounce');
    const info = (await client.dc.exceptionInfoRequest({ threadId: 1 })).body;
    assert.match(info.details?.message ?? '', /walk of 0xffffc00000008000\n.*L4 table/);
    await stepIn();
    const stack = await client.stack();
    assert.equal(stack[0]?.name, 'deliverFault (hypervisor)');
    assert.equal(await boundary(), '#PF error code 0x2 at 0xffffc00000008000 bounce');
    const top = await leave();
    const [below] = (await client.stack()).slice(1);
    assert.ok(top.name !== '' && below !== undefined);
  });

  it('enters a privileged instruction; the next of the guest’s follows', async () => {
    await client.launch({ stopOnEntry: true });
    await client.stopped();
    const [entry] = await client.stack();
    const reference = entry?.instructionPointerReference ?? '';
    // mov rax, cr0
    const data = Buffer.from([0x0f, 0x20, 0xc0]).toString('base64');
    await client.dc.send('writeMemory', { memoryReference: reference, data });
    await stepIn();
    assert.equal((await client.stack())[0]?.name, 'decideFault (hypervisor)');
    assert.equal(await boundary(), '#GP error code 0x0');
    await client.dc.setBreakpointsRequest({
      source: { path: src('hypervisor/privileged.ts') },
      breakpoints: [{ line: withLine(src('hypervisor/privileged.ts'), 'const value = readCr[') }],
    });
    await client.dc.continueRequest({ threadId: 1 });
    await client.stopped();
    assert.equal((await client.stack())[0]?.name, 'mov from cr.run (hypervisor)');
    assert.match(await boundary(), /^emulated mov\s+rax, ?cr0$/);
    const after = await leave();
    const at = (text: string | undefined): bigint => BigInt(/0x[0-9a-f]+$/.exec(text ?? '')?.[0] ?? '0');
    assert.equal(at(after.instructionPointerReference), at(reference) + 3n);
  });

  it('stops at the check that refuses, and tells of it wherever a refusal is shown', async () => {
    await client.launch({ noConfigurationDone: true });
    const condition = "name == 'update_va_mapping'";
    await client.dc.send('setExceptionBreakpoints', {
      filters: [],
      filterOptions: ['failing-check', 'hypercall-failed'].map((filterId) => ({ filterId, condition })),
    });
    await client.dc.configurationDoneRequest();
    const stop = await client.stopped();
    assert.equal(stop.description, 'Paused on failing-check');
    assert.match(stop.text ?? '', /^update_va_mapping: EINVAL: mfn .* cannot become writable$/);
    const stack = await client.stack();
    assert.equal(stack[0]?.name, 'getType (hypervisor)');
    const pagetypes = src('hypervisor/pagetypes.ts');
    const check = withLine(pagetypes, '} else if (typeOf(mfn) !== wanted) {') + 1;
    assert.equal(stack[0].line, check);
    const inside = (await client.dc.exceptionInfoRequest({ threadId: 1 })).body.details;
    assert.match(inside?.message ?? '', /walk of 0x[0-9a-f]+\n/);
    const [link, guest] = inside?.innerException ?? [];
    const linked = link?.message ?? '';
    assert.ok(linked.startsWith('the failing check: getType ('), linked);
    assert.ok(linked.includes(`pagetypes.ts:${check.toString()}:`), linked);
    assert.match(guest?.message ?? '', /^the guest: /);
    // Its outer failure passes that on, and is no check of its own: the hypercall's return is what comes next.
    await client.dc.continueRequest({ threadId: 1 });
    const failed = await client.stopped();
    assert.equal(failed.description, 'Paused on hypercall-failed');
    const info = (await client.dc.exceptionInfoRequest({ threadId: 1 })).body;
    assert.equal(info.details?.typeName, 'hypercall-failed: update_va_mapping EBUSY');
    assert.match(info.details.innerException?.[0]?.message ?? '', /^the failing check: getFromL1e \(.*pagetypes\.ts:\d+:\d+\)$/); // prettier-ignore
    assert.match(info.details.stackTrace ?? '', /at getFromL1e \(.*\) in the hypervisor\n[^]*at hypercall update_va_mapping/); // prettier-ignore
  });

  it('says at once that a name in a condition is none', async () => {
    await client.launch({ stopOnEntry: true });
    await client.stopped();
    const { body } = await client.dc.setBreakpointsRequest({
      source: { path: sched },
      breakpoints: [
        { line, condition: 'raeson == 0' },
        { line, condition: 'reason == SHUTDOWN_poweroff' },
        { line, logMessage: 'ends with {raeson}' },
      ],
    });
    assert.deepEqual(
      body.breakpoints.map(({ verified, message }) => [verified, message]),
      [
        [false, `there is no 'raeson' at line ${line.toString()}; there are context, reason`],
        [true, undefined],
        [false, `there is no 'raeson' at line ${line.toString()}; there are context, reason`],
      ],
    );
  });

  it('stops where what the hypervisor keeps has changed, named or found under its variables', async () => {
    await client.launch({ stopOnEntry: true });
    await client.stopped();
    const info = async (
      args: DebugProtocol.DataBreakpointInfoArguments,
    ): Promise<DebugProtocol.DataBreakpointInfoResponse['body']> =>
      (await client.dc.dataBreakpointInfoRequest(args)).body;
    const port = await info({ name: 'port d1 2' });
    assert.equal(port.description, 'd1.port[2]');
    const { dataId } = await info({ name: 'd1.port[2].pending' });
    const set = await client.dc.setDataBreakpointsRequest({
      breakpoints: [{ dataId: dataId ?? '', condition: 'new == 1' }],
    });
    assert.equal(set.body.breakpoints[0]?.verified, true);
    await client.dc.continueRequest({ threadId: 1 });
    const stop = await client.stopped();
    assert.equal(stop.reason, 'data breakpoint');
    assert.match(
      stop.text ?? '',
      /^d1\.port\[2\]\.pending: false → true, by twolevel\.ts:\d+ \(setPending\)/,
    );
    const [top] = await client.stack();
    assert.equal(top?.name, 'setPending (hypervisor)');
    assert.match(top.source?.path ?? '', /hypervisor.twolevel\.ts$/);

    // A row of the locals: what an object holds is watched, a number is only a copy.
    const rows = async (reference: number): Promise<DebugProtocol.Variable[]> =>
      (await client.dc.variablesRequest({ variablesReference: reference })).body.variables;
    const { scopes } = (await client.dc.scopesRequest({ frameId: top.id })).body;
    const locals = scopes[0]?.variablesReference ?? 0;
    const copy = await info({ variablesReference: locals, name: 'number' });
    assert.equal(copy.dataId, null);
    assert.match(copy.description, /number is a local variable; what it leads to could be watched/);
    const given = (await rows(locals)).find(({ name }) => name === 'domain');
    const state = (await rows(given?.variablesReference ?? 0)).find(({ name }) => name === 'state');
    const row = await info({ variablesReference: state?.variablesReference ?? 0, name: 'shutdown' });
    assert.deepEqual([row.description, row.canPersist], ['domain.state.shutdown', false]);
    await client.dc.setDataBreakpointsRequest({ breakpoints: [{ dataId: row.dataId ?? '' }] });
    await client.dc.continueRequest({ threadId: 1 });
    const { text = '' } = await client.stopped();
    assert.match(text, /^domain\.state\.shutdown: not there → poweroff, by domain\.ts:\d+ \(shutdown\)$/);
  });
});
