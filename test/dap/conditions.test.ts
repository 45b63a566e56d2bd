import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { countingInC } from '../../scripts/bench/guests';
import { adapterHost } from '../../src/host/adapter';
import { inProcessTarget } from '../../src/host/machine';
import type { RunUntil } from '../../src/machine/target';
import type { Client } from '../support/dap-client';
import { connect } from '../support/dap-client';
import { withLine } from '../support/lines';
import { skipBecause } from '../support/skip';

// Conditions that name the guest's C variables: the machine evaluates them by itself.

const tour = path.join(__dirname, '..', '..', 'media', 'samples', 'c-tour');

describe('dap: conditions over C variables', function () {
  this.timeout(120_000);
  let client: Client;
  let folder: string;
  /** How often the machine has been told to run. */
  let runs = 0;
  const host = (): ReturnType<typeof adapterHost> => {
    const own = adapterHost({ inProcess: inProcessTarget });
    return {
      ...own,
      createTarget: async (config) => {
        const target = await own.createTarget(config);
        const run = target.run.bind(target);
        return Object.assign(target, {
          run: (until: RunUntil) => {
            runs++;
            return run(until);
          },
        });
      },
    };
  };
  beforeEach(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'conditions-'));
    client = await connect(host());
  });
  afterEach(async () => {
    await client.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const at = async (
    file: string,
    ...breakpoints: readonly { readonly text: string; readonly condition?: string; readonly hitCondition?: string; readonly logMessage?: string }[] // prettier-ignore
  ): Promise<void> => {
    const { body } = await client.dc.setBreakpointsRequest({
      source: { path: file },
      breakpoints: breakpoints.map(({ text, ...one }) => ({ ...one, line: withLine(file, text) })),
    });
    for (const { verified, message } of body.breakpoints) assert.ok(verified, message);
  };
  const value = async (expression: string): Promise<string> => {
    const stackFrames = await client.stack();
    const frameId = stackFrames[0]?.id ?? 0;
    return (await client.dc.evaluateRequest({ expression, frameId })).body.result;
  };

  it('false 100,000 times: the machine is told to run once', async function () {
    const guest = countingInC(folder) ?? skipBecause(this, 'there is no gcc to make the guest');
    await client.launch({ kernel: guest.kernel, memory: '32M', stopOnEntry: true });
    await client.stopped();
    await at(guest.source, {
      text: 'rounds++;',
      condition: 'i == 100000 && p->len > 3 && p->turns == 2 * i',
    });
    runs = 0;
    await client.go();
    assert.equal(await value('i'), '100000 (0x186a0)');
    assert.equal(runs, 1);
    // A condition that is false for its second half, and counted where it is true.
    await at(guest.source, { text: 'rounds++;', condition: 'rounds % 2 == 0 && p->name == "queue"', hitCondition: '50' }); // prettier-ignore
    await client.go();
    assert.equal(await value('rounds'), '100100 (0x18704)');
    assert.equal(runs, 2);
    assert.doesNotMatch(client.output(), /not evaluated in the machine/);
  });

  it('what it cannot be given is asked of the debugger at a stop, and the console says so once', async () => {
    const shapes = path.join(tour, 'shapes.c');
    await client.launch({ kernel: path.join(tour, 'c-tour.elf'), stopOnEntry: true });
    await client.stopped();
    const text = 'long area = shape->area(shape);';
    // The types of the two sides are known only when the way is taken.
    const condition = 'sum > 100 ? sum == 180 : 0.0';
    await at(shapes, { text, condition });
    await at(shapes, { text, condition }, { text: 'shape->next = old;', condition: '0' });
    runs = 0;
    await client.go();
    assert.equal(await value('sum'), '180 (0xb4)');
    assert.ok(runs > 1, `${runs} runs`);
    assert.equal(client.output().match(/not evaluated in the machine/g)?.length, 1, client.output());
  });

  it('in an inlined function, over a bit-field, an enumeration and a text; log points name locals', async () => {
    const shapes = path.join(tour, 'shapes.c');
    await client.launch({ kernel: path.join(tour, 'c-tour.elf'), stopOnEntry: true });
    await client.stopped();
    await at(
      shapes,
      { text: 'shape->next = old;', condition: '!old && shape->colour == GREEN && shape->tilt == -3 && shape->name == "table"' }, // prettier-ignore
    );
    runs = 0;
    await client.go();
    assert.equal(runs, 1);
    assert.match(await value('shape'), /<table>$/);
    await at(
      shapes,
      { text: 'long area = shape->area(shape);', logMessage: 'sum {sum} at {shape->name}, {drawn} drawn' },
      { text: 'sum += area;', condition: 'sum == 180' },
    );
    await client.go();
    assert.match(client.output(), /^sum 0 at 0x[0-9a-f]+ "door", 2 drawn$/m);
    assert.doesNotMatch(client.output(), /not evaluated in the machine/);
  });

  it('where memory is not there, it stops and says why', async () => {
    const shapes = path.join(tour, 'shapes.c');
    await client.launch({ kernel: path.join(tour, 'c-tour.elf'), stopOnEntry: true });
    await client.stopped();
    await at(shapes, { text: 'if (!list)', condition: 'list->visible == 7' });
    await client.go();
    assert.equal(await value('list'), 'NULL');
    assert.match(client.output(), /condition of breakpoint 1: 0x[0-9a-f]+ is not mapped/);
  });

  it('a name that nothing has at the place is told when the condition is set', async () => {
    const shapes = path.join(tour, 'shapes.c');
    await client.launch({ kernel: path.join(tour, 'c-tour.elf'), stopOnEntry: true });
    await client.stopped();
    const set = async (...conditions: string[]): Promise<string[]> => {
      const line = withLine(shapes, 'long area = shape->area(shape);');
      const breakpoints = conditions.map((condition) => ({ line, condition }));
      const { body } = await client.dc.setBreakpointsRequest({ source: { path: shapes }, breakpoints });
      return body.breakpoints.map(({ verified, message = '' }) => `${verified} ${message}`);
    };
    const told = (condition: string, names: string): string =>
      `true condition '${condition}': no '${names}' is known at this place; where it cannot be evaluated, it stops`;
    assert.deepEqual(
      await set(
        'sum == nowhere',
        'shap->colour == GREEN && $nix',
        'sum > 100 ? $xmm0 : 0.0',
        'drawn == 2 && shape',
      ),
      [
        told('sum == nowhere', 'nowhere'),
        told('shap->colour == GREEN && $nix', "shap', '$nix"),
        'true ',
        'true ',
      ],
    );
    await set('sum == nowhere');
    assert.equal((await client.go()).reason, 'breakpoint');
  });
});
