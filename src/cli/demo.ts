import type { DebugProtocol } from '@vscode/debugprotocol';
import { formatCall, formatSummary, formatWalk } from '../machine/format';
import type { TraceRecord, TraceSummary, Walk } from '../machine/target';
import type { CliHost } from './index';
import { inlineClient, type InlineClient } from './inline-client';

/** Hypercall that the demo stops at: the guest asks for a change of a page table that it may not write itself. */
const STOP_AT = 'hypercall:mmu_update';
const STEPS = 3;

const out = (text = ''): void => {
  process.stdout.write(`${text}\n`);
};
const title = (text: string): void => {
  out(`\n── ${text} ${'─'.repeat(Math.max(0, 76 - text.length))}`);
};

/** `npm start`: the bundled sample guest through the debug adapter, as an editor would do it. */
export async function demo(host: CliHost): Promise<void> {
  const client = inlineClient(host.dapHost());
  client.onOutput((category, text) => {
    if (category === 'stdout') process.stdout.write(text.replace(/^(?=.)/gm, '  guest │ '));
    else if (category === 'stderr') process.stderr.write(text);
  });
  try {
    await session(client);
  } finally {
    await client.close();
  }
}

async function session(client: InlineClient): Promise<void> {
  title(`boot the sample guest, break on ${STOP_AT}`);
  await client.request('initialize', {
    adapterID: 'hyperstep',
    clientID: 'demo',
    linesStartAt1: true,
    columnsStartAt1: true,
    pathFormat: 'path',
  });
  const launched = client.request('launch', {});
  // A launch that fails says so instead.
  await Promise.race([client.event('initialized'), launched]);
  await client.request('setFunctionBreakpoints', { breakpoints: [{ name: STOP_AT }] });
  await client.request('configurationDone');
  await launched;

  const threadId = await stopped(client, 'stopped');
  await show(client, threadId);

  const step = async (
    command: 'stepIn' | 'stepOut' | 'next',
  ): Promise<DebugProtocol.StackFrame | undefined> => {
    await client.request(command, { threadId, granularity: 'instruction' });
    await client.event('stopped');
    return (await stack(client, threadId, 1))[0];
  };
  title('step into the hypervisor, statement by statement');
  let frame: DebugProtocol.StackFrame | undefined;
  for (let i = 0; i < STEPS; i++) {
    frame = await step(i === 0 ? 'stepIn' : 'next');
    out(`  ${frame?.source?.name ?? '?'}:${frame?.line ?? '?'}  ${frame?.name ?? '?'}`);
  }

  title('step out of it, then instruction by instruction');
  while (frame?.name.endsWith('(hypervisor)') === true) frame = await step('stepOut');
  for (let i = 0; i < STEPS; i++) {
    out(`  ${addressOf(frame)}  ${(await instructionAt(client, frame)).padEnd(16)} in ${frame?.name ?? '?'}`);
    frame = await step('next');
  }

  title('go on to the end');
  await client.request('setFunctionBreakpoints', { breakpoints: [] });
  const ended = client.event('terminated');
  await client.request('continue', { threadId });
  await ended;

  title('the hypercall trace');
  const summary = revive<TraceSummary>(await client.request('hyperstep/traceSummary'));
  out(formatSummary(summary));

  title('what Xen refused, and why');
  const { records } = revive<{ readonly records: readonly TraceRecord[] }>(
    await client.request('hyperstep/trace', { from: 0, count: summary.total }),
  );
  for (const { call } of records) if (call.errno !== undefined) out(`  ${formatCall(call)}`);
  await client.request('disconnect');

  title('the same in VS Code');
  out('  npm run package && code --install-extension out/hyperstep.vsix');
  out('  Then press F5 in a window without a launch.json: the same guest boots under the debugger,');
  out('  with its hypercalls and page tables in the Run and Debug side bar and its console as a terminal.');
}

async function stopped(client: InlineClient, event: 'stopped'): Promise<number> {
  const body = await client.event<DebugProtocol.StoppedEvent['body']>(event);
  out(`\nstopped: ${body.description ?? body.reason}${body.text === undefined ? '' : ` — ${body.text}`}`);
  return body.threadId ?? 1;
}

/** The address alone: the reference also names its space. */
const addressOf = (frame: DebugProtocol.StackFrame | undefined): string =>
  /0x[0-9a-f]+$/.exec(frame?.instructionPointerReference ?? '')?.[0] ?? '';

const stack = async (
  client: InlineClient,
  threadId: number,
  levels = 20,
): Promise<DebugProtocol.StackFrame[]> =>
  (
    await client.request<DebugProtocol.StackTraceResponse['body']>('stackTrace', {
      threadId,
      startFrame: 0,
      levels,
    })
  ).stackFrames;

async function instructionAt(
  client: InlineClient,
  frame: DebugProtocol.StackFrame | undefined,
): Promise<string> {
  if (frame?.instructionPointerReference === undefined) return '';
  const { instructions } = await client.request<NonNullable<DebugProtocol.DisassembleResponse['body']>>(
    'disassemble',
    {
      memoryReference: frame.instructionPointerReference,
      instructionCount: 1,
    },
  );
  return instructions[0]?.instruction ?? '';
}

/** Stack, decoded arguments, and a walk to the page table that the hypercall is about to change. */
async function show(client: InlineClient, threadId: number): Promise<void> {
  title('stack');
  const frames = await stack(client, threadId);
  frames.forEach((f, i) => {
    const where = f.source?.name === undefined ? '' : `  ${f.source.name}:${f.line.toString()}`;
    out(`  #${i.toString()} ${addressOf(f).padEnd(18)} ${f.name}${where}`);
  });

  title('arguments');
  const [top] = frames;
  if (top === undefined) return;
  const { scopes } = await client.request<DebugProtocol.ScopesResponse['body']>('scopes', {
    frameId: top.id,
  });
  const scope = scopes.find((s) => /hypercall/i.test(s.name)) ?? scopes[0];
  if (scope !== undefined) await tree(client, scope.variablesReference, 1);

  title('page-table walk of the stack pointer');
  out(formatWalk(revive<Walk>(await client.request('hyperstep/walk', { threadId, address: 'rsp' }))));
}

async function tree(client: InlineClient, variablesReference: number, depth: number): Promise<void> {
  const { variables } = await client.request<DebugProtocol.VariablesResponse['body']>('variables', {
    variablesReference,
  });
  for (const v of variables) {
    out(`${'  '.repeat(depth)}${v.name} = ${v.value}`);
    if (v.variablesReference !== 0 && depth < 4) await tree(client, v.variablesReference, depth + 1);
  }
}

/** JSON has no bigints: they travel as `0x…`, as texts for people may, too. */
const revive = <T>(body: unknown): T =>
  JSON.parse(JSON.stringify(body), (key, value: unknown) =>
    key !== 'text' && typeof value === 'string' && /^0x[0-9a-f]+$/.test(value) ? BigInt(value) : value,
  ) as T;
