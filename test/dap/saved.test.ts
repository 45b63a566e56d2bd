/** Saving a machine from the debugger, and debugging it on from its file. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { adapterHost } from '../../src/host/adapter';
import { inProcessTarget } from '../../src/host/machine';
import { machineHost } from '../../src/host/machine';
import { createEmbeddedTarget } from '../../src/machine/embedded';
import type { MachineConfig } from '../../src/machine/target';
import { SAMPLE } from '../support/machines';
import { connect, type Client } from '../support/dap-client';

const host = () => adapterHost({ inProcess: inProcessTarget });

async function names(client: Client): Promise<readonly string[]> {
  const { body } = await client.dc.stackTraceRequest({ threadId: 1, startFrame: 0, levels: 20 });
  return body.stackFrames.map(({ name }) => name);
}
const summary = (client: Client): Promise<object> => client.custom('hyperstep/traceSummary', {});

describe('a machine saved by the debugger', function () {
  this.timeout(60_000);
  let folder = '';
  let client: Client;
  before(() => (folder = mkdtempSync(join(tmpdir(), 'dap-saved-'))));
  after(() => rmSync(folder, { recursive: true, force: true }));
  afterEach(() => client.close());

  it('goes on in another session where it stood, with its stack, its symbols and its trace', async () => {
    const path = join(folder, 'stopped.hys');
    client = await connect(host());
    await client.launch({ kernel: SAMPLE, noConfigurationDone: true });
    await client.dc.setFunctionBreakpointsRequest({ breakpoints: [{ name: 'hypercall:mmu_update' }] });
    await client.dc.configurationDoneRequest();
    await client.stopped();
    const stack = await names(client);
    assert.ok(stack.length > 1, stack.join());
    const report = await client.custom('hyperstep/save', { file: path });
    assert.ok(report.bytes > 10_000 && report.frames > 10);
    assert.match(client.output(), /saved to .*stopped\.hys/);
    await client.dc.setFunctionBreakpointsRequest({ breakpoints: [] });
    await client.dc.continueRequest({ threadId: 1 });
    await client.event('terminated');
    const whole = await summary(client);
    await client.close();

    client = await connect(host());
    await client.launch({ restore: path, stopOnEntry: true });
    await client.stopped();
    assert.deepEqual(await names(client), stack);
    await client.dc.continueRequest({ threadId: 1 });
    await client.event('terminated');
    assert.deepEqual(await summary(client), whole);

    // Its beginning is where it was saved.
    await client.dc.customRequest('restart', {});
    await client.stopped();
    assert.deepEqual(await names(client), stack);
  });

  it('runs on when it was running', async () => {
    const path = join(folder, 'running.hys');
    client = await connect(host());
    await client.launch({});
    const saved = client.custom('hyperstep/save', { file: path });
    await client.event('terminated');
    await saved;
    assert.ok(existsSync(path));
  });

  it('shows how far it is, and is cancelled by that', async () => {
    const path = join(folder, 'cancelled.hys');
    // Slow enough for a client to see and to act.
    const slow = {
      ...machineHost({ paced: true }),
      turn: () => new Promise<void>((r) => setTimeout(r, 400)),
    };
    const createTarget = (config: MachineConfig) => createEmbeddedTarget(config, slow);
    client = await connect({ ...host(), createTarget }, { supportsProgressReporting: true });
    await client.launch({ stopOnEntry: true });
    await client.stopped();
    const launching = client.events.filter(({ event }) => event === 'progressStart').length;
    const refused = client.refused('hyperstep/save', { file: path });
    const start = await (async () => {
      for (let i = 0; i <= launching; i++) {
        const one = await client.event('progressStart');
        const { progressId } = one.body as { progressId: string };
        if (progressId.startsWith('save-')) return progressId;
      }
      return assert.fail('no progress of the save');
    })();
    void client.dc.customRequest('cancel', { progressId: start });
    const response = await refused;
    assert.equal(response.message, 'cancelled');
    assert.ok(!existsSync(path));
    await client.event('progressEnd');
    await client.custom('hyperstep/save', { file: path });
    assert.ok(existsSync(path));
  });

  it('is refused when it is none, or does not fit what is beside it', async () => {
    const path = join(folder, 'none.hys');
    writeFileSync(path, 'nothing of the kind');
    client = await connect(host());
    await client.dc.initializeRequest();
    const bad = await client.refused('launch', { restore: path });
    assert.match(JSON.stringify(bad.body), /none\.hys: its beginning: this is no saved machine/);
    const both = await client.refused('launch', { restore: path, memory: 64 });
    assert.match(JSON.stringify(both.body), /memory: it cannot be given with restore/);
    const no = await client.refused('hyperstep/save', { file: path });
    assert.match(JSON.stringify(no.body), /no machine has been launched yet/);
  });
});
