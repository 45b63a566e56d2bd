/** The trace asked through the adapter, and going back to a record. */
import assert from 'node:assert/strict';
import { adapterHost } from '../../src/host/adapter';
import { inProcessTarget } from '../../src/host/machine';
import type { Answer, QuestionKind, TraceQuestions } from '../../src/machine/records/questions';
import { connect, type Client } from '../support/dap-client';
import { SAMPLE } from '../support/machines';

const asker =
  (client: Client) =>
  async <K extends QuestionKind>(kind: K, question: TraceQuestions[K]['ask']): Promise<Answer<K>> => {
    const { answer } = await client.custom('hyperstep/traceQuestion', {
      question: { kind, ...question } as never,
    });
    return answer;
  };

describe('the trace through the adapter', function () {
  this.timeout(60_000);
  let client: Client;
  afterEach(() => client.close());

  it('answers with call sites; a record can be run to, from the start, and is then the next call', async () => {
    client = await connect(adapterHost({ inProcess: inProcessTarget }));
    await client.launch({ kernel: SAMPLE, noConfigurationDone: true });
    await client.dc.setFunctionBreakpointsRequest({
      breakpoints: [{ name: 'hypercall:mmuext_op' }, { name: 'hypercall:sched_op.shutdown' }],
    });
    await client.dc.configurationDoneRequest();
    await client.stopped();
    await client.dc.setFunctionBreakpointsRequest({ breakpoints: [{ name: 'hypercall:sched_op.shutdown' }] });
    await client.dc.continueRequest({ threadId: 1 });
    await client.stopped();
    const ask = asker(client);

    const spec = { filter: 'mmu_update && refused' };
    const { matched, scanned, next } = await ask('scan', spec);
    assert.ok(matched > 0 && scanned === next, `${matched} of ${next}`);
    const { rows } = await ask('rows', { ...spec, start: 0, count: 100 });
    assert.equal(rows.length, matched);
    const [row] = rows;
    assert.ok(row !== undefined);
    assert.equal(row.errno, 'EBUSY');
    assert.notEqual(row.site, undefined);
    assert.doesNotMatch(row.site ?? '', /^(hypercall|HYPERVISOR)_/, 'not the stub, but who called it');
    const site = row.site?.replace(/\+.*/, '') ?? '';
    assert.match(site, /^\w+$/);
    assert.equal((await ask('scan', { filter: `rip in ${site}` })).problem, undefined);
    const here = await ask('rows', { filter: `rip in ${site}`, start: 0, count: 1000 });
    assert.ok(here.rows.some(({ at }) => at === row.at));
    assert.ok(here.rows.every((one) => one.site?.startsWith(site)));
    assert.match(
      (await ask('scan', { filter: 'rip in no_such_function' })).problem?.message ?? '',
      /no function/,
    );
    // What is exported has the name, too.
    const { text, done } = await ask('export', { ...spec, format: 'ndjson', from: 0, to: next, head: false });
    assert.ok(done);
    assert.equal((JSON.parse(text.trim().split('\n')[0] ?? '') as { site?: string }).site, row.site);
    const record = await ask('record', { at: row.at });
    assert.equal(record.args[0]?.name, 'ureqs');
    assert.ok((record.args[0].children?.length ?? 0) > 0);

    // Back to it: with the breakpoints passed on the way.
    const { retired, domain, vcpu, rip } = row;
    await client.custom('hyperstep/runToRecord', { retired, domain, vcpu, rip });
    const { reason, description } = await client.stopped();
    assert.deepEqual([reason, description], ['goto', 'Paused where the record was made']);
    const { body } = await client.dc.stackTraceRequest({ threadId: 1, startFrame: 0, levels: 1 });
    assert.equal(
      body.stackFrames[0]?.instructionPointerReference,
      `virtual:d1v0:0x${(BigInt(rip) - 2n).toString(16)}`,
    );
    assert.doesNotMatch(client.output(), /not the one/);
    assert.equal((await ask('info', {})).next, row.at, 'its call has not been made');
    // The breakpoints are there again.
    await client.dc.continueRequest({ threadId: 1 });
    await client.stopped();
    assert.equal((await ask('info', {})).next, next);
  });

  it('refuses what it cannot make sense of', async () => {
    client = await connect(adapterHost({ inProcess: inProcessTarget }));
    await client.launch({ kernel: SAMPLE, stopOnEntry: true });
    await client.stopped();
    const refused = async (question: object): Promise<string> =>
      (await client.refused('hyperstep/traceQuestion', { question })).message ?? '';
    assert.match(await refused({ kind: 'everything' }), /question\.kind: expected/);
    assert.match(
      await refused({ kind: 'rows', filter: '', start: -1, count: 5 }),
      /question\.start: expected/,
    );
    assert.match(await refused({ kind: 'record', at: 5 }), /record 5/);
    assert.deepEqual((await client.custom('hyperstep/functions', { prefix: 'guest_m' })).names, [
      'guest_main',
    ]);
  });
});
