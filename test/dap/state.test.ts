import assert from 'node:assert/strict';
import type { DebugProtocol } from '@vscode/debugprotocol';
import type { Body, Client } from '../support/dap-client';
import { connect } from '../support/dap-client';
import type { FakeHost } from '../support/fake-host';
import { createFakeHost } from '../support/fake-host';
import { CODE, program } from '../support/fake-program';

const at = (label: string): bigint => program.labels.get(label) ?? 0n;
const hex = (value: bigint): string => `0x${value.toString(16)}`;

describe('dap: variables, memory, disassembly, evaluation', () => {
  let host: FakeHost;
  let client: Client;
  beforeEach(async () => {
    host = createFakeHost();
    client = await connect(host, { supportsInvalidatedEvent: true, supportsMemoryEvent: true });
    await client.launch({ stopOnEntry: true });
    await client.stopped();
  });
  afterEach(() => client.close());

  const frameId = async (index = 0): Promise<number> => (await client.stack())[index]?.id ?? 0;
  const scopes = async (index = 0): Promise<DebugProtocol.Scope[]> =>
    (await client.dc.scopesRequest({ frameId: await frameId(index) })).body.scopes;
  const scope = async (name: string): Promise<number> =>
    (await scopes()).find((one) => one.name === name)?.variablesReference ?? 0;
  const list = async (args: DebugProtocol.VariablesArguments): Promise<DebugProtocol.Variable[]> =>
    (await client.dc.variablesRequest(args)).body.variables;
  const shown = (variables: DebugProtocol.Variable[]): string[] =>
    variables.map(({ name, value }) => `${name}=${value}`);
  const evaluate = async (expression: string, context = 'watch'): Promise<string> =>
    (await client.dc.evaluateRequest({ expression, context })).body.result;
  const toHypercall = async (name: string): Promise<void> => {
    await client.dc.setFunctionBreakpointsRequest({ breakpoints: [{ name: `hypercall:${name}` }] });
    await client.dc.continueRequest({ threadId: 1 });
    await client.stopped();
  };

  it('scopes: register groups, what the hypervisor keeps, and a hypercall’s arguments', async () => {
    assert.deepEqual(
      (await scopes()).map(({ name }) => name),
      ['General', 'Flags', 'Control', 'Segments', 'SSE', 'x87', 'Hypervisor'],
    );
    assert.deepEqual(shown(await list({ variablesReference: await scope('Hypervisor') })), [
      'trap_table=[1]',
      'upcall_mask=true',
    ]);
    assert.ok(
      shown(await list({ variablesReference: await scope('General') })).includes(
        `rip=${hex(at('start'))} <start>`,
      ),
    );
    assert.deepEqual(shown(await list({ variablesReference: await scope('Segments') })), ['cs=0xe033']);
    assert.deepEqual(shown(await list({ variablesReference: await scope('x87') })), [
      'st0=1 (0x3fff8000000000000000)',
    ]);

    await toHypercall('mmu_update');
    const args = await list({ variablesReference: await scope('Hypercall') });
    assert.deepEqual(shown(args), ['ureqs=[1]', 'count=0x1', 'foreigndom=DOMID_SELF']);
    assert.deepEqual([args[0]?.indexedVariables, args[0]?.evaluateName], [1, 'ureqs']);
    const [element] = await list({ variablesReference: args[0]?.variablesReference ?? 0 });
    const members = await list({ variablesReference: element?.variablesReference ?? 0 });
    assert.deepEqual(shown(members), ['ptr=0x41008', 'val=0x42063']);
    assert.deepEqual(
      [members[0]?.memoryReference, members[0]?.evaluateName],
      ['machine:0x41008', 'ureqs[0].ptr'],
    );
  });

  it('a caller’s frame has what unwinding knows', async () => {
    await client.dc.stepInRequest({ threadId: 1, granularity: 'instruction' });
    await client.stopped();
    const [only] = await scopes(1);
    assert.equal(only?.name, 'Frame');
    const rows = shown(await list({ variablesReference: only.variablesReference }));
    assert.deepEqual(rows, [
      `rip=${hex(at('start') + 5n)} <start+0x5>`,
      'rsp=0xffffffff8000ffc0',
      'rbp=0x0000000000000000',
      'found by=code',
    ]);
    const { body } = await client.dc.evaluateRequest({
      expression: 'rip',
      frameId: await frameId(1),
      context: 'watch',
    });
    assert.match(body.result, /<start\+0x5>$/);
  });

  it('pages variables', async () => {
    const variablesReference = await scope('SSE');
    const [xmm0] = await list({ variablesReference });
    const views = await list({ variablesReference: xmm0?.variablesReference ?? 0 });
    assert.deepEqual(shown(views.slice(0, 1)), ['f64={2, 1.5}']);
    const bytes = views.find(({ name }) => name === 'u8')?.variablesReference ?? 0;
    assert.deepEqual(
      shown(await list({ variablesReference: bytes, filter: 'indexed', start: 6, count: 2 })),
      ['[6]=0x0', '[7]=0x40'],
    );
    assert.deepEqual(await list({ variablesReference: bytes, filter: 'named' }), []);
  });

  it('sets registers, flags and elements, and says what else may have changed', async () => {
    const set = async (scopeName: string, name: string, value: string): Promise<string> =>
      (await client.dc.send('setVariable', { variablesReference: await scope(scopeName), name, value })).body
        .value;
    assert.equal(await set('General', 'rax', '0x10 + 2'), '0x0000000000000012');
    assert.equal(await evaluate('al'), '0x12 (18)');
    assert.equal(await set('Flags', 'ZF', '1'), '1');
    assert.equal(await evaluate('rflags & 0x40'), '0x40 (64)');
    const [xmm0] = await list({ variablesReference: await scope('SSE') });
    const [f64] = await list({ variablesReference: xmm0?.variablesReference ?? 0 });
    const { body } = await client.dc.send('setVariable', {
      variablesReference: f64?.variablesReference ?? 0,
      name: '[1]',
      value: '-0.25',
    });
    assert.equal((body as { value: string }).value, '-0.25');
    const [fresh] = await list({ variablesReference: xmm0?.variablesReference ?? 0 });
    assert.equal(fresh?.value, '{2, -0.25}');
    assert.deepEqual((await client.event('invalidated')).body, { areas: ['stacks', 'variables'] });

    const message = async (scopeName: string, name: string, value: string): Promise<string> =>
      (await client.refused('setVariable', { variablesReference: await scope(scopeName), name, value }))
        .message ?? '';
    assert.equal(
      await message('General', 'rax', '1 << 3 +'),
      'the expression ends where a value is expected',
    );
    assert.equal(await message('General', 'rax', 'nobody'), "there is no 'nobody' here");
    assert.equal(await message('General', 'r99', '1'), "there is no variable 'r99'");
    assert.equal(await message('Flags', 'ZF', '2'), 'ZF is 0 or 1');
    assert.equal(await message('Control', 'cr3', '2'), 'cr3 cannot be set');
    assert.equal(
      await message('SSE', 'xmm0', '1.5'),
      'xmm0 takes 128 bits as 0x…; its elements take numbers',
    );
  });

  it('references die when the machine runs', async () => {
    const variablesReference = await scope('General');
    const old = await frameId();
    await client.dc.stepInRequest({ threadId: 1, granularity: 'instruction' });
    await client.stopped();
    assert.match((await client.refused('variables', { variablesReference })).message ?? '', /has run since/);
    assert.match((await client.refused('scopes', { frameId: old })).message ?? '', /has run since/);
  });

  it('reads memory in three address spaces, up to holes', async () => {
    const read = async (
      memoryReference: string,
      count: number,
      offset = 0,
    ): Promise<Body<DebugProtocol.ReadMemoryResponse>> =>
      (await client.dc.customRequest('readMemory', { memoryReference, count, offset }))
        .body as Body<DebugProtocol.ReadMemoryResponse>;
    const expected = Buffer.from(program.bytes.subarray(0, 4)).toString('base64');
    for (const reference of [
      `virtual:d1v0:${hex(CODE)}`,
      hex(CODE),
      'pseudophysical:d1:0x0',
      'machine:0x40000',
    ]) {
      assert.equal((await read(reference, 4)).data, expected, reference);
    }
    const end = await read(hex(CODE), 32, 4096 - 8);
    assert.deepEqual(
      [end.address, Buffer.from(end.data ?? '', 'base64').length, end.unreadableBytes],
      [hex(CODE + 4088n), 8, 24],
    );
    assert.deepEqual(await read('machine:0x1', 16), { address: '0x1', unreadableBytes: 16 });
    assert.deepEqual(await read(hex(CODE), 0), { address: hex(CODE) });
    const bad: [object, RegExp][] = [
      [
        { memoryReference: 'physical:0x0', count: 1 },
        /'physical' is none of virtual:dNvN, pseudophysical:dN, machine/,
      ],
      [{ memoryReference: '0xfffffffffffffffff', count: 1 }, /not a 64-bit address/],
      [{ memoryReference: '0x0', offset: -1, count: 1 }, /outside of 64 bits/],
      [{ memoryReference: '0x0', count: 1e9 }, /at most 16777216/],
    ];
    for (const [args, message] of bad)
      assert.match((await client.refused('readMemory', args)).message ?? '', message);
  });

  it('writes memory: all or nothing, or what fits', async () => {
    const data = Buffer.from('cccc', 'hex').toString('base64');
    const write = async (args: object): Promise<unknown> =>
      (await client.dc.customRequest('writeMemory', args)).body;
    assert.deepEqual(await write({ memoryReference: 'pseudophysical:d1:0x100', data }), { bytesWritten: 2 });
    assert.deepEqual((await client.event('memory')).body, {
      memoryReference: 'pseudophysical:d1:0x100',
      offset: 0,
      count: 2,
    });
    assert.equal(await evaluate(`u16[${hex(CODE + 0x100n)}]`), '0xcccc (52428)');
    const edge = { memoryReference: hex(CODE + 4095n), data };
    assert.match(
      (await client.refused('writeMemory', edge)).message ?? '',
      /only 1 of the 2 bytes .* are mapped; nothing was written/,
    );
    assert.deepEqual(await write({ ...edge, allowPartial: true }), { bytesWritten: 1 });
    assert.match(
      (await client.refused('writeMemory', { memoryReference: '0x0', data: '!' })).message ?? '',
      /not base64/,
    );
  });

  it('disassembles forwards and backwards, exactly as many as asked for', async () => {
    const disassemble = async (args: object): Promise<DebugProtocol.DisassembledInstruction[]> =>
      ((await client.dc.customRequest('disassemble', args)).body as Body<DebugProtocol.DisassembleResponse>)
        .instructions;
    const work = await disassemble({
      memoryReference: hex(at('work')),
      instructionCount: 7,
      resolveSymbols: true,
    });
    assert.deepEqual(
      work.map(({ instruction }) => instruction),
      [
        'push rbp',
        'mov rbp, rsp',
        'inc rax',
        `call ${hex(at('leaf'))} <leaf>`,
        'rep movsb [rdi], [rsi]',
        'pop rbp',
        'ret',
      ],
    );
    assert.deepEqual(
      [work[1]?.instructionBytes, work[1]?.symbol, work[0]?.line],
      ['48 89 e5', 'work+0x1', 40],
    );

    const around = await disassemble({
      memoryReference: hex(at('work')),
      instructionOffset: -5,
      instructionCount: 8,
    });
    assert.deepEqual(
      around.slice(5),
      work.slice(0, 3).map((one, i) => ({ ...one, ...(i === 0 ? around[5] : {}) })),
    );
    assert.deepEqual(
      around.slice(0, 5).map(({ instruction }) => instruction),
      ['push rbp', 'mov rbp, rsp', 'nop', 'pop rbp', 'ret'],
    );
    assert.equal(BigInt(around[4]?.address ?? '0') + 1n, at('work'));

    const before = await disassemble({
      memoryReference: hex(CODE),
      instructionOffset: -3,
      instructionCount: 4,
    });
    assert.deepEqual(
      before.map(({ address }) => BigInt(address)),
      [-1n, -1n, -1n, CODE],
    );
    const away = await disassemble({
      memoryReference: hex(at('work')),
      instructionOffset: -50,
      instructionCount: 10,
    });
    assert.equal(away.length, 10);
    const after = await disassemble({ memoryReference: hex(CODE), offset: 4094, instructionCount: 5 });
    assert.deepEqual(
      after.map(({ address }) => address.slice(-3)),
      ['ffe', '-1', '-1', '-1', '-1'],
      'add [rax], al, then nothing',
    );
    const elsewhere = await disassemble({ memoryReference: 'machine:0x40000', instructionCount: 2 });
    assert.deepEqual(
      elsewhere.map(({ address, symbol }) => [address, symbol]),
      [
        ['0x0000000000040000', undefined],
        ['0x0000000000040005', undefined],
      ],
    );
  });

  it('evaluates registers, symbols, arithmetic, memory and references', async () => {
    const cases: [string, string][] = [
      ['rip', `${hex(at('start'))} (${at('start')}) <start>`],
      ['work + 4', `${hex(at('work') + 4n)} (${at('work') + 4n}) <work+0x4>`],
      ['(1 << 12) | 0xf & ~1', '0x100e (4110)'],
      ['-3', '-3'],
      ['u8[rip]', '0xe8 (232)'],
      ['*(rip) & 0xff == 0xe8', '0'],
      ['(*rip & 0xff) == 0xe8', '1'],
      ['zf', '0'],
      [`machine:0x40000`, hex(Buffer.from(program.bytes).readBigUInt64LE(0))],
      ['machine:0x1', 'not mapped'],
    ];
    for (const [expression, result] of cases) assert.equal(await evaluate(expression), result, expression);
    const { body } = await client.dc.evaluateRequest({ expression: 'rsp', context: 'watch' });
    assert.match(body.memoryReference ?? '', /^virtual:d1v0:0xffffffff8000ffc0$/);

    const errors: [string, RegExp][] = [
      ['1 +', /the expression ends/],
      ['nobody', /there is no 'nobody' here/],
      ['*8', /0x8 is not mapped/],
      ['1 / 0', /division by zero/],
      ['§', /is not part of an expression/],
      ['', /nothing to evaluate/],
      ['rax = 1', /only done from the debug console/],
      [`${'('.repeat(200)}1${')'.repeat(200)}`, /nested too deeply/],
    ];
    for (const [expression, message] of errors) {
      const refused = await client.refused('evaluate', { expression, context: 'watch' });
      assert.match(refused.message ?? '', message, expression);
      assert.equal(refused.body.error?.showUser, false, 'shown in place');
    }
  });

  it('assigns registers from the console and by setExpression', async () => {
    assert.equal(
      await evaluate('rbx = rip + 1', 'repl'),
      `${hex(at('start') + 1n)} (${at('start') + 1n}) <start+0x1>`,
    );
    const set = await client.dc.customRequest('setExpression', { expression: 'bl', value: '7' });
    assert.equal((set.body as { value: string }).value, '7');
    assert.equal(await evaluate('rbx & 0xff'), '7');
  });

  it('evaluates a hypercall’s arguments as trees, and completes names', async () => {
    await toHypercall('mmu_update');
    const { body } = await client.dc.evaluateRequest({ expression: 'ureqs[0]', context: 'hover' });
    assert.deepEqual(shown(await list({ variablesReference: body.variablesReference })), [
      'ptr=0x41008',
      'val=0x42063',
    ]);
    const complete = async (text: string): Promise<string[]> =>
      (await client.dc.completionsRequest({ text, column: text.length + 1 })).body.targets.map(
        ({ label }) => label,
      );
    assert.deepEqual(await complete('1 + r1'), ['r10', 'r11', 'r12', 'r13', 'r14', 'r15']);
    assert.deepEqual(await complete('wo'), ['work']);
    assert.deepEqual(await complete('cou'), ['count']);
    assert.deepEqual(await complete('ureqs[0].'), ['ptr', 'val']);
    assert.deepEqual(await complete('hypercall:memory_op.p'), ['hypercall:memory_op.populate_physmap']);
  });

  it('custom requests carry what the editor’s views show', async () => {
    const domains = await client.custom('hyperstep/domains', {});
    assert.deepEqual(domains.domains[0]?.vcpus[0]?.rip, hex(at('start')));
    const table = await client.custom('hyperstep/pageTable', { path: [] });
    assert.deepEqual([table.entries[0]?.index, table.entries[0]?.entry], [511, '0x42067']);
    const walk = await client.custom('hyperstep/walk', { address: 'work' });
    assert.equal(walk.machineAddress, hex(at('work') - CODE + 0x40000n));
    assert.equal((await client.custom('hyperstep/frame', { mfn: 0x42 })).type, 'L3');
    assert.ok((await client.custom('hyperstep/hypercalls', {})).hypercalls.length > 3);
    await client.dc.setFunctionBreakpointsRequest({ breakpoints: [{ name: 'hypercall:sched_op' }] });
    await client.dc.continueRequest({ threadId: 1 });
    await client.stopped();
    const trace = await client.custom('hyperstep/trace', { from: 1, count: 10 });
    assert.deepEqual(
      trace.records.map(({ seq, call }) => [seq, call.name, call.result]),
      [
        [1, 'mmu_update', '-0x16'],
        [2, 'memory_op', '0x10'],
      ],
    );
    assert.equal((await client.custom('hyperstep/traceSummary', {})).total, 3);
    await client.custom('hyperstep/consoleInput', { domain: 1, data: 'ls\r' });
    assert.equal(host.targets[0]?.typed(), 'ls\r');
    await client.custom('hyperstep/consoleInput', { domain: 1, console: 0, data: '!' });
    assert.equal(host.targets[0].typed(), 'ls\r!');
    assert.deepEqual((await client.custom('hyperstep/devices', {})).net, { vifs: [], bridges: [] });
  });

  it('lists modules and sources', async () => {
    const { body } = await client.dc.modulesRequest({});
    assert.deepEqual(
      body.modules.map(({ name, symbolStatus }) => [name, symbolStatus]),
      [['sample.elf', '5 symbols, source lines']],
    );
    const sources = await client.dc.customRequest('loadedSources');
    assert.deepEqual(sources.body, { sources: [{ name: 'fake.c', path: '/src/fake.c' }] });
  });
});
