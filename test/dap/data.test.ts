import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { DebugProtocol } from '@vscode/debugprotocol';
import { adapterHost } from '../../src/host/adapter';
import { inProcessTarget } from '../../src/host/machine';
import type { Client } from '../support/dap-client';
import { connect } from '../support/dap-client';

// Data breakpoints, places to step into and to go on from, and breakpoints at what happens, in a real machine.

const folder = path.join(__dirname, '..', '..', 'media', 'samples', 'first-hypercall');

describe('dap: data breakpoints and targets', function () {
  this.timeout(60_000);
  let client: Client;
  beforeEach(async () => {
    client = await connect(adapterHost({ inProcess: inProcessTarget }));
    await client.launch({ stopOnEntry: true });
    await client.stopped();
  });
  afterEach(() => client.close());

  const send = async <T extends DebugProtocol.Response>(command: string, args: object): Promise<T['body']> =>
    ((await client.dc.send(command, args)) as T).body as T['body'];
  const info = (args: object): Promise<DebugProtocol.DataBreakpointInfoResponse['body']> =>
    send<DebugProtocol.DataBreakpointInfoResponse>('dataBreakpointInfo', args);
  const watch = async (...breakpoints: object[]): Promise<DebugProtocol.Breakpoint[]> => {
    const body = await send<DebugProtocol.SetDataBreakpointsResponse>('setDataBreakpoints', { breakpoints });
    for (const { verified, message } of body.breakpoints) assert.ok(verified, message);
    return body.breakpoints;
  };
  const functions = async (...breakpoints: DebugProtocol.FunctionBreakpoint[]): Promise<void> => {
    const { body } = await client.dc.setFunctionBreakpointsRequest({ breakpoints });
    for (const { verified, message } of body.breakpoints) assert.ok(verified, message);
  };

  it('a variable: told with its name, old and new value, as often as its condition says', async () => {
    const { dataId, description, accessTypes, canPersist } = await info({ name: 'message' });
    assert.match(description, /^message \(\d+ bytes at virtual:d1v0:0xffffffff8\w+\)$/);
    assert.deepEqual([accessTypes, canPersist], [['read', 'write', 'readWrite'], true]);
    const [set] = await watch({ dataId, accessType: 'write', condition: 'changed', hitCondition: '2' });
    const stop = await client.go();
    assert.equal(stop.reason, 'data breakpoint');
    assert.deepEqual(stop.hitBreakpointIds, [set?.id]);
    assert.match(stop.text ?? '', /^message \+ 0x1: 0x0 → 0x/);
    // The store that did it has been made, and nothing since.
    const [frame] = await client.stack();
    assert.ok(frame?.line !== undefined && frame.line > 0);
  });

  it('a row of a tree: a register, which only changes are seen of', async () => {
    const { scopes } = (await client.dc.scopesRequest({ frameId: (await client.stack())[0]?.id ?? 0 })).body;
    const variablesReference = scopes.find(({ name }) => name === 'General')?.variablesReference ?? 0;
    const { dataId, accessTypes } = await info({ variablesReference, name: 'rbx' });
    assert.deepEqual([dataId, accessTypes], ['register d1v0 rbx', ['write']]);
    await watch({ dataId });
    assert.match((await client.go()).text ?? '', /^rbx: 0x0 → 0x/);
  });

  it('the page-table entry of an address, which a hypercall changes', async () => {
    const { dataId } = await info({ name: 'l1e(map_machine_frame)' });
    assert.match(dataId ?? '', /^entry d1v0 0x\w+ 1$/);
    const range = await info({ name: 'l1', asAddress: true, bytes: 4096 });
    await watch({ dataId: range.dataId, accessType: 'write', condition: "by == 'hypervisor'" });
    const stop = await client.go();
    assert.match(stop.text ?? '', /→ .* by the hypervisor \(mm/);
  });

  it('what cannot be watched is answered with the reason', async () => {
    assert.deepEqual(await info({ name: 'nonesuch' }), {
      dataId: null,
      description: "there is no 'nonesuch' here",
    });
    const { body } = await client.dc.send('setDataBreakpoints', {
      breakpoints: [{ dataId: 'memory virtual:d1v0:0x1000 0' }, { dataId: 'register d1v0 r77' }],
    });
    assert.deepEqual(
      body.breakpoints.map(({ message }) => message),
      ['0 bytes: from 1 to 16777216 can be watched', "there is no register 'r77'"],
    );
  });

  it('the entries of a multicall can be chosen to stop before', async () => {
    await functions({ name: 'hypercall:multicall' });
    await client.go();
    const frameId = (await client.stack())[0]?.id ?? 0;
    const { targets } = await send<DebugProtocol.StepInTargetsResponse>('stepInTargets', { frameId });
    assert.ok(targets.length >= 3, JSON.stringify(targets));
    const last = targets.at(-1);
    await functions();
    assert.equal((await client.go('stepIn', { targetId: last?.id })).reason, 'step');
    const [boundary] = await client.stack();
    assert.match(boundary?.name ?? '', /^hypercall /);
    assert.ok(!boundary?.name.startsWith('hypercall multicall'), boundary?.name);
  });

  it('the calls on a line can be chosen to step into; another line of the function to go on from', async () => {
    await functions({ name: 'call_several_at_once' });
    await client.go();
    const text = readFileSync(path.join(folder, 'main.c'), 'utf8').split('\n');
    const [frame] = await client.stack();
    const source = { path: path.join(folder, frame?.source?.name ?? '') };
    const locations = await send<DebugProtocol.BreakpointLocationsResponse>('breakpointLocations', {
      source,
      line: (frame?.line ?? 0) + 1,
      endLine: (frame?.line ?? 0) + 40,
    });
    assert.ok(text.length > 0 && locations.breakpoints.length > 2);
    const line = locations.breakpoints[1]?.line ?? 0;
    const { targets } = await send<DebugProtocol.GotoTargetsResponse>('gotoTargets', { source, line });
    assert.equal(targets[0]?.line, line);
    assert.equal((await client.go('goto', { targetId: targets[0].id })).reason, 'goto');
    assert.equal((await client.stack())[0]?.line, line);
    // On to a line that calls something.
    for (let i = 0; i < 20; i++) {
      const frameId = (await client.stack())[0]?.id ?? 0;
      const found = await send<DebugProtocol.StepInTargetsResponse>('stepInTargets', { frameId });
      const [call] = found.targets;
      if (call !== undefined) {
        assert.equal((await client.go('stepIn', { targetId: call.id })).reason, 'step');
        assert.equal((await client.stack())[0]?.name, call.label);
        return;
      }
      await client.go('next');
    }
    assert.fail('no line with a call');
  });

  it('breakpoints at what happens are named as such', async () => {
    await functions({ name: 'trap:GP' }, { name: 'xenstore:/local/domain/1:write', condition: 'dom == 1' });
    const reasons: string[] = [];
    for (let i = 0; i < 2; i++) {
      const { reason, text = '' } = await client.go();
      reasons.push(`${reason}: ${text.replace(/[ =].*/, '')}`);
    }
    assert.deepEqual([...reasons].sort(), ['function breakpoint: #GP', 'function breakpoint: xenstore:']);
  });
});
