/** The bundled sample prints here what it prints on real Xen, and the trace says what it asked for and what it got. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Stop } from '../../src/machine/target';
import { SAMPLE, domain, watch, wholeTrace, type Watched } from '../support/machines';

const EXPECTED = join(dirname(SAMPLE), 'real-xen.txt');

/** The lines of a transcript, each as a pattern: # stands for a number that differs from run to run. */
const patterns = readFileSync(EXPECTED, 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('# '))
  .map((line) => ({
    line,
    pattern: new RegExp(`^${line.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll('#', '[0-9a-f]+')}$`),
  }))
  // "#PF: …" and "#GP: …" are the manual's names, not numbers.
  .map(({ line, pattern }) => ({
    line,
    pattern: line.startsWith('#') ? new RegExp(pattern.source.replace('^[0-9a-f]+', '^#')) : pattern,
  }));

describe('the sample guest', () => {
  let run: Watched;
  let stop: Stop;

  before(async () => {
    run = await watch(domain(SAMPLE, { name: 'first-hypercall' }));
    stop = await run.target.run({});
  });
  after(() => run.target.dispose());

  it('powers off', () => {
    assert.deepEqual(
      [stop.reason.kind, 'reason' in stop.reason && stop.reason.reason],
      ['shutdown', 'poweroff'],
    );
  });

  it('prints line by line what it prints on real Xen', () => {
    const text = run.console();
    assert.ok(text.endsWith('\r\n'), 'the last line is ended by CR LF');
    const lines = text.slice(0, -2).split('\r\n');
    assert.ok(
      !lines.join('').includes('\r') && !lines.join('').includes('\n'),
      'lines are ended by CR LF alone',
    );
    assert.ok(patterns.length > 20, `${EXPECTED} has lines`);
    patterns.forEach(({ line, pattern }, i) =>
      assert.match(lines[i] ?? '(nothing)', pattern, `line ${i + 1}: ${line}`),
    );
    assert.equal(lines.length, patterns.length);
  });

  it('prints its first lines to the hypervisor console, which ends in the log', () => {
    assert.ok(
      run.log.some((line) => line.includes('first-hypercall: a paravirtualized guest on xen-3.0-x86_64')),
      run.log.join('\n'),
    );
  });

  it('leaves a trace that names every hypercall', async () => {
    const records = await wholeTrace(run.target);
    const { total, calls } = await run.target.traceSummary();
    assert.equal(records.length, total);
    assert.deepEqual(
      calls.filter(({ name }) => /^#|^hypercall_\d/.test(name)),
      [],
    );
    const declared = new Map((await run.target.hypercalls()).map((h) => [h.name, h]));
    for (const { seq, call } of records) {
      const declaration = declared.get(call.name);
      assert.ok(declaration, `record ${seq}: ${call.name}`);
      assert.ok(
        declaration.ops.length === 0 ||
          call.op !== undefined ||
          call.errno !== undefined ||
          call.name === 'mmu_update',
        `record ${seq}: ${call.name} without its sub-operation`,
      );
      assert.notEqual(call.result, undefined, `record ${seq}: ${call.name} has no result`);
    }
    const summed = calls.map(({ name, count }) => [name, count]);
    const counted = [...new Set(records.map(({ call }) => call.name))].map((name) => [
      name,
      records.filter(({ call }) => call.name === name).length,
    ]);
    assert.deepEqual(new Map(summed as [string, number][]), new Map(counted as [string, number][]));
  });

  it('shows each refusal with its error and its reason', async () => {
    const refused = (await wholeTrace(run.target)).filter(({ call }) => call.errno !== undefined);
    const told = refused.map(
      ({ call }) => `${call.name}${call.op === undefined ? '' : `.${call.op}`} ${call.errno}`,
    );
    for (const expected of [
      'mmuext_op.pin_l1_table EINVAL',
      'update_va_mapping EBUSY',
      'mmu_update.normal_pt_update EBUSY',
      'xen_version ENOSYS',
    ])
      assert.ok(
        told.some((one) => one.toLowerCase().startsWith(expected.toLowerCase())),
        `${expected} is not among:\n${told.join('\n')}`,
      );
    for (const { seq, call } of refused) {
      assert.ok((call.reason ?? '').length > 10, `record ${seq}: ${call.name} ${call.errno} has no reason`);
      assert.ok(
        BigInt.asIntN(64, call.result ?? 0n) < 0n,
        `record ${seq}: ${call.name} ${call.errno} returned ${call.result}`,
      );
    }
    const negative = (await wholeTrace(run.target)).filter(
      ({ call }) => BigInt.asIntN(64, call.result ?? 0n) < 0n,
    );
    assert.deepEqual(
      negative.map(({ seq }) => seq),
      refused.map(({ seq }) => seq),
      'every negative result is a named refusal',
    );
  });

  it('shows the entries of a multicall as calls of their own', async () => {
    const records = await wholeTrace(run.target);
    const multicall = records.findIndex(({ call }) => call.name === 'multicall');
    const inner = records.filter(({ depth }) => depth === 1);
    assert.ok(multicall > 0);
    assert.equal(inner.length, 3);
    assert.ok(inner.every(({ call }) => call.name !== 'multicall'));
  });
});
