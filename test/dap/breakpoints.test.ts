import assert from 'node:assert/strict';
import type { DebugProtocol } from '@vscode/debugprotocol';
import type { Client } from '../support/dap-client';
import { connect } from '../support/dap-client';
import { createFakeHost } from '../support/fake-host';
import { program } from '../support/fake-program';

const at = (label: string): bigint => program.labels.get(label) ?? 0n;
const hex = (value: bigint): string => `0x${value.toString(16)}`;

describe('dap: breakpoints', () => {
  let client: Client;
  beforeEach(async () => {
    client = await connect(createFakeHost());
  });
  afterEach(() => client.close());

  const start = async (): Promise<void> => {
    await client.launch({ stopOnEntry: true });
    await client.stopped();
  };
  const functions = async (
    ...breakpoints: DebugProtocol.FunctionBreakpoint[]
  ): Promise<DebugProtocol.Breakpoint[]> =>
    (await client.dc.setFunctionBreakpointsRequest({ breakpoints })).body.breakpoints;
  const rip = async (): Promise<bigint> => {
    const { body } = await client.dc.evaluateRequest({ expression: '$rip', context: 'watch' });
    return BigInt(body.result.split(' ')[0] ?? '0');
  };

  it('function breakpoints: hypercalls, returns, everything, symbols, addresses', async () => {
    await start();
    const set = await functions(
      { name: 'hypercall:memory_op.populate_physmap' },
      { name: 'hypercall:mmu_update:return' },
      { name: 'work' },
      { name: `*${hex(at('setup'))}` },
    );
    assert.ok(
      set.every(({ verified }) => verified),
      JSON.stringify(set),
    );
    const stops: string[] = [];
    for (let i = 0; i < 6; i++) {
      const { description = '', text = '', hitBreakpointIds = [] } = await client.go();
      const hit = set.findIndex(({ id }) => id === hitBreakpointIds[0]);
      stops.push(`${hit} ${description}${text === '' ? '' : `: ${text}`}`);
    }
    assert.deepEqual(stops, [
      '3 Paused on a breakpoint',
      '2 Paused on a breakpoint',
      '2 Paused on a breakpoint',
      '2 Paused on a breakpoint',
      '1 Return from hypercall mmu_update: l1e 0x42063 maps frame 0x42 writable, but it is typed L2',
      '0 Hypercall memory_op.populate_physmap',
    ]);
    await functions({ name: 'hypercall:*' });
    assert.equal((await client.go()).description, 'Hypercall sched_op.shutdown');
  });

  it('says why a function breakpoint cannot be', async () => {
    await start();
    const set = await functions(
      { name: 'hypercall:mmu_updat' },
      { name: 'hypercall:memory_op.populate' },
      { name: 'hypercall:mmu_update.x' },
      { name: 'hypercall:event_channel_op' },
      { name: 'hypercall:memory_op:exit' },
      { name: 'wor' },
      { name: '*12z' },
      { name: 'work', condition: 'rax ==' },
      { name: 'work', hitCondition: 'often' },
    );
    assert.deepEqual(
      set.map(({ verified, message }) => `${verified ? 'set' : 'not'}: ${message ?? ''}`),
      [
        "not: there is no hypercall 'mmu_updat'; did you mean mmu_update?",
        "not: memory_op has no sub-operation 'populate'; did you mean populate_physmap?",
        'not: mmu_update has no sub-operations',
        'set: event_channel_op: this hypervisor answers it with ENOSYS',
        "not: ':exit' is not known; it is :entry, :return",
        "not: there is no symbol 'wor'; there are work",
        "not: '*12z' is not *0xADDRESS",
        "not: condition 'rax ==': the expression ends where a value is expected",
        "not: hit condition 'often' is none of N, == N, > N, >= N, < N, <= N, % N",
      ],
    );
  });

  it('conditions over decoded arguments are the machine’s, over registers the debugger’s', async () => {
    await start();
    await functions(
      { name: 'hypercall:mmu_update', condition: 'ureqs[0].ptr == 0x1000' },
      { name: 'hypercall:memory_op', condition: 'nr_extents > 8 && cmd == XENMEM_populate_physmap' },
      { name: 'work', condition: 'rcx == 2 && $rsp > 0x1000' },
    );
    await client.go();
    assert.equal(await rip(), at('work'));
    const { body } = await client.dc.evaluateRequest({ expression: 'rcx', context: 'watch' });
    assert.equal(body.result, '2');
    assert.equal(
      (await client.go()).description,
      'Hypercall memory_op.populate_physmap',
      'mmu_update did not meet its condition',
    );
  });

  it('a condition of a hypercall may ask for registers and memory, too', async () => {
    await start();
    await functions({
      name: 'hypercall:*',
      condition: "$rsp > 0x1000 && u8[rip] == 0x0f && name == 'memory_op'",
    });
    assert.equal((await client.go()).description, 'Hypercall memory_op.populate_physmap');
  });

  it('hit counts survive a set that changes another breakpoint', async () => {
    await start();
    await functions({ name: 'work', hitCondition: '>= 2' }, { name: 'leaf' });
    await client.go();
    assert.equal(await rip(), at('leaf'), 'the first hit of work is passed over');
    await functions({ name: 'work', hitCondition: '>= 2' });
    await client.go();
    assert.equal(await rip(), at('work'));
    const { body } = await client.dc.evaluateRequest({ expression: 'rcx', context: 'watch' });
    assert.equal(body.result, '2');
  });

  it('log points speak and do not stop', async () => {
    await start();
    await functions(
      { name: 'work, log: work #{rcx} at {rip} {{so}} {nothing}' },
      { name: 'hypercall:mmu_update, log: ptr {ureqs[0].ptr} of {count}' },
    );
    await client.dc.continueRequest({ threadId: 1 });
    await client.event('terminated');
    const lines = client
      .output()
      .split('\n')
      .filter((one) => /^(work|ptr)/.test(one));
    assert.deepEqual(lines, [
      ...[3, 2, 1].map(
        (n) => `work #0x${n} at ${hex(at('work'))} {so} {nothing: there is no 'nothing' here}`,
      ),
      'ptr 0x41008 of 0x1',
    ]);
  });

  it('source breakpoints: moved to the next line with code, with conditions and log messages', async () => {
    await start();
    const { body } = await client.dc.setBreakpointsRequest({
      source: { path: '/src/fake.c' },
      breakpoints: [
        { line: 13, condition: 'rcx == 1' },
        { line: 33 },
        { line: 99 },
        { line: 50, logMessage: 'leaf' },
      ],
    });
    assert.deepEqual(
      body.breakpoints.map(({ verified, line }) => [verified, line]),
      [
        [true, 13],
        [true, 40],
        [false, undefined],
        [true, 50],
      ],
    );
    assert.match(body.breakpoints[2]?.message ?? '', /no code for \/src\/fake.c:99/);
    const stop = await client.go();
    assert.equal(stop.reason, 'breakpoint');
    assert.equal(await rip(), at('work'));
    await client.dc.setBreakpointsRequest({
      source: { path: '/src/fake.c' },
      breakpoints: [{ line: 13, condition: 'rcx == 1' }],
    });
    await client.go();
    const stackFrames = await client.stack();
    assert.deepEqual([stackFrames[0]?.source?.path, stackFrames[0]?.line], ['/src/fake.c', 13]);
    const locations = await client.dc.customRequest('breakpointLocations', {
      source: { path: '/src/fake.c' },
      line: 10,
      endLine: 13,
    });
    assert.deepEqual(locations.body, {
      breakpoints: [{ line: 10 }, { line: 11 }, { line: 12 }, { line: 13 }],
    });
  });

  it('instruction breakpoints, by reference and offset; a bad one does not spoil the others', async () => {
    await start();
    const reference = `virtual:d1v0:${hex(at('work'))}`;
    const { body } = (await client.dc.customRequest('setInstructionBreakpoints', {
      breakpoints: [
        { instructionReference: reference, offset: 4, condition: 'rcx == 2' },
        { instructionReference: 'nonsense' },
        { instructionReference: 'machine:0x1000' },
        { instructionReference: hex(at('leaf')), hitCondition: '3' },
      ],
    })) as DebugProtocol.SetInstructionBreakpointsResponse;
    assert.deepEqual(
      body.breakpoints.map(({ verified, message = '' }) => `${verified} ${message}`),
      [
        'true ',
        "false 'nonsense' is not a memory reference: 'nonsense' is not a 64-bit address",
        'false instruction breakpoints sit at virtual addresses',
        'true ',
      ],
    );
    const stop = await client.go();
    assert.deepEqual(
      [stop.reason, stop.hitBreakpointIds],
      ['instruction breakpoint', [body.breakpoints[0]?.id]],
    );
    assert.equal(await rip(), at('work') + 4n);
    await client.go();
    assert.equal(await rip(), at('leaf'), 'the third time');
  });

  it('a step that lands on a breakpoint hits it, once', async () => {
    await start();
    await functions({ name: 'setup' });
    await client.dc.stepInRequest({ threadId: 1, granularity: 'instruction' });
    assert.equal((await client.stopped()).reason, 'function breakpoint');
    await client.dc.stepInRequest({ threadId: 1, granularity: 'instruction' });
    assert.equal((await client.stopped()).reason, 'step');
  });

  it('exception filters with conditions; exceptionInfo tells the reason', async () => {
    await start();
    const { body } = await client.dc.send('setExceptionBreakpoints', {
      filters: ['domain-crash'],
      filterOptions: [
        { filterId: 'hypercall-failed', condition: "name == 'mmu_update'" },
        { filterId: 'weather' },
      ],
    });
    const { breakpoints } = body as { breakpoints: DebugProtocol.Breakpoint[] };
    assert.deepEqual(
      breakpoints.map(({ verified }) => verified),
      [true, true, false],
    );
    assert.match(breakpoints[2]?.message ?? '', /no exception filter 'weather'/);
    const stop = await client.go();
    const reason = 'mmu_update failed with EINVAL: l1e 0x42063 maps frame 0x42 writable, but it is typed L2';
    assert.deepEqual([stop.reason, stop.text], ['exception', reason]);
    const info = (await client.dc.exceptionInfoRequest({ threadId: 1 })).body;
    assert.equal(info.exceptionId, 'hypercall-failed');
    assert.equal(info.description, reason);
    assert.equal(info.details?.typeName, 'hypercall-failed: mmu_update EINVAL');
    assert.match(info.details.stackTrace ?? '', /at hypercall mmu_update/);
  });

  it('a crash stops once, then ends with a status', async () => {
    await client.close();
    client = await connect(createFakeHost({ start: 'crash' }));
    await client.launch({ noConfigurationDone: true });
    await client.dc.setExceptionBreakpointsRequest({ filters: ['domain-crash'] });
    await client.dc.configurationDoneRequest();
    const stop = await client.stopped();
    assert.equal(stop.reason, 'exception');
    assert.match(stop.text ?? '', /#UD at/);
    await client.dc.continueRequest({ threadId: 1 });
    assert.deepEqual((await client.event('exited')).body, { exitCode: 1 });
    await client.event('terminated');
  });

  it('what is set before the launch is pending, and told when it resolves', async () => {
    await client.dc.initializeRequest();
    const [pending] = await functions({ name: 'work' });
    assert.deepEqual([pending?.verified, pending?.reason], [false, 'pending']);
    await client.dc.configurationDoneRequest();
    await client.dc.launchRequest({});
    const changed = (await client.event('breakpoint')).body as DebugProtocol.BreakpointEvent['body'];
    assert.deepEqual([changed.breakpoint.id, changed.breakpoint.verified], [pending?.id, true]);
    assert.equal((await client.stopped()).reason, 'function breakpoint');
  });

  it('noDebug runs past everything', async () => {
    await client.launch({ noDebug: true, stopOnEntry: true, noConfigurationDone: true });
    await functions({ name: 'work' });
    await client.dc.configurationDoneRequest();
    await client.event('terminated');
  });
});
