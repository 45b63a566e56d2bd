/**
 * Images of the sample with bytes changed, through the loader and the builder and some way into their run: each is
 * refused by name, or boots and does what it does.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { inProcessTarget } from '../../src/host/machine';
import { SAMPLE, domain } from '../support/machines';
import { createRandom } from '../support/random';

const sample = readFileSync(SAMPLE);
/** Where headers, notes and program headers are: what the loader believes. */
const HEAD = 0x400;
const REFUSALS = new Set(['ImageError', 'BuildError']);

interface Tally {
  refused: number;
  ran: number;
  readonly ends: Map<string, number>;
}

async function boot(bytes: Uint8Array, what: string, tally: Tally): Promise<void> {
  let target;
  try {
    target = await inProcessTarget({
      domains: [{ ...domain(SAMPLE), memory: 4 << 20, kernel: { name: 'mutant.elf', bytes } }],
    });
  } catch (error) {
    assert.ok(error instanceof Error, what);
    assert.ok(REFUSALS.has(error.name), `${what}: ${error.stack ?? error.message}`);
    assert.match(error.message, /mutant\.elf|the domain has/, what);
    tally.refused++;
    return;
  }
  const log: string[] = [];
  target.onLog((line) => log.push(line));
  const stop = await target.run({ instructions: 100_000n, skipUpcalls: false, stopWhenIdle: true });
  const defect = log.find((line) => /defect of the hypervisor/.test(line));
  assert.equal(defect, undefined, `${what}: ${defect ?? ''}`);
  tally.ran++;
  tally.ends.set(stop.reason.kind, (tally.ends.get(stop.reason.kind) ?? 0) + 1);
  await target.dispose();
}

describe('mutated images', function () {
  this.timeout(120_000);

  const places: readonly [string, number, number, number][] = [
    ['in their headers and notes', HEAD, 150, 4],
    ['anywhere', sample.length, 100, 64],
  ];
  for (const [where, size, count, most] of places) {
    it(`changed ${where}: refused by name, or run`, async () => {
      const random = createRandom(where.length);
      const tally: Tally = { refused: 0, ran: 0, ends: new Map() };
      for (let i = 0; i < count; i++) {
        const bytes = Uint8Array.from(sample);
        const changes = 1 + random.below(most);
        for (let n = 0; n < changes; n++)
          bytes[random.below(size)] = random.below(4) === 0 ? 0xff : random.below(256);
        await boot(bytes, `mutant ${i} ${where}`, tally);
      }
      assert.ok(tally.ran > 10, JSON.stringify([...tally.ends]));
      if (size === HEAD) assert.ok(tally.refused > 10, `${tally.refused} refused`);
    });
  }

  it('cut off: refused by name', async () => {
    const random = createRandom(7);
    const tally: Tally = { refused: 0, ran: 0, ends: new Map() };
    for (let i = 0; i < 40; i++) {
      const length = i < 10 ? i * 16 : random.below(sample.length);
      await boot(sample.subarray(0, length), `cut to ${length}`, tally);
    }
    assert.ok(tally.refused > 30);
  });
});
