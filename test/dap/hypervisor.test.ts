/** Into the hypervisor's source and back, over the protocol, with the machine in its worker. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { adapterHost } from '../../src/host/adapter';
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
    const { stackFrames } = (await client.dc.stackTraceRequest({ threadId: 1 })).body;
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
});
