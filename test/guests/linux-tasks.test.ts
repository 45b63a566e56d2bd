/** What Debian's kernel as shipped runs and has loaded, read from its memory by its own description of its types. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { DebugProtocol } from '@vscode/debugprotocol';
import { adapterHost } from '../../src/host/adapter';
import { inProcessTarget } from '../../src/host/machine';
import { connect, type Client } from '../support/dap-client';
import { guestPath } from '../support/guests';
import { linuxShellFile } from '../support/linux-shell';
import { skipBecause } from '../support/skip';

describe('Linux, looked at', function () {
  this.timeout(600_000);
  let client: Client;
  let frameId = 0;
  const folder = mkdtempSync(path.join(tmpdir(), 'linux-tasks-'));
  /** Debug files that know one function of a module each: what a distribution's know of all. */
  const sourceOf = (name: keyof typeof FUNCTIONS): string => path.join(folder, `${name}.c`);
  const FUNCTIONS = {
    'xen-blkfront': 'int blkif_interrupt(int irq, void *dev_id)\n{\n  return irq + (dev_id != 0);\n}\n',
    mbcache: '__attribute__((section(".init.text")))\nint mbcache_init(void)\n{\n  return 7;\n}\n',
  };
  const makeDebugFiles = (): boolean =>
    Object.entries(FUNCTIONS).every(([name, text]) => {
      const source = path.join(folder, `${name}.c`);
      writeFileSync(source, text);
      const made = path.join(folder, `${name}.ko`);
      const flags = ['-g', '-O1', '-ffreestanding', '-fno-pic', '-mcmodel=kernel', '-fcf-protection=none'];
      return spawnSync('gcc', [...flags, '-c', source, '-o', made]).status === 0;
    });
  let hasDebugFiles = false;

  before(async function () {
    hasDebugFiles = makeDebugFiles();
    const kernel = guestPath('linux', this);
    const restore = await linuxShellFile(this);
    client = await connect(adapterHost({ inProcess: inProcessTarget }));
    client.dc.defaultTimeout = 120_000;
    await client.launch({ stopOnEntry: true, restore, kernel, symbols: [folder] });
    await client.stopped();
    frameId = (await frames())[0]?.id ?? 0;
  });
  after(async () => {
    await client.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const frames = async (): Promise<DebugProtocol.StackFrame[]> =>
    (await client.dc.stackTraceRequest({ threadId: 1 })).body.stackFrames;
  const typed = async (expression: string): Promise<string> => {
    try {
      return (await client.dc.evaluateRequest({ expression, frameId, context: 'repl' })).body.result;
    } catch (error) {
      return `! ${(error as Error).message}`;
    }
  };
  const stopAt = async (name: string, keys: string): Promise<void> => {
    await client.dc.setFunctionBreakpointsRequest({ breakpoints: [{ name }] });
    if (keys !== '') await client.custom('hyperstep/consoleInput', { domain: 1, data: keys });
    await client.dc.continueRequest({ threadId: 1 });
    await client.stopped();
    frameId = (await frames())[0]?.id ?? 0;
  };

  it('lists tasks and modules without any debugging information', async () => {
    const tasks = await typed('tasks');
    assert.match(tasks, /^ *0 +R +\[swapper\/0\] +0xffffffff[0-9a-f]{8}/m);
    assert.match(tasks, /^ *1 +S +init +0xffff8880[0-9a-f]{8}/m);
    assert.match(tasks, /^ *2 +S +\[kthreadd\]/m);
    assert.match(tasks, /^ *\d+ +[RS] +sh +0xffff8880/m);
    assert.match(tasks, /^ *\d+ +I +\[kworker\/0:/m);
    assert.match(await typed('tasks kthreadd'), /^ *2 .*\n1 task$/);
    const modules = await typed('lsmod');
    assert.match(
      modules,
      /^xen_blkfront +0xffffffffc0[0-9a-f]{6} +\d+ bytes +live +\d+ symbols(, source lines)?$/m,
    );
    const { body } = await client.dc.scopesRequest({ frameId });
    const scope = body.scopes.find(({ name }) => name === 'Linux');
    const { variables } = (
      await client.dc.variablesRequest({ variablesReference: scope?.variablesReference ?? 0 })
    ).body;
    assert.deepEqual(variables.map(({ name }) => name), ['current', 'tasks', 'modules']); // prettier-ignore
    const count = /(\d+) tasks$/.exec(tasks)?.[1] ?? '';
    assert.equal(variables[1]?.value, `[${count}]`);
  });

  it('names of modules are symbols, breakpoints and callers', async () => {
    const probe = await typed('sym blkfront_probe');
    assert.match(probe, /^0xffffffffc0[0-9a-f]{6} {2}blkfront_probe \[xen_blkfront\]$/);
    const { breakpoints } = (
      await client.dc.setFunctionBreakpointsRequest({ breakpoints: [{ name: 'blkfront_probe' }] })
    ).body;
    assert.equal(breakpoints[0]?.verified, true);
    assert.equal(/0x[0-9a-f]+$/.exec(breakpoints[0].instructionReference ?? '')?.[0], probe.split(' ')[0]);
  });

  it('a thread is named for what it runs, the stack for the program below the system call', async () => {
    await stopAt('ksys_write', 'echo one\n');
    const { threads } = (await client.dc.threadsRequest()).body;
    const pid = /^d1 linux v0: sh \((\d+)\)$/.exec(threads[0]?.name ?? '')?.[1];
    assert.ok(pid !== undefined, threads[0]?.name);
    const names = (await frames()).map(({ name }) => name);
    assert.deepEqual(names.map((name) => name.replace(/\+0x.*/, '')).slice(0, 2), [
      'ksys_write',
      'do_syscall_64',
    ]);
    assert.match(names.at(-1) ?? '', new RegExp(`^0x[0-9a-f]+ in sh \\(${pid}\\)$`));
    assert.match(await typed('tasks sh'), new RegExp(`^ *${pid} +R +sh +0x[0-9a-f]+ +on d1v0$`, 'm'));

    // A program that is started has its name when it runs.
    await stopAt('do_exit', '/bin/busybox id\n');
    const [thread] = (await client.dc.threadsRequest()).body.threads;
    assert.match(thread?.name ?? '', /^d1 linux v0: busybox \(\d+\)$/);
  });

  it('a debug file of a module gives lines and variables where the module is loaded', async function () {
    if (!hasDebugFiles) skipBecause(this, 'there is no gcc');
    assert.match(await typed('lsmod'), /^xen_blkfront .* symbols, source lines$/m);
    const [source, line] = [sourceOf('xen-blkfront'), 3];
    const { breakpoints } = (
      await client.dc.setBreakpointsRequest({ source: { path: source }, breakpoints: [{ line }] })
    ).body;
    assert.equal(breakpoints[0]?.verified, true, breakpoints[0]?.message);
    await stopAt('none', 'dd if=/dev/xvda of=/dev/null bs=4k count=1 skip=77\n');
    const stack = await frames();
    assert.equal(stack[0]?.name.replace(/\+.*/, ''), 'blkif_interrupt [xen_blkfront]');
    assert.deepEqual([stack[0].source?.path, stack[0].line], [source, line]);
    assert.match(await typed('irq'), /^\d+/);
    // Linux calls its handler by a stub.
    const names = stack.map(({ name }) => name);
    assert.ok(names.includes('event upcall'), names.join('\n'));
    await client.dc.setBreakpointsRequest({ source: { path: source }, breakpoints: [] });
  });

  it('a breakpoint in a module that is not loaded stops at the first of its code when it is', async function () {
    if (!hasDebugFiles) skipBecause(this, 'there is no gcc');
    await client.dc.setFunctionBreakpointsRequest({ breakpoints: [] });
    await client.custom('hyperstep/consoleInput', { domain: 1, data: 'rmmod ext4 mbcache; echo GO""NE\n' });
    await client.dc.continueRequest({ threadId: 1 });
    while (!/GONE/.test(client.output())) await new Promise((resolve) => setTimeout(resolve, 50));
    await client.dc.pauseRequest({ threadId: 1 });
    await client.stopped();
    frameId = (await frames())[0]?.id ?? 0;
    assert.doesNotMatch(await typed('lsmod'), /^mbcache /m);
    const source = sourceOf('mbcache');
    const pending = (
      await client.dc.setFunctionBreakpointsRequest({ breakpoints: [{ name: 'mbcache_init' }] })
    ).body.breakpoints;
    const inSource = (
      await client.dc.setBreakpointsRequest({ source: { path: source }, breakpoints: [{ line: 4 }] })
    ).body.breakpoints;
    assert.deepEqual([pending[0]?.verified, inSource[0]?.verified], [false, false]);
    await client.custom('hyperstep/consoleInput', { domain: 1, data: 'insmod /lib/mbcache.ko\n' });
    await client.dc.continueRequest({ threadId: 1 });
    const stop = await client.stopped();
    const ids = [pending[0]?.id, inSource[0]?.id];
    assert.ok(
      stop.hitBreakpointIds?.some((id) => ids.includes(id)),
      JSON.stringify(stop),
    );
    const stack = await frames();
    assert.equal(stack[0]?.name.replace(/\+.*/, ''), 'mbcache_init [mbcache]');
    assert.equal(stack[0].source?.path, source);
    const told = client.events
      .filter(({ event }) => event === 'breakpoint')
      .map(({ body }) => (body as DebugProtocol.BreakpointEvent['body']).breakpoint);
    for (const id of ids) assert.equal(told.filter((one) => one.id === id).at(-1)?.verified, true);
  });
});
