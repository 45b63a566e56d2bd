/** Stepping through the hypervisor, in the worker that the package ships. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { instrument } from '../../scripts/probes/instrument';
import { samplesFolder, workerTarget } from '../../src/host/node';
import type { Stop, Target, VcpuRef } from '../../src/machine/target';
import { withLine } from '../support/lines';
import { SAMPLE, domain, watch } from '../support/machines';

/** Prints four lines by console_io. */
const TOUR = join(samplesFolder, 'c-tour', 'c-tour.elf');
const vcpu: VcpuRef = { domain: 1, vcpu: 0 };
const lineOf = (file: string, text: string): number => withLine(join(__dirname, '../../src', file), text);

describe('machine: statements of the hypervisor', function () {
  this.timeout(60_000);
  let target: Target;
  beforeEach(async () => {
    target = await workerTarget({ domains: [domain(SAMPLE)] });
  });
  afterEach(() => target.dispose());

  const top = async (): Promise<string> => {
    const [frame] = await target.hypervisorStack();
    return frame === undefined ? 'the guest' : frame.function;
  };
  const entry = async (name: string): Promise<Stop> => {
    await target.setStops([{ kind: 'hypercall', id: 1, name, when: 'entry' }]);
    const stop = await target.run({});
    assert.equal(stop.reason.kind, 'hypercall');
    await target.setStops([]);
    return stop;
  };

  it('is entered at the first statement of the handler, with its locals, and left to the guest', async () => {
    await entry('sched_op.shutdown');
    const before = await target.registers(vcpu);
    const stop = await target.run({ instructions: 1n, vcpu, hypervisor: 'in' });
    assert.deepEqual(stop.reason, { kind: 'statement', ids: [] });
    const stack = await target.hypervisorStack();
    const file = 'hypervisor/hypercalls/sched.ts';
    assert.equal(stack[0]?.function, 'shutdown.run');
    assert.equal(stack[0].file, file);
    assert.equal(stack[0].line, lineOf(file, 'const { cpu } = context.vcpu;'));
    assert.ok(stack.length > 1, 'the calls that led here are on the stack');
    const locals = await target.hypervisorValues(0, []);
    assert.deepEqual(
      locals.map(({ name }) => name),
      ['context', 'reason'],
    );
    assert.equal(locals[1]?.text, '0');
    // What is asked for on the way does not come to the guest's registers.
    assert.deepEqual(await target.registers(vcpu), before);
  });

  it('steps over and out of calls', async () => {
    await entry('event_channel_op');
    await target.run({ instructions: 1n, vcpu, hypervisor: 'in' });
    const handler = await target.hypervisorStack();
    const depth = handler.length;
    const seen: number[] = [];
    // Over: never deeper than where it began, until the guest has it again.
    for (let steps = 0; steps < 100; steps++) {
      const stop = await target.run({ hypervisor: 'over' });
      if (stop.reason.kind !== 'statement') {
        assert.equal(stop.reason.kind, 'step');
        break;
      }
      seen.push((await target.hypervisorStack()).length);
    }
    assert.equal(await top(), 'the guest');
    assert.ok(seen.length > 0);
    assert.ok(seen.every((now) => now <= depth), `${seen.join(' ')} from ${depth.toString()}`); // prettier-ignore
  });

  it('steps out of all of it to the instruction after the call', async () => {
    await entry('xen_version');
    const rip = (await target.domains())[0]?.vcpus[0]?.rip ?? 0n;
    let stop = await target.run({ instructions: 1n, vcpu, hypervisor: 'in' });
    for (let out = 0; stop.reason.kind === 'statement' && out < 40; out++)
      stop = await target.run({ hypervisor: 'out' });
    assert.equal(stop.reason.kind, 'step');
    const after = (await target.domains())[0]?.vcpus[0]?.rip ?? 0n;
    // The exit has moved past SYSCALL already when a hypercall is held at its entry.
    assert.ok(after === rip || after === rip + 2n, `${rip.toString(16)} ${after.toString(16)}`);
  });

  it('holds at breakpoints on lines, under conditions over locals, and runs as if it had not', async () => {
    const file = 'hypervisor/hypercalls/sched.ts';
    const line = lineOf(file, 'const { cpu } = context.vcpu;');
    const other = await watch(domain(SAMPLE));
    const plain = await other.target.run({ stopWhenIdle: true });
    await target.setStops([
      { kind: 'statement', id: 7, file, line, condition: 'reason == 99' },
      { kind: 'statement', id: 8, file, line, condition: 'reason == 0 && context.domain.id == 1' },
    ]);
    const stop = await target.run({});
    assert.deepEqual(stop.reason, { kind: 'statement', ids: [8] });
    assert.deepEqual(await target.hypervisorEvaluate(0, 'context.domain.id'), {
      name: 'context.domain.id',
      type: 'number',
      text: '1',
      expandable: false,
    });
    await assert.rejects(target.hypervisorEvaluate(0, 'nothing'), /there is no 'nothing' here/);
    const end = await target.run({});
    assert.deepEqual(end, plain);
    assert.equal(await target.stateHash(), await other.target.stateHash());
    await other.target.dispose();
  });

  it('counts hits where it looks, from nothing after a restart', async () => {
    const file = 'hypervisor/hypercalls/misc.ts';
    const line = lineOf(file, 'core.options.console?.(domain, bytes);');
    await target.dispose();
    target = await workerTarget({ domains: [domain(TOUR)] });
    const printed = async (hits?: string): Promise<string[]> => {
      await target.restart();
      await target.setStops([{ kind: 'statement', id: 7, file, line, ...(hits === undefined ? {} : { hits }) }]); // prettier-ignore
      const lines: string[] = [];
      while (lines.length < (hits === undefined ? 4 : 2)) {
        const { reason } = await target.run({});
        assert.deepEqual(reason, { kind: 'statement', ids: [7] });
        lines.push((await target.hypervisorEvaluate(0, 'line')).text);
      }
      return lines;
    };
    const all = await printed();
    const second = all.filter((_line, index) => index % 2 === 1);
    assert.deepEqual(await printed('% 2'), second);
    assert.deepEqual(await printed('% 2'), second);
    await target.restart();
    await target.setStops([{ kind: 'state', id: 8, expression: 'd1v0.run', hits: '1000' }]);
    assert.equal((await target.run({})).reason.kind, 'shutdown');
  });

  it('refuses what cannot be done there, and can be restarted and ended from there', async () => {
    await entry('xen_version');
    await target.run({ instructions: 1n, vcpu, hypervisor: 'in' });
    await assert.rejects(target.mark(), /inside the hypervisor; step out of it first/);
    await assert.rejects(target.setRegister(vcpu, 'rax', new Uint8Array(8)), /inside the hypervisor/);
    await target.restart();
    assert.equal((await target.now()).retired, 0n);
    assert.deepEqual(await target.hypervisorStack(), []);
    await entry('xen_version');
    await target.run({ instructions: 1n, vcpu, hypervisor: 'in' });
    // afterEach disposes of it here.
  });
});

describe('machine: probes', () => {
  const probed = (text: string): string =>
    instrument('a.ts', text, './probe').code.split(';').slice(2).join(';');

  it('stand before statements, on their lines, with what has a value there', () => {
    const text = 'function f(a: number) {\n  const b = a;\n  if (b) return b;\n  return 0;\n}\n';
    const { code, sites } = instrument('a.ts', text, './probe');
    assert.equal(code.split('\n').length, text.split('\n').length);
    assert.deepEqual(
      sites.map(({ line, function: f, locals }) => [line, f, ...locals]),
      [
        [2, 'f', 'a'],
        [3, 'f', 'a', 'b'],
        [3, 'f', 'a', 'b'],
        [4, 'f', 'a', 'b'],
      ],
    );
  });
  it('do not touch a variable before its declaration, or one that hides it', () => {
    const { sites } = instrument(
      'a.ts',
      'const f = (x: number) => { g(); { h(); const x = 1; k(x); } };',
      './p',
    );
    assert.deepEqual(
      sites.map(({ locals }) => locals),
      [['x'], [], [], ['x']],
    );
  });
  it('keep a single statement single', () => {
    assert.match(
      probed('function f() { if (a) b(); else c(); }'),
      /if \(a\) \{if.*b\(\);\} else \{if.*c\(\);\}/,
    );
  });
  it('are in functions within functions, hoisted ones with what may have no value yet', () => {
    const { code, sites } = instrument(
      'a.ts',
      'function f() { const x = 1; g(); function g() { h(x); } }',
      './p',
    );
    assert.deepEqual(
      sites.map(({ function: f, locals }) => [f, ...locals]),
      [['f'], ['f', 'x'], ['g', 'x']],
    );
    assert.match(code, /function g\(\) \{ if\(\$p\.armed\)\{try\{\$at\(2,x\)\}catch\{\$at\(2\)\}\}h\(x\)/);
  });
  it('are in arrows without a block', () => {
    assert.match(probed('const f = (a: number) => a + 1'), /=> \(\$p\.armed&&\$at\(0,a\),a \+ 1\)/);
  });
});
