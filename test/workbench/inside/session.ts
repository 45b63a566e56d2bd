import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import * as vscode from 'vscode';
import { eventually } from '../editor';
import { contributes, hyperstep } from './extension';

type Message = { readonly type: string } & Readonly<Record<string, unknown>>;

interface Stop {
  readonly reason: string;
  readonly description?: string;
}

/** What the adapters have sent to the editor, for all sessions since the test began. */
let messages: Message[] = [];

const running = new Set<vscode.DebugSession>();

const events = (name: string): Message[] =>
  messages.filter(({ type, event }) => type === 'event' && event === name);

const answers = (name: string): unknown[] =>
  messages.flatMap(({ type, command, body }) => (type === 'response' && command === name ? [body] : []));

const stops = (): unknown[] => events('stopped').map(({ body }) => body);

async function stopsOnce(what: string, count: number): Promise<Stop> {
  const all = await eventually(
    what,
    () => Promise.resolve(stops()),
    ({ length }) => length >= count,
  );
  assert.equal(all.length, count, `${what}: ${JSON.stringify(all)}`);
  return all[count - 1] as Stop;
}

function session(): vscode.DebugSession {
  const [only, ...others] = running;
  assert.ok(only, 'nothing is being debugged');
  assert.equal(others.length, 0, 'more than one session');
  return only;
}

/** Where the editor stands after a stop, by the names of its frames. */
async function stack(): Promise<string[]> {
  const item = await eventually(
    'a frame is selected',
    () => Promise.resolve(vscode.debug.activeStackItem),
    (it) => it instanceof vscode.DebugStackFrame,
  );
  const { stackFrames } = (await session().customRequest('stackTrace', { threadId: item?.threadId })) as {
    readonly stackFrames: readonly { readonly name: string }[];
  };
  return stackFrames.map(({ name }) => name);
}

async function endDebugging(): Promise<void> {
  for (const it of running) await vscode.debug.stopDebugging(it);
  await eventually(
    'no session is left',
    () => Promise.resolve([...running].map(({ name }) => name)),
    ({ length }) => length === 0,
  );
}

/** A body as it is when one takes its snippet and changes nothing: placeholders become their default texts. */
const taken = (body: vscode.DebugConfiguration): vscode.DebugConfiguration =>
  JSON.parse(JSON.stringify(body), (_key, value: unknown) => {
    if (typeof value !== 'string') return value;
    const text: string = value.replaceAll(/(?<!\\)\$(?:\{\d+:([^}]*)\}|\d+)/g, '$1').replaceAll('\\$', '$');
    // What follows ^ is put in without quotation marks around it.
    return text.startsWith('^') ? (JSON.parse(text.slice(1)) as unknown) : text;
  }) as vscode.DebugConfiguration;

const samples = (): string => path.join(hyperstep().extensionUri.fsPath, 'media', 'samples');

describe('a session', () => {
  const listening = [
    vscode.debug.registerDebugAdapterTrackerFactory('hyperstep', {
      createDebugAdapterTracker: () => ({ onDidSendMessage: (message: Message) => messages.push(message) }),
    }),
    vscode.debug.onDidStartDebugSession((it) => running.add(it)),
    vscode.debug.onDidTerminateDebugSession((it) => running.delete(it)),
  ];

  after(() => {
    for (const it of listening) it.dispose();
  });

  beforeEach(() => {
    messages = [];
  });

  afterEach(async () => {
    vscode.debug.removeBreakpoints(vscode.debug.breakpoints);
    await endDebugging();
  });

  it('of the sample: entry, a hypercall breakpoint, the hypervisor, a question, the console', async () => {
    // As with F5: the provider fills in the rest.
    assert.ok(
      await vscode.debug.startDebugging(undefined, { type: 'hyperstep' } as vscode.DebugConfiguration),
    );
    assert.equal((await stopsOnce('at the entry', 1)).reason, 'entry');
    assert.equal(session().configuration.stopOnEntry, true);
    assert.deepEqual(await stack(), ['_start']);

    vscode.debug.addBreakpoints([new vscode.FunctionBreakpoint('hypercall:mmu_update')]);
    await eventually(
      'the breakpoint is verified',
      () => Promise.resolve(answers('setFunctionBreakpoints').at(-1)),
      (body) => JSON.stringify(body).includes('"verified":true'),
    );
    await vscode.commands.executeCommand('workbench.action.debug.continue');
    assert.equal((await stopsOnce('at the hypercall', 2)).reason, 'function breakpoint');
    assert.match((await stack())[0] ?? '', /^hypercall mmu_update/);

    await vscode.commands.executeCommand('workbench.action.debug.stepInto');
    assert.equal((await stopsOnce('in the hypervisor', 3)).reason, 'step');
    const [top = '', ...below] = await stack();
    assert.match(top, /run \(hypervisor\)$/);
    assert.match(below.join('\n'), /^hypercall mmu_update[^]*^_start/m);

    const { domains } = (await session().customRequest('hyperstep/domains', {})) as {
      readonly domains: readonly { readonly domain: number }[];
    };
    assert.ok(domains.length > 0);
    assert.ok(vscode.window.terminals.length > 0);
  });

  for (const state of ['stands', 'runs'] as const) {
    it(`whose machine dies while it ${state} says so, and is over`, async () => {
      // The extension is in this process, and its machine in a thread of it.
      const workers = new Set<Worker>();
      const post = Object.getOwnPropertyDescriptor(Worker.prototype, 'postMessage');
      assert.ok(post);
      Worker.prototype.postMessage = function (this: Worker, ...message: Parameters<Worker['postMessage']>) {
        workers.add(this);
        (post.value as Worker['postMessage']).apply(this, message);
      };
      try {
        // The giver waits for its neighbour, which is not there.
        const config = path.join(samples(), 'neighbours', 'giver.cfg');
        const configuration = {
          type: 'hyperstep',
          name: 'dies',
          request: 'launch',
          config,
          stopOnEntry: true,
        };
        assert.ok(await vscode.debug.startDebugging(undefined, configuration));
        await stopsOnce('at the entry', 1);
      } finally {
        Object.defineProperty(Worker.prototype, 'postMessage', post);
      }
      assert.equal(workers.size, 1);
      if (state === 'runs') {
        await vscode.commands.executeCommand('workbench.action.debug.continue');
      }
      for (const worker of workers) void worker.terminate();
      await eventually(
        'the session is over',
        () => Promise.resolve(running.size),
        (count) => count === 0,
      );
      const said = events('output').map(({ body }) => (body as { readonly output: string }).output);
      assert.match(said.join(''), /The machine is lost, and with it all that it did: .*worker ended/);
      assert.equal(stops().length, 1);
    });
  }

  it('of each configuration that launch.json has a snippet for', async () => {
    const folder = vscode.workspace.workspaceFolders?.[0];
    assert.ok(folder);
    const put = (from: string, ...names: readonly string[]): void => {
      for (const name of names) copyFileSync(path.join(samples(), from), path.join(folder.uri.fsPath, name));
    };
    put('first-hypercall/first-hypercall.elf', 'kernel.elf', 'one.elf', 'two.elf');
    put('neighbours/neighbours.elf', 'neighbours.elf');
    put('neighbours/giver.cfg', 'guest.cfg');
    const snippets = contributes().debuggers.flatMap((it) => it.configurationSnippets);
    assert.ok(snippets.length > 0);
    for (const { label, body } of snippets) {
      messages = [];
      const configuration = { ...taken(body), stopOnEntry: true };
      assert.ok(await vscode.debug.startDebugging(folder, configuration), label);
      // Without its sources VS Code is given another reason; see src/editor/sourceless.ts.
      assert.match((await stopsOnce(label, 1)).description ?? '', /^Before the first instruction/, label);
      assert.ok(!JSON.stringify(session().configuration).includes('${'), label);
      await endDebugging();
    }
  });
});
