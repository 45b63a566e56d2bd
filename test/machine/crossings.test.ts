/** Into the hypervisor by all its ways, its state watched and its refusals, in the worker that the package ships. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { instrument } from '../../scripts/probes/instrument';
import type { ProbeTable } from '../../src/base/probe-table';
import { workerTarget } from '../../src/host/node';
import { NAMED_FUNCTIONS } from '../../src/machine/crossings';
import { createRecords } from '../../src/machine/records';
import type { RunUntil, Stop, StopPoint, Target, VcpuRef } from '../../src/machine/target';
import { withLine } from '../support/lines';
import { SAMPLE, domain, watch } from '../support/machines';

const vcpu: VcpuRef = { domain: 1, vcpu: 0 };
const root = join(__dirname, '../..');
const lineOf = (file: string, text: string): number => withLine(join(root, 'src', file), text);
type Filter = Extract<StopPoint, { kind: 'event' }>['filter'];

describe('machine: crossings', function () {
  this.timeout(60_000);
  let target: Target;
  beforeEach(async () => {
    target = await workerTarget({ domains: [domain(SAMPLE)] });
  });
  afterEach(() => target.dispose());

  const event = (filter: Filter, condition?: string): StopPoint => ({
    kind: 'event',
    id: 1,
    filter,
    ...(condition === undefined ? {} : { condition }),
  });
  /** Runs to an event; then nothing is to be stopped at any more. */
  const until = async (filter: Filter, condition?: string): Promise<Stop> => {
    await target.setStops([event(filter, condition)]);
    const stop = await target.run({ stopWhenIdle: true });
    assert.equal(stop.reason.kind, 'event');
    await target.setStops([]);
    return stop;
  };
  const rip = async (): Promise<bigint> => (await target.domains())[0]?.vcpus[0]?.rip ?? 0n;
  const top = async (): Promise<string> => (await target.hypervisorStack())[0]?.function ?? 'the guest';
  const stepIn = (more: RunUntil = {}): Promise<Stop> =>
    target.run({ instructions: 1n, vcpu, hypervisor: 'in', ...more });
  /** Out of all of it, as a person does. */
  const leave = async (): Promise<Stop> => {
    for (let out = 0; out < 40; out++) {
      const stop = await target.run({ hypervisor: 'out' });
      if (stop.reason.kind !== 'statement') return stop;
    }
    throw new Error('never left');
  };

  it('are named after functions that are there', () => {
    const table = JSON.parse(readFileSync(join(root, 'dist/probes.json'), 'utf8')) as ProbeTable;
    const known = new Set(
      Object.entries(table).flatMap(([file, sites]) => sites.map((site) => `${file} ${site.function}`)),
    );
    assert.deepEqual(NAMED_FUNCTIONS.filter((name) => !known.has(name)), []); // prettier-ignore
  });

  it('a fault is entered where it is decided whose it is, and left to the guest’s handler', async () => {
    // To the same place by a stop before the bounce, and from before the instruction by a step.
    const { at } = await until('guest-fault', 'vector == 14 && error == 2');
    const faulting = await rip();
    await target.restart();
    await target.run({ instructions: at.retired, skipUpcalls: false });
    assert.equal(await rip(), faulting);
    const stop = await stepIn();
    assert.deepEqual(stop.reason, { kind: 'statement', ids: [] });
    assert.equal(await top(), 'decideFault');
    const locals = await target.hypervisorValues(0, []);
    assert.ok(locals.some(({ name }) => name === 'fault'));
    assert.equal((await target.hypervisorEvaluate(0, 'fault.vector')).text, '14 (0xe)');
    assert.match((await target.crossing(vcpu))?.fault ?? '', /^#PF error code 0x2 at 0xffffc00000008000$/);
    assert.equal((await target.crossing(vcpu))?.kind, 'fault');
    // Over the statement that asks for repairs is out of it; what it bounces to is not the next instruction.
    const left = await leave();
    assert.equal(left.reason.kind, 'step');
    assert.notEqual(await rip(), faulting);
    assert.equal(left.at.retired, at.retired);
  });

  it('from the stop before a fault is bounced, too', async () => {
    await until('guest-fault', 'vector == 13');
    assert.equal((await target.crossing(vcpu))?.kind, 'bounce');
    await stepIn();
    assert.equal(await top(), 'deliverFault');
    assert.equal((await target.crossing(vcpu))?.fault, '#GP error code 0x0');
    assert.equal((await leave()).reason.kind, 'step');
  });

  it('a store to a page table is entered, its emulation stepped, and the next instruction is the guest’s', async () => {
    await target.setStops([
      { kind: 'statement', id: 2, file: 'hypervisor/ptwrite.ts', line: lineOf('hypervisor/ptwrite.ts', 'const copy = core.slots.zeroPage') },
    ]); // prettier-ignore
    const stop = await target.run({});
    assert.deepEqual(stop.reason, { kind: 'statement', ids: [2] });
    assert.equal(await top(), 'emulateTableWrite');
    assert.equal((await target.crossing(vcpu))?.kind, 'page-table write');
    const before = await rip();
    await target.setStops([]);
    const after = await leave();
    assert.equal(after.reason.kind, 'step');
    assert.notEqual(await rip(), before);
  });

  it('deliveries are entered only when asked for', async () => {
    // The sample has an upcall of its timer: before the instruction that it comes at.
    const { at } = await until('event-upcall');
    const before = async (): Promise<void> => {
      await target.restart();
      await target.run({ instructions: at.retired, skipUpcalls: false });
    };
    await before();
    const kinds: string[] = [];
    for (let steps = 0; steps < 200; steps++) {
      const stop = await stepIn({ deliveries: true, skipUpcalls: false });
      if (stop.reason.kind !== 'statement') continue;
      kinds.push(await top());
      if (kinds.at(-1) === 'upcall') break;
      await leave();
    }
    assert.equal(kinds.at(-1), 'upcall', kinds.join(' '));
    assert.equal((await target.crossing(vcpu))?.kind, 'upcall');
    assert.equal((await leave()).reason.kind, 'step');
    // The callback's first instruction, which is where the guest goes on.
    const callbacks = (await target.hypervisorState(vcpu)).find(({ name }) => name === 'callbacks');
    assert.equal(await rip(), callbacks?.children?.find(({ name }) => name === 'event')?.value);

    await before();
    for (let steps = 0; steps < 40; steps++) {
      const stop = await stepIn();
      if (stop.reason.kind !== 'statement') continue;
      assert.ok(!['upcall', 'expireTimers', 'deliverNmi'].includes(await top()));
      await leave();
    }
  });

  it('a check that fails is stopped at, with what it looked at', async () => {
    await target.setStops([event('failing-check', "errno == EINVAL && name == 'update_va_mapping'")]);
    const stop = await target.run({});
    assert.equal(stop.reason.kind, 'statement');
    assert.match(
      stop.reason.text ?? '',
      /^update_va_mapping: EINVAL: mfn 0x\w+ .* is in use as L1, so it cannot become writable$/,
    );
    const stack = await target.hypervisorStack();
    assert.equal(stack[0]?.function, 'getType');
    assert.equal(stack[0].line, lineOf('hypervisor/pagetypes.ts', 'is in use as ${FRAME_TYPE_NAMES[typeOf(mfn)]}, so') - 2); // prettier-ignore
    assert.equal((await target.hypervisorEvaluate(0, 'wanted')).text, '6');
    const caller = stack.findIndex((one) => one.function === 'getFromL1e');
    assert.ok(caller > 0, 'who asked for it is on the stack');
    assert.match((await target.hypervisorEvaluate(caller, 'low & 2')).text, /^2/);
    // Its own failure is passed on by others, and is not another one: the guest is next.
    assert.equal((await leave()).reason.kind, 'step');

    // What was refused says afterwards, too, where.
    await target.setStops([event('hypercall-failed', "name == 'mmu_update'")]);
    assert.equal((await target.run({})).reason.kind, 'event');
    assert.deepEqual(
      (await target.hypervisorFailure(vcpu)).slice(0, 1).map((one) => one.file),
      ['hypervisor/hypercalls/mmu.ts'],
    );
  });

  it('looking at failing checks changes nothing', async () => {
    const other = await watch(domain(SAMPLE));
    const plain = await other.target.run({ stopWhenIdle: true });
    await target.setStops([event('failing-check', 'errno == ENOMEM')]);
    assert.deepEqual(await target.run({ stopWhenIdle: true }), plain);
    assert.equal(await target.stateHash(), await other.target.stateHash());
    await other.target.dispose();
  });
});

describe('machine: records of statements', () => {
  const at = (site: number, below: number): { file: string; site: number; below: number } => ({
    file: 'a.ts',
    site,
    below,
  });

  it('give each call of a function that calls itself its own values', () => {
    const records = createRecords();
    // f: 0 its entry, 1 a loop that calls g; g: 2, which calls f. Depths are those below and two more.
    const come = (...list: readonly (readonly [site: number, depth: number, value: string])[]): void => {
      for (const [site, depth, value] of list) records.add('a.ts', site, [value], depth);
    };
    come([0, 12, 'f1'], [1, 12, 'f1'], [2, 13, 'g1'], [0, 14, 'f2'], [1, 14, 'f2'], [2, 15, 'g2'], [0, 16, 'f3']); // prettier-ignore
    const stack = [at(0, 14), at(2, 13), at(1, 12), at(2, 11), at(1, 10)];
    const values = (): unknown[] => records.along(stack, 16).map((one) => one?.[0]);
    assert.deepEqual(values(), ['f3', 'g2', 'f2', 'g1', 'f1']);
    // That call is over, and the next one of the same loop has begun.
    come([1, 14, 'f2 again'], [2, 15, 'g3'], [0, 16, 'f4']);
    assert.deepEqual(values(), ['f4', 'g3', 'f2 again', 'g1', 'f1']);
  });
  it('keep the last values of a place however long ago, where there is only one', () => {
    const records = createRecords();
    records.add('a.ts', 7, ['long ago'], undefined);
    for (let i = 0; i < 10_000; i++) records.add('a.ts', 3, [i], undefined);
    assert.deepEqual(records.along([at(3, 5), at(7, 4)], 5), [[9999], ['long ago']]);
    assert.deepEqual(records.along([at(3, 5), at(7, 4), at(7, 3)], 5), [[9999], undefined, undefined]);
    records.clear();
    assert.deepEqual(records.along([at(3, 5)], 5), [undefined]);
  });
  it('know which functions call themselves', () => {
    const { sites } = instrument(
      'a.ts',
      'function f() { g(); } const g = () => { h(); f(); }; function h() { return 1; }',
      './p',
    );
    assert.deepEqual(
      sites.map((one) => [one.function, one.recursive ?? false]),
      [['f', true], ['g', true], ['g', true], ['h', false]], // prettier-ignore
    );
  });
});
