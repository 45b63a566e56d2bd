/** Data breakpoints on the hypervisor's own state, in the worker that the package ships and without probes. */
import assert from 'node:assert/strict';
import { workerTarget } from '../../src/host/node';
import type { Stop, StopPoint, Target } from '../../src/machine/target';
import { SAMPLE, domain, watch } from '../support/machines';

const point = (expression: string, condition?: string): StopPoint => ({
  kind: 'state',
  id: 3,
  expression,
  ...(condition === undefined ? {} : { condition }),
});

describe('machine: watched state', function () {
  this.timeout(60_000);
  let target: Target;
  beforeEach(async () => {
    target = await workerTarget({ domains: [domain(SAMPLE)] });
  });
  afterEach(() => target.dispose());

  const text = ({ reason }: Stop): string => ('text' in reason ? (reason.text ?? '') : '');

  it('holds at the statement after the one that changed it, with old and new', async () => {
    // The frame that the sample makes a page table of, from what it is refused for later.
    await target.setStops([{ kind: 'event', id: 1, filter: 'hypercall-failed' }]);
    const mfn = /mfn (0x\w+) .*cannot become L1/.exec(text(await target.run({})))?.[1] ?? '';
    await target.restart();
    assert.equal((await target.hypervisorWatch(`frame ${mfn}.type`)).name, `frame[${mfn}].type`);
    await target.setStops([point(`frame ${mfn}.type`)]);
    const stop = await target.run({});
    assert.deepEqual(stop.reason, {
      kind: 'statement',
      ids: [3],
      text: `frame[${mfn}].type: writable → L1, by pagetypes.ts:${/:(\d+) \(getType\)/.exec(text(stop))?.[1] ?? ''} (getType)`,
    });
    const [top] = await target.hypervisorStack();
    assert.equal(top?.function, 'getType');
    // The statement it stands before is the one after the assignment.
    const change = Number(/:(\d+) \(/.exec(text(stop))?.[1]);
    assert.ok(top.line > change);
    await target.setStops([point(`frame ${mfn}.typeCount`, 'new == 2 && old == 1')]);
    assert.match(
      text(await target.run({})),
      /typeCount: 1 → 2, by pagetypes\.ts:\d+ \(getType\), which called pagetypes\.ts:\d+ \(countOf\)$/,
    );
  });

  it('sees ports, grants and what is kept of domains and vCPUs', async () => {
    assert.match((await target.hypervisorWatch('port d1 1')).text, /kind: "interdomain"/);
    assert.equal((await target.hypervisorWatch('d1.port[1].pending')).text, 'false');
    assert.match((await target.hypervisorWatch('grant d1 8')).text, /flags: 0/);
    assert.equal((await target.hypervisorWatch('d1v0.run')).text, 'runnable');
    for (const [wrong, message] of [
      ['frame[0xfffffff].type', /has no frame 0xfffffff/],
      ['d1.port[4000]', /no element 4000/],
      ['d7.totalPages', /no domain 7/],
      ['d1.totalPagse', /no 'totalPagse'; there are maxPages, totalPages/],
      ['weather', /no 'weather' here; there are frame\[MFN\]/],
      ['frame[1].type + 1', /names, members and elements only/],
    ] as const)
      await assert.rejects(target.hypervisorWatch(wrong), message);
    await target.setStops([point('d1.port[2].pending')]);
    const stop = await target.run({});
    assert.match(
      text(stop),
      /^d1\.port\[2\]\.pending: false → true, by twolevel\.ts:\d+ \(setPending\), which called twolevel\.ts:\d+ \(setBit\)$/,
    );
  });

  it('watches what a local variable leads to', async () => {
    await target.setStops([{ kind: 'hypercall', id: 1, name: 'sched_op.shutdown', when: 'entry' }]);
    await target.run({});
    await target.setStops([]);
    await target.run({ instructions: 1n, vcpu: { domain: 1, vcpu: 0 }, hypervisor: 'in' });
    const path = ['context', 'domain', 'state', 'shutdown'];
    const { expression, name } = await target.hypervisorWatch({ frame: 0, path });
    assert.equal(name, 'context.domain.state.shutdown');
    await target.setStops([point(expression)]);
    const stop = await target.run({});
    assert.match(
      text(stop),
      /^context\.domain\.state\.shutdown: not there → poweroff, by domain\.ts:\d+ \(shutdown\)$/,
    );
    await assert.rejects(target.hypervisorWatch({ frame: 0, path: ['nothing'] }), /no 'nothing' any more/);
    // Another machine has another domain: nothing is left of that one.
    await target.restart();
    await assert.rejects(target.hypervisorWatch(expression), /is not known any more/);
    assert.equal((await target.run({})).reason.kind, 'shutdown');
  });

  it('finds changes after the exit where there are no probes, and changes nothing itself', async () => {
    const plain = await watch(domain(SAMPLE));
    const end = await plain.target.run({ stopWhenIdle: true });
    const other = await watch(domain(SAMPLE));
    await other.target.setStops([point('d1.port[2].pending')]);
    const stop = await other.target.run({});
    assert.deepEqual(stop.reason, { kind: 'state', ids: [3], text: 'd1.port[2].pending: false → true' });
    await other.target.setStops([]);
    assert.deepEqual(await other.target.run({ stopWhenIdle: true }), end);
    assert.equal(await other.target.stateHash(), await plain.target.stateHash());
    await plain.target.dispose();
    await other.target.dispose();
  });
});
