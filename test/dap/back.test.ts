import assert from 'node:assert/strict';
import path from 'node:path';
import type { DebugProtocol } from '@vscode/debugprotocol';
import { adapterHost } from '../../src/host/adapter';
import { inProcessTarget } from '../../src/host/machine';
import type { LaunchArguments } from '../../src/dap/protocol';
import type { Client } from '../support/dap-client';
import { connect } from '../support/dap-client';
import { withLine } from '../support/lines';

// Going back over the protocol: by lines, by instructions, to breakpoints, to the beginning, and into what was called.

const tour = path.join(__dirname, '..', '..', 'media', 'samples', 'c-tour');
const shapes = path.join(tour, 'shapes.c');

describe('dap: going back', function () {
  this.timeout(60_000);
  let client: Client;
  const start = async (args: LaunchArguments = {}): Promise<void> => {
    client = await connect(adapterHost({ inProcess: inProcessTarget }));
    await client.launch({ stopOnEntry: true, kernel: path.join(tour, 'c-tour.elf'), memory: '8M', ...args });
    await client.stopped();
  };
  afterEach(() => client.close());

  const evaluate = async (expression: string): Promise<string> => {
    const frameId = (await client.stack())[0]?.id ?? 0;
    return (await client.dc.evaluateRequest({ expression, frameId, context: 'watch' })).body.result;
  };
  const where = async (): Promise<string> => {
    const [first] = await client.stack();
    return `${first?.name} ${first?.line} ${await evaluate('$rip')} ${await evaluate('$rsp')} ${await evaluate('$rbx')}`;
  };
  const breakAt = async (...texts: string[]): Promise<void> => {
    const breakpoints = texts.map((text) => ({ line: withLine(shapes, text) }));
    await client.dc.setBreakpointsRequest({ source: { path: shapes }, breakpoints });
  };

  it('by lines: where next began each time; by instructions: one at a time', async () => {
    await start();
    await breakAt('long area = shape->area(shape);');
    await client.go('continue');
    await breakAt();
    const places = [await where()];
    // As long as it stays in the function: back out of a caller's line is to where that line began.
    for (let i = 0; i < 8; i++) {
      await client.go('next');
      const now = await where();
      if (now.startsWith('total_area')) places.push(now);
      else break;
    }
    assert.ok(places.length > 3, places.join('; '));
    await client.go('stepBack');
    const calling = await where();
    assert.match(calling, /^guest_main\S* \d+ /);
    await client.go('stepIn');
    for (let n = 0; n < 20 && (await where()) !== places[places.length - 1]; n++) await client.go('next');
    for (const wanted of places.slice(0, -1).reverse()) {
      const { reason } = await client.go('stepBack');
      assert.equal(reason, 'step');
      assert.equal(await where(), wanted);
    }
    const single = { granularity: 'instruction' };
    const instructions = [await where()];
    for (let i = 0; i < 12; i++) {
      await client.go('stepIn', single);
      instructions.push(await where());
    }
    for (const wanted of instructions.slice(0, -1).reverse()) {
      await client.go('stepBack', single);
      assert.equal(await where(), wanted);
    }
  });

  it('to the last breakpoint before, hypercall or statement, and to the beginning', async () => {
    await start();
    const entry = await where();
    await breakAt('sum += area;');
    const hits: string[] = [];
    for (let i = 0; i < 2; i++) {
      const { reason } = await client.go('continue');
      assert.equal(reason, 'breakpoint');
      hits.push(await where());
    }
    const printed = client.output();
    for (const wanted of hits.slice(0, -1).reverse()) {
      const { reason } = await client.go('reverseContinue');
      assert.equal(reason, 'breakpoint');
      assert.equal(await where(), wanted);
    }
    const { reason, description, text } = await client.go('reverseContinue');
    assert.deepEqual([reason, description, text], ['entry', 'At the beginning of the history', undefined]);
    assert.equal(await where(), entry);
    assert.equal((await client.go('stepBack')).reason, 'entry', 'there is nothing before');
    // And forward again: the same breakpoints, and nothing is printed twice.
    for (const wanted of hits) {
      await client.go('continue');
      assert.equal(await where(), wanted);
    }
    assert.equal(client.output(), printed);

    await client.dc.setFunctionBreakpointsRequest({ breakpoints: [{ name: 'hypercall:*' }] });
    await breakAt();
    const back = await client.go('reverseContinue');
    assert.equal(back.reason, 'function breakpoint');
    assert.match(back.description ?? '', /^(Return from hypercall|Hypercall) /);
  });

  it('a write that a data breakpoint is set on later', async () => {
    await start();
    await breakAt('sum += area;');
    await client.go('continue');
    assert.equal(await evaluate('drawn'), '2');
    const info = (await client.dc.send('dataBreakpointInfo', {
      name: 'drawn',
      frameId: (await client.stack())[0]?.id,
    })) as DebugProtocol.DataBreakpointInfoResponse;
    const dataId = info.body.dataId ?? assert.fail(info.body.description);
    await client.dc.send('setDataBreakpoints', { breakpoints: [{ dataId, accessType: 'write' }] });
    const stopped = await client.go('reverseContinue');
    assert.equal(stopped.reason, 'data breakpoint');
    assert.equal(await evaluate('drawn'), '2');
    await client.go('stepBack', { granularity: 'instruction' });
    assert.notEqual(await evaluate('drawn'), '2');
  });

  it('not into an upcall that came between, as steps do not go into one; unless the setting says so', async () => {
    const tourLine = withLine(path.join(tour, 'tour.c'), '    while (ticks == seen)');
    for (const stepIntoDeliveries of [false, true]) {
      await start({ stepIntoDeliveries });
      const source = { path: path.join(tour, 'tour.c') };
      await client.dc.setBreakpointsRequest({ source, breakpoints: [{ line: tourLine }] });
      await client.go('continue');
      await client.dc.setBreakpointsRequest({ source, breakpoints: [] });
      await client.dc.setFunctionBreakpointsRequest({ breakpoints: [{ name: 'event:upcall' }] });
      await client.go('continue');
      await client.dc.setFunctionBreakpointsRequest({ breakpoints: [] });
      // Before it, there are the instructions that it comes between.
      const single = { granularity: 'instruction' };
      const ticks = await evaluate('ticks');
      await client.go('stepBack', single);
      await client.go('stepBack', single);
      const places = [await where()];
      while ((await evaluate('ticks')) === ticks && places.length < 9) {
        await client.go('next', single);
        places.push(await where());
      }
      assert.notEqual(await evaluate('ticks'), ticks, 'the handler has run');
      assert.ok(
        places.every((one) => one.startsWith('work_until_tick')),
        places.join('; '),
      );
      await client.go('stepBack', single);
      if (stepIntoDeliveries) {
        await client.go('stepBack', single);
        assert.match(await where(), /^hypercall_iret/);
      } else {
        for (const wanted of places.slice(0, -1).reverse()) {
          assert.equal(await where(), wanted);
          await client.go('stepBack', single);
        }
      }
      await client.close();
    }
    // Within a handler it is its own instructions that are gone back by.
    await start();
    await client.dc.setFunctionBreakpointsRequest({ breakpoints: [{ name: 'event:upcall' }] });
    await client.go('continue');
    const single = { granularity: 'instruction' };
    const inside: string[] = [];
    for (let i = 0; i < 5; i++) {
      await client.go('stepIn', single);
      inside.push(await where());
    }
    for (const wanted of inside.slice(0, -1).reverse()) {
      await client.go('stepBack', single);
      assert.equal(await where(), wanted);
    }
  });

  it('what is changed in the past makes another future', async () => {
    await start();
    await breakAt('sum += area;');
    await client.go('continue');
    const later = await where();
    await client.go('stepBack', { granularity: 'instruction' });
    const [frame] = await client.stack();
    await client.dc.send('setExpression', { expression: 'drawn', value: '77', frameId: frame?.id });
    await client.go('next', { granularity: 'instruction' });
    assert.deepEqual([await where(), await evaluate('drawn')], [later, '77 (0x4d)']);
    await client.go('reverseContinue');
    assert.equal(await evaluate('$rip').then((rip) => rip.includes('total_area')), false);
    await client.go('continue');
    assert.deepEqual([await where(), await evaluate('drawn')], [later, '77 (0x4d)'], 'and that again');
  });

  it('is refused, with the setting for it, where no history is kept', async () => {
    await start({ history: 0 });
    const { message } = await client.refused('stepBack', { threadId: 1 });
    assert.match(message ?? '', /no history is kept: `history` in the launch configuration/);
    await client.refused('reverseContinue', { threadId: 1 });
    await client.close();
    client = await connect(adapterHost({ inProcess: inProcessTarget }));
    await client.dc.initializeRequest();
    assert.match(
      (await client.refused('launch', { history: -1 })).message ?? '',
      /^history: -1 is not a whole/,
    );
  });
});
