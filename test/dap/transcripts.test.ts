import type { DebugProtocol } from '@vscode/debugprotocol';
import { createFakeHost } from '../support/fake-host';
import { program } from '../support/fake-program';
import { assertGolden } from '../support/golden';
import type { InlineClient } from '../support/inline-client';
import { connectInline } from '../support/inline-client';

// What is said on the wire, word for word, for each group of requests.

const hex = (label: string): string => `0x${(program.labels.get(label) ?? 0n).toString(16)}`;

/** One line a message; the adapter's sequence numbers say nothing and are left out. */
function transcript(log: readonly unknown[]): string {
  const lines = log.map((one) => {
    const { seq, type, ...rest } = one as { seq: number; type: string } & Record<string, unknown>;
    return type === 'request' ? `→ ${JSON.stringify({ seq, ...rest })}` : `← ${JSON.stringify(rest)}`;
  });
  return `${lines.join('\n')}\n`;
}

const toLine = (frame: DebugProtocol.StackFrame | undefined): number => frame?.line ?? 0;

async function launched(client: InlineClient): Promise<void> {
  await client.request('initialize', {
    adapterID: 'hyperstep',
    pathFormat: 'path',
    linesStartAt1: true,
    columnsStartAt1: true,
    supportsProgressReporting: true,
    supportsInvalidatedEvent: true,
    supportsMemoryEvent: true,
  });
  await client.request('launch', { stopOnEntry: true, cmdline: 'quiet' });
  await client.event('initialized');
  await client.request('setExceptionBreakpoints', { filters: ['domain-crash'] });
  await client.request('configurationDone');
  await client.event('stopped');
}

const scripts: Readonly<Record<string, (client: InlineClient) => Promise<void>>> = {
  lifecycle: async (client) => {
    await client.request('threads');
    await client.request('restart', {});
    await client.event('stopped');
    await client.request('continue', { threadId: 1 });
    await client.event('terminated');
    await client.request('disconnect', {});
  },
  stack: async (client) => {
    await client.request('setFunctionBreakpoints', { breakpoints: [{ name: 'leaf' }] });
    await client.request('continue', { threadId: 1 });
    await client.event('stopped');
    await client.request('stackTrace', { threadId: 1 });
    await client.request('stackTrace', { threadId: 1, startFrame: 1, levels: 1 });
    const { body } = (await client.request('stackTrace', {
      threadId: 1,
    })) as DebugProtocol.StackTraceResponse;
    await client.request('scopes', { frameId: body.stackFrames[1]?.id });
    await client.request('modules', {});
    await client.request('loadedSources', {});
  },
  hypercall: async (client) => {
    await client.request('setFunctionBreakpoints', {
      breakpoints: [{ name: 'hypercall:mmu_update:return', condition: 'ureqs[0].ptr == 0x41008' }],
    });
    await client.request('continue', { threadId: 1 });
    await client.event('stopped');
    const { body } = (await client.request('stackTrace', {
      threadId: 1,
    })) as DebugProtocol.StackTraceResponse;
    const scopes = (await client.request('scopes', {
      frameId: body.stackFrames[0]?.id,
    })) as DebugProtocol.ScopesResponse;
    const variables = (await client.request('variables', {
      variablesReference: scopes.body.scopes[0]?.variablesReference,
    })) as DebugProtocol.VariablesResponse;
    await client.request('variables', {
      variablesReference: variables.body.variables[0]?.variablesReference,
    });
    await client.request('evaluate', {
      expression: 'ureqs[0].ptr & 0xfff',
      frameId: body.stackFrames[0]?.id,
      context: 'hover',
    });
  },
  exception: async (client) => {
    await client.request('setExceptionBreakpoints', {
      filters: [],
      filterOptions: [{ filterId: 'hypercall-failed' }],
    });
    await client.request('continue', { threadId: 1 });
    await client.event('stopped');
    await client.request('exceptionInfo', { threadId: 1 });
  },
  memory: async (client) => {
    await client.request('readMemory', { memoryReference: 'pseudophysical:d1:0x0', count: 8 });
    await client.request('writeMemory', { memoryReference: 'pseudophysical:d1:0x800', data: 'AQI=' });
    await client.request('disassemble', {
      memoryReference: `virtual:d1v0:${hex('work')}`,
      instructionOffset: -2,
      instructionCount: 5,
      resolveSymbols: true,
    });
    await client.request('setInstructionBreakpoints', {
      breakpoints: [{ instructionReference: `virtual:d1v0:${hex('work')}`, offset: 1 }],
    });
  },
  data: async (client) => {
    const info = (await client.request('dataBreakpointInfo', {
      name: `virtual:d1v0:${hex('work')}`,
      asAddress: true,
      bytes: 16,
    })) as DebugProtocol.DataBreakpointInfoResponse;
    await client.request('dataBreakpointInfo', { name: 'l1e(start)' });
    await client.request('dataBreakpointInfo', { name: '$rcx' });
    await client.request('dataBreakpointInfo', { name: '6 * 7' });
    await client.request('setDataBreakpoints', {
      breakpoints: [
        { dataId: info.body.dataId, accessType: 'readWrite', condition: 'new > old' },
        { dataId: 'register d1v0 rcx', accessType: 'read' },
        { dataId: 'register d1v0 rcx', hitCondition: '2' },
        { dataId: 'nonsense' },
      ],
    });
  },
  targets: async (client) => {
    await client.request('setFunctionBreakpoints', { breakpoints: [{ name: 'work' }] });
    await client.request('continue', { threadId: 1 });
    await client.event('stopped');
    const { body } = (await client.request('stackTrace', {
      threadId: 1,
      levels: 1,
    })) as DebugProtocol.StackTraceResponse;
    await client.request('stepInTargets', { frameId: body.stackFrames[0]?.id });
    const gotos = (await client.request('gotoTargets', {
      source: { path: '/src/fake.c' },
      line: toLine(body.stackFrames[0]),
    })) as DebugProtocol.GotoTargetsResponse;
    await client.request('goto', { threadId: 1, targetId: gotos.body.targets[0]?.id });
    await client.event('stopped');
    await client.request('goto', { threadId: 1, targetId: gotos.body.targets[0]?.id });
    await client.request('stepBack', { threadId: 1 });
    await client.request('restartFrame', { frameId: 1 });
    await client.request('locations', { locationReference: 99 });
  },
  formats: async (client) => {
    await client.request('evaluate', { expression: '40 + 2', context: 'watch', format: { hex: true } });
    await client.request('evaluate', { expression: '40 + 2', context: 'clipboard' });
    await client.request('setExpression', { expression: 'rcx', value: '255', format: { hex: true } });
    await client.request('setFunctionBreakpoints', {
      breakpoints: [
        { name: 'trap:#PF' },
        { name: 'trap:#PG' },
        { name: 'privileged:rdmsr' },
        { name: 'privileged:rdmrs' },
        { name: 'event:3' },
        { name: 'event:three' },
        { name: 'xenstore:/local/domain/1:write' },
        { name: 'xenstore:device' },
        { name: 'ring:vbd/51712:read' },
        { name: 'ring:vdb/51712' },
        { name: 'hypercal:mmu_update' },
      ],
    });
    await client.request('completions', { text: 'hypercall:mmu', column: 14 });
    await client.request('completions', { text: 'xenstore:/:w', column: 13 });
  },
  hyperstep: async (client) => {
    await client.request('hyperstep/domains');
    await client.request('hyperstep/pageTable', { path: [] });
    await client.request('hyperstep/walk', { address: 'start' });
    await client.request('hyperstep/frame', { mfn: 66 });
    await client.request('hyperstep/hypercalls');
    await client.request('hyperstep/trace', { from: 0, count: 10 });
    await client.request('hyperstep/consoleInput', { domain: 1, data: 'x' });
  },
};

describe('dap: golden transcripts', () => {
  for (const [name, script] of Object.entries(scripts)) {
    it(name, async () => {
      const client = connectInline(createFakeHost());
      await launched(client);
      await script(client);
      await client.close();
      assertGolden(`dap/${name}.txt`, transcript(client.log));
    });
  }
});
