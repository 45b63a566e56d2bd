import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { DebugProtocol } from '@vscode/debugprotocol';
import { adapterHost } from '../../src/host/adapter';
import { inProcessTarget } from '../../src/host/machine';
import type { Client } from '../support/dap-client';
import { connect } from '../support/dap-client';
import { withLine } from '../support/lines';

// The second sample, which a compiler has optimized, looked at in its source.

const folder = path.join(__dirname, '..', '..', 'media', 'samples', 'c-tour');
const kernel = path.join(folder, 'c-tour.elf');

/** Of a file of the sample. */
const lineOf = (file: string, text: string): number => withLine(path.join(folder, file), text);

describe('dap: source level', function () {
  this.timeout(60_000);
  let client: Client;
  beforeEach(async () => {
    client = await connect(adapterHost({ inProcess: inProcessTarget }));
    await client.launch({ kernel, stopOnEntry: true });
    await client.stopped();
  });
  afterEach(() => client.close());

  const to = async (file: string, text: string): Promise<void> => {
    const source = { path: path.join(folder, file) };
    const { body } = await client.dc.setBreakpointsRequest({
      source,
      breakpoints: [{ line: lineOf(file, text) }],
    });
    assert.equal(body.breakpoints[0]?.verified, true, body.breakpoints[0]?.message);
    await client.go('continue');
    await client.dc.setBreakpointsRequest({ source, breakpoints: [] });
  };
  const names = async (): Promise<string[]> =>
    (await client.stack()).map(({ name }) => name.replace(/\+.*/, ''));
  const line = async (): Promise<string> => {
    const [frame] = await client.stack();
    const file = frame?.source?.name ?? '';
    const at = file === 'boot.S' ? path.join('..', 'first-hypercall', file) : file;
    const text = readFileSync(path.join(folder, at), 'utf8').split('\n');
    return (text[(frame?.line ?? 0) - 1] ?? '').trim();
  };
  const evaluate = async (expression: string, frame = 0, context = 'watch'): Promise<string> => {
    const frameId = (await client.stack())[frame]?.id ?? 0;
    try {
      return (await client.dc.evaluateRequest({ expression, frameId, context })).body.result;
    } catch (error) {
      return `! ${(error as Error).message}`;
    }
  };
  const locals = async (frame = 0): Promise<Map<string, DebugProtocol.Variable>> => {
    const { scopes } = (await client.dc.scopesRequest({ frameId: (await client.stack())[frame]?.id ?? 0 }))
      .body;
    const variablesReference = scopes.find(({ name }) => name === 'Locals')?.variablesReference ?? 0;
    const list = (await client.dc.variablesRequest({ variablesReference })).body.variables;
    return new Map(list.map((one) => [one.name, one]));
  };
  const below = async (variable: DebugProtocol.Variable | undefined): Promise<string[]> => {
    const { variables } = (
      await client.dc.variablesRequest({ variablesReference: variable?.variablesReference ?? 0 })
    ).body;
    return variables.map(({ name, value }) => `${name}=${value}`);
  };

  it('shows variables where the compiler left them, and what they point to', async () => {
    await to('shapes.c', 'long area = shape->area(shape);');
    assert.deepEqual(await names(), ['total_area', 'guest_main', '_start']);
    const rows = await locals();
    assert.equal(rows.get('sum')?.value, '0');
    assert.match(rows.get('area')?.value ?? '', /^<optimized out/);
    const shape = rows.get('shape');
    assert.equal(shape?.type, 'const struct shape *');
    assert.match(shape.value, /<door>$/);
    const members = await below(shape);
    assert.match(members[0] ?? '', /^name=0x[0-9a-f]+ "door"$/);
    assert.deepEqual(members.slice(1, 4), ['colour=BLUE (4)', 'tilt=15 (0xf)', 'visible=0']);
    const outer = await locals(1);
    assert.equal(outer.get('depth')?.value, '2', 'kept in a register that the callee saved');
  });

  it('evaluates C over types, registers and symbols; says why what it refuses', async () => {
    await to('shapes.c', 'long area = shape->area(shape);');
    const cases: readonly (readonly [string, string | RegExp])[] = [
      ['shape->corners[2].x - shape->corners[0].x', '9'],
      ['*shape->next', /^\{name = 0x[0-9a-f]+ "table", colour = GREEN \(1\), tilt = -3/],
      ['shape->next->corners', /^\{\{x = 0, y = 0\}, \{x = 30 \(0x1e\), y = 0\}/],
      ['sizeof(struct shape)', '72 (0x48)'],
      ['((struct point *)&shape->corners[1])->y', '5'],
      ['&shape->corners[1] - &shape->corners[0]', '1'],
      ['shape->area', /<rectangle_area>$/],
      ['shape->colour == BLUE && shape->name == "door"', '1'],
      ['(enum access)3', 'MAY_READ | MAY_WRITE (0x3)'],
      ['(u8)300', /^44/],
      ['(u8)-1', /^255/],
      ['010 + 0x10', '0x18 (24)'],
      ['08', /'08' is not a number/],
      ['(char)-1 < 0 ? 7 : 8', '7'],
      ['drawn + 1.5', '3.5'],
      ['trap_entries[14] > trap_entries[13]', '1'],
      ['&shape->tilt', /a bit-field has no address/],
      ['shape->nope', /there is no member 'nope'; there are name, colour/],
      ['nobody', /there is no 'nobody' here/],
      ['depth_of(shapes)', /functions of the guest are not called/],
      ['drawn = 5', /only done from the debug console/],
      ['(struct nothing *)0', /there is no type 'struct nothing'/],
      ['*(void *)0', /cast it first/],
    ];
    for (const [expression, expected] of cases) {
      const result = await evaluate(expression);
      if (typeof expected === 'string') assert.equal(result, expected, expression);
      else assert.match(result, expected, expression);
    }
    const { targets } = (
      await client.dc.completionsRequest({
        text: 'shape->co',
        column: 10,
        frameId: (await client.stack())[0]?.id ?? 0,
      })
    ).body;
    assert.deepEqual(
      targets.map(({ label }) => label),
      ['colour', 'corners'],
    );
  });

  it('sets variables in memory, in registers and in bit-fields, and says why not', async () => {
    await to('shapes.c', 'long area = shape->area(shape);');
    assert.equal(await evaluate('drawn = 7', 0, 'repl'), '7');
    assert.equal(await evaluate('drawn'), '7');
    assert.match(await evaluate('door.tilt = 16', 0, 'repl'), /does not fit its 5 bits/);
    assert.match(await evaluate('door.tilt = -16', 0, 'repl'), /^-16/);
    assert.equal(await evaluate('door.visible'), '0', 'its neighbour stays as it is');
    assert.match(await evaluate('u8[&drawn] = 0x1ff', 0, 'repl'), /0x1ff does not fit its 8 bits/);
    assert.equal(await evaluate('u8[&drawn] = -1', 0, 'repl'), '0xff (255)');
    assert.equal(await evaluate('drawn = 7', 0, 'repl'), '7');
    assert.match(await evaluate('door.corners = 1', 0, 'repl'), /a whole array cannot be set/);
    const { scopes } = (await client.dc.scopesRequest({ frameId: (await client.stack())[0]?.id ?? 0 })).body;
    const variablesReference = scopes.find(({ name }) => name === 'Locals')?.variablesReference ?? 0;
    const set = await client.dc.setVariableRequest({ variablesReference, name: 'sum', value: '1000' });
    assert.equal(set.body.value, '1000 (0x3e8)', 'it is in a register');
    await to('tour.c', 'compose(message, depth == 2');
    assert.equal(await evaluate('area'), '1780 (0x6f4)', 'the guest went on with it');
  });

  it('an array without a length, and a union, in rows and in expressions', async () => {
    await to('tour.c', 'compose(message, depth == 2');
    await client.go('next');
    const frameId = (await client.stack())[0]?.id ?? 0;
    const rows = async (expression: string): Promise<string[]> => {
      const { body } = await client.dc.evaluateRequest({ expression, frameId, context: 'watch' });
      const { variablesReference } = body;
      const { variables } = (await client.dc.variablesRequest({ variablesReference })).body;
      return variables.map(({ name, value, evaluateName = '' }) => `${name} = ${value}: ${evaluateName}`);
    };
    const said = 'shapes: as they should be\n';
    assert.deepEqual(await rows('message'), [
      `length = ${said.length} (0x1a): message->length`,
      'text = […]: message->text',
    ]);
    const letters = await rows('message->text');
    assert.equal(letters[0], "[0] = 115 's': message->text[0]");
    assert.ok(letters.length > 8 && letters.length < 100, `${letters.length} of nobody knows how many`);
    assert.equal(await evaluate(`message->text[${said.indexOf('b')}]`), "98 'b'");
    assert.equal(await evaluate('sizeof(*message)'), '4');
    const whole = BigInt((await evaluate('*(u64 *)message')).split(' ')[0] ?? '');
    const entry = await rows('*(union entry *)message');
    assert.equal(entry[0], `whole = ${whole} (0x${whole.toString(16)}): (*(union entry *)message).whole`);
    const bits = entry.slice(1).map((row) => row.replace(/ \(.*|:.*/, ''));
    const frame = (whole >> 12n) & ((1n << 40n) - 1n);
    assert.deepEqual(bits, [
      `present = ${whole & 1n}`,
      `writable = ${(whole >> 1n) & 1n}`,
      `user = ${(whole >> 2n) & 1n}`,
      `frame = ${frame}`,
      `no_execute = ${whole >> 63n}`,
    ]);
    // The members are of the same bytes.
    assert.equal(await evaluate('((union entry *)message)->writable = 0', 0, 'repl'), '0');
    assert.equal(
      BigInt((await evaluate('((union entry *)message)->whole')).split(' ')[0] ?? ''),
      whole & ~2n,
    );
  });

  it('shows numbers inside of structures in the way that is asked for; nothing below NULL', async () => {
    await to('shapes.c', 'long area = shape->area(shape);');
    const frameId = (await client.stack())[0]?.id ?? 0;
    const shown = async (expression: string, hex: boolean): Promise<DebugProtocol.EvaluateResponse['body']> =>
      (await client.dc.evaluateRequest({ expression, frameId, context: 'watch', format: { hex } })).body;
    assert.equal((await shown('shape->corners[1]', false)).result, '{x = 14 (0xe), y = 5}');
    assert.equal((await shown('shape->corners[1]', true)).result, '{x = 0xe, y = 0x5}');
    assert.match(
      (await shown('*shape', true)).result,
      /"door", colour = BLUE \(0x4\), tilt = 0xf, visible = 0x0,/,
    );
    assert.notEqual((await shown('shape->next', false)).variablesReference, 0);
    const { body } = await client.dc.evaluateRequest({ expression: 'shape->next', frameId, context: 'repl' });
    assert.ok((await below(body as unknown as DebugProtocol.Variable)).some((row) => row === 'next=NULL'));
    const next = (await client.dc.variablesRequest({ variablesReference: body.variablesReference })).body;
    assert.equal(next.variables.find(({ name }) => name === 'next')?.variablesReference, 0);
  });

  it('a function breakpoint on a variable, and a line that cannot be, are refused in words', async () => {
    const { breakpoints } = (
      await client.dc.setFunctionBreakpointsRequest({
        breakpoints: [{ name: 'shapes' }, { name: 'total_area' }],
      })
    ).body;
    assert.deepEqual(
      breakpoints.map(({ verified }) => verified),
      [false, true],
    );
    assert.match(breakpoints[0]?.message ?? '', /'shapes' is a variable, and no code; a data breakpoint/);
    const source = { path: path.join(folder, 'shapes.c') };
    const lines = (await client.dc.setBreakpointsRequest({ source, breakpoints: [{ line: -5 }] })).body;
    assert.deepEqual(
      lines.breakpoints.map(({ verified, message }) => [verified, message]),
      [[false, 'there is no line -5: they are counted from 1']],
    );
  });

  it('steps by line through optimized code, inlined functions as if they were called', async () => {
    await to('tour.c', 'say("c-tour: a guest');
    const lines: string[] = [];
    for (let i = 0; i < 5; i++) {
      await client.go('next');
      lines.push(await line());
      assert.equal((await names())[0], 'guest_main', lines.at(-1));
    }
    assert.deepEqual(lines, [
      'register_handlers();',
      'map_shared_info(info);',
      'add_shapes();',
      'depth = depth_of(shapes);',
      'area = total_area();',
    ]);
  });

  it('steps into inlined functions, into a recursion and out of it', async () => {
    await to('tour.c', '    add_shapes();');
    await client.go('stepIn');
    assert.deepEqual([(await names())[0], await line()], ['add_shapes', 'push_shape(&table);']);
    await client.go('stepIn');
    assert.deepEqual((await names()).slice(0, 2), ['push_shape (inlined)', 'add_shapes']);
    assert.equal((await locals()).get('old')?.value, 'NULL');
    await to('shapes.c', 'below = depth_of(list->next);');
    await client.go('next');
    assert.equal(await line(), 'return below + 1;');
    assert.deepEqual(await names(), ['depth_of', 'guest_main', '_start'], 'over the calls inside');
    await client.go('stepOut');
    assert.equal(await line(), 'depth = depth_of(shapes);');
  });

  it('unwinds through a fault to the code that caused it, and steps out of its handler', async () => {
    await to('tour.c', '        faults++;');
    assert.deepEqual(await names(), [
      'trap_handler',
      'trap_common',
      // The hypervisor came between; its stubs do not tell for which of its reasons.
      'bounce',
      'probe_write',
      'fault_once',
      'guest_main',
      '_start',
    ]);
    await client.go('stepOut');
    assert.equal((await names())[0], 'trap_common');
    await client.go('stepOut');
    assert.equal((await names())[0], 'probe_fault', 'where the handler sent it');
  });

  it('steps into a fault handler; does not fall into an event upcall', async () => {
    await to('tour.c', 'int faulted = probe_write(');
    await client.go('stepIn');
    assert.equal((await names())[0], 'probe_write');
    await client.go('stepIn');
    assert.equal((await names())[0], 'trap_common');
    await to('tour.c', '    while (ticks == seen)');
    for (let i = 0; i < 6; i++) {
      await client.go('next');
      assert.equal((await names())[0], 'work_until_tick');
    }
  });
});
