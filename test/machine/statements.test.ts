/** Stepping through the hypervisor, in the worker that the package ships. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runInNewContext } from 'node:vm';
import ts from 'typescript';
import { instrument } from '../../scripts/probes/instrument';
import { samplesFolder, workerTarget } from '../../src/host/node';
import type { Stop, Target, VcpuRef } from '../../src/machine/target';
import { withLine } from '../support/lines';
import { SAMPLE, domain, watch } from '../support/machines';

const root = join(__dirname, '../..');
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
  const plain = (code: string): string => code.replaceAll(/\s+/g, '');

  it('mark each statement of what the package ships, in the body that runs unarmed too', () => {
    const worker = readFileSync(join(root, 'dist/worker.js'), 'utf8');
    const found = new Map<string, { armed: Set<string>; plain: Set<string> }>();
    let file = '';
    for (const [, begins, site, mark] of worker.matchAll(
      /probesOf\)?\("([^"]+)"\)|\$at\w*\((\d+)[,)]|\/\*@(\d+)\*\//g,
    )) {
      file = begins ?? file;
      const of = found.get(file) ?? { armed: new Set(), plain: new Set() };
      found.set(file, of);
      if (site !== undefined) of.armed.add(site);
      if (mark !== undefined) of.plain.add(mark);
    }
    assert.ok(found.size > 40, `${found.size.toString()} files`);
    for (const [name, { armed, plain }] of found) {
      const { code, sites } = instrument(name, readFileSync(join(root, 'src', name), 'utf8'), './probe');
      // What nobody uses is not in the bundle: what is there of a twin is there twice.
      const twins = new Set([...code.matchAll(/\/\*@(\d+)\*\//g)].map(([, site]) => site ?? ''));
      assert.deepEqual([...plain].sort(), [...armed].filter((site) => twins.has(site)).sort(), name);
      assert.ok(armed.size > 0 && armed.size <= sites.length, name);
    }
  });

  /** What comes of a text whose last statement is an expression, and the statements that came by meanwhile. */
  const run = (text: string, armed: boolean): { value: unknown; came: readonly string[] } => {
    const { code, sites } = instrument('a.ts', text, './probe');
    const came: string[] = [];
    const names = (site: number): string => sites[site]?.locals.join(' ') ?? '?';
    const module = code.slice(code.indexOf(';', code.indexOf('probesOf("a.ts")')) + 1);
    const { outputText } = ts.transpileModule(module, {
      compilerOptions: { target: ts.ScriptTarget.ES2022 },
    });
    const value: unknown = runInNewContext(outputText.replace(/"end of a.ts";\s*$/, ''), {
      $armed: armed,
      $take: (body: (...given: unknown[]) => unknown, ...given: readonly unknown[]) => body(...given),
      $at: (site: number, ...values: readonly unknown[]) => {
        assert.equal(names(site).split(' ').filter(Boolean).length >= values.length, true);
        came.push(`${site.toString()}: ${values.map(String).join(' ')}`);
      },
    });
    return { value, came };
  };

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
    const lines = code.split('\n');
    for (const [line, site] of [
      [1, 0],
      [2, 1],
      [3, 3],
    ] as const)
      // prettier-ignore
      assert.ok(lines[line]?.includes(`/*@${site.toString()}*/`), code);
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
  it('stand in a copy of the body that is taken while armed', () => {
    const code = probed('function f(a: number, { b }: B) { if (a) c(); else d(b); }');
    const [question, rest] = code.split('return $take($f,a,b);}');
    assert.equal(
      plain(question ?? ''),
      'functionf(a:number,{b}:B){if($armed){const$f=(a,b)=>{$at(0,a,b);if(a){$at(1,a,b);c();}else{$at(2,a,b);d(b);}};"endofit";',
    );
    assert.match(rest ?? '', /^ \/\*@0\*\/if \(a\) \{\/\*@1\*\/c\(\);\} else \{\/\*@2\*\/d\(b\);\} \}/);
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
    assert.match(code, /function g\(\) \{ if\(\$armed\)\{try\{\$at\(2,x\)\}catch\{\$at\(2\)\}\}h\(x\)/);
  });
  it('are in arrows without a block', () => {
    assert.match(probed('const f = (a: number) => a + 1'), /=> \(\$armed&&\$at\(0,a\),a \+ 1\)/);
  });
  it('leave what code does as it is, armed or not', () => {
    const texts: Readonly<Record<string, readonly [text: string, value: unknown, statements: number]>> = {
      'parameters with defaults, patterns, rest': [
        'function f(a = 1, { b, c: [d] } = { b: 2, c: [3] }, ...e: number[]) { a += b; return [a, b, d, ...e].join(); } f(undefined, undefined, 7, 8)',
        '3,2,3,7,8',
        2,
      ],
      'this, getters, methods, constructors': [
        'class A { x = 1; constructor(readonly y: number) { this.x += y; this.x++; } get z() { const t = this; return t.x; } w(a: number) { const b = a; return () => { const q = this.x; return q + b; }; } } const a = new A(2); a.z * 100 + a.w(5)()',
        409,
        8,
      ],
      'object members that say nothing of their call': [
        'const seen: number[] = []; const o = { get a() { const t = 5; return t; }, set a(v) { const w = v; seen.push(w); }, m(x: number) { const y = x; return y; } }; o.a = 9; o.m(1) + o.a + (seen[0] ?? 0)',
        15,
        6,
      ],
      arguments: ['function f(a: number) { const n = arguments.length; return n; } f(1)', 1, 2],
      generators: ['function* f(a: number) { yield a; yield a + 1; } [...f(1)].join()', '1,2', 2],
      'closures of a loop, and labels': [
        'function f() { const all: (() => number)[] = []; out: for (let i = 0; i < 5; i++) { for (;;) { if (i === 3) break out; break; } all.push(() => i); } return all.map((g) => g()).join(); } f()',
        '0,1,2',
        24,
      ],
      'recursion and a name of its own': [
        'const f = function g(n: number): number { if (n < 2) return 1; return n * g(n - 1); }; f(5)',
        120,
        10,
      ],
      'hoisting, shadowing, try': [
        'function f(a: number) { try { const b = h(a); { const a = b + 1; if (a > 2) throw new Error(`x${a}`); } return 0; } catch (e) { return String(e); } finally { a = 9; } function h(x: number) { const y = x; return y * 2; } } f(1)',
        'Error: x3',
        9,
      ],
      'text of several lines, comments, patterns': [
        'function f(a: string) {\n  // one; {\n  const t = `a\n${a /* two */}\n`; /* three\n */\n  return t.replace(/[/`]|\\n/g, "+");\n}\nf("/")',
        'a+++',
        2,
      ],
    };
    for (const [what, [text, value, statements]] of Object.entries(texts)) {
      const quiet = run(text, false);
      assert.deepEqual(quiet, { value, came: [] }, what);
      const armed = run(text, true);
      assert.equal(armed.value, value, what);
      assert.equal(armed.came.length, statements, `${what}: ${armed.came.join(', ')}`);
    }
  });
});
