/** Real guests run the same however they are cut, and again from a mark and the input log. */
import assert from 'node:assert/strict';
import type { DomainConfig, StopPoint } from '../../src/machine/target';
import { readFileSync } from 'node:fs';
import { isBzImage, readBzImage } from '../../src/guest/bzimage';
import { decompress, sniffCodec } from '../../src/guest/decompress';
import { guestPath, type GuestName } from '../support/guests';
import { domain, runTo, watch, wholeTrace, type Watched } from '../support/machines';

interface Case {
  readonly name: GuestName;
  readonly memory: number;
  /** How far the tests go. */
  readonly to: bigint;
  /** Lengths of the pieces. */
  readonly pieces: readonly bigint[];
  readonly stops: readonly StopPoint[];
}

const cases: readonly Case[] = [
  {
    name: 'grub',
    memory: 32 << 20,
    to: 20_000_000n,
    pieces: [777n, 1_000_003n],
    stops: [
      { kind: 'hypercall', id: 1, name: '*', when: 'entry' },
      { kind: 'hypercall', id: 2, name: '*', when: 'return' },
      { kind: 'event', id: 3, filter: 'event-upcall' },
      { kind: 'event', id: 4, filter: 'guest-fault' },
    ],
  },
  {
    name: 'linux',
    memory: 128 << 20,
    to: 16_000_000n,
    pieces: [9_973n],
    stops: [
      { kind: 'hypercall', id: 1, name: 'memory_op', when: 'entry' },
      { kind: 'hypercall', id: 2, name: 'update_va_mapping', when: 'return' },
      { kind: 'event', id: 3, filter: 'guest-fault' },
      { kind: 'event', id: 4, filter: 'hypercall-failed' },
    ],
  },
];

/** The kernel as it is booted again and again: decompressed once. */
async function unpacked(path: string): Promise<Uint8Array> {
  const bytes = readFileSync(path);
  if (!isBzImage(bytes)) return bytes;
  const { payload } = readBzImage(bytes, path);
  const codec = sniffCodec(payload);
  assert.ok(codec);
  // All but gzip are followed by the length (src/guest/image.ts).
  const stream = codec.name === 'gzip' ? payload : payload.subarray(0, -4);
  return decompress(codec, stream, { what: path, limit: 1 << 28 });
}

const outcome = async ({ target, console }: Watched): Promise<object> => ({
  hash: await target.stateHash(),
  moment: await target.now(),
  console: console(),
  records: (await wholeTrace(target)).slice(-2000),
});

for (const { name, memory, to, pieces, stops } of cases) {
  describe(`${name}: one run`, function () {
    this.timeout(180_000);
    let config: DomainConfig;
    let free: object;
    const make = async (): Promise<Watched> => {
      const run = await watch(config);
      // Somebody types while it boots.
      await runTo(run.target, to / 10n);
      await run.target.consoleInput(1, Buffer.from('ls\r'));
      await runTo(run.target, to / 2n);
      await run.target.consoleInput(1, Buffer.from('echo hello\r'));
      return run;
    };

    before(async function () {
      const path = guestPath(name, this);
      const kernel = { name, bytes: await unpacked(path) };
      config = domain(path, { name, memory, kernel, cmdline: 'console=hvc0' });
      const run = await make();
      await runTo(run.target, to);
      free = await outcome(run);
      await run.target.dispose();
    });

    for (const piece of pieces) {
      it(`in pieces of ${piece} instructions`, async () => {
        const run = await make();
        for (let n = to / 2n; n < to;) {
          n += piece;
          await runTo(run.target, n > to ? to : n);
        }
        assert.deepEqual(await outcome(run), free);
        await run.target.dispose();
      });
    }

    it('with stops all the way', async () => {
      const run = await watch(config);
      await run.target.setStops(stops);
      let held = 0;
      const through = async (retired: bigint): Promise<void> => {
        for (;;) {
          const stop = await runTo(run.target, retired);
          if (stop === undefined || stop.reason.kind === 'step') return;
          if (held++ === 3000) await run.target.setStops([]);
        }
      };
      await through(to / 10n);
      await run.target.consoleInput(1, Buffer.from('ls\r'));
      await through(to / 2n);
      await run.target.consoleInput(1, Buffer.from('echo hello\r'));
      await through(to);
      assert.ok(held > 10, `${held} stops`);
      assert.deepEqual(await outcome(run), free);
      await run.target.dispose();
    });

    it('again from marks, with the logged input', async () => {
      const run = await watch(config);
      await runTo(run.target, to / 20n);
      const before = await run.target.mark();
      await runTo(run.target, to / 10n);
      await run.target.consoleInput(1, Buffer.from('ls\r'));
      await runTo(run.target, to / 3n);
      const between = await run.target.mark();
      await runTo(run.target, to / 2n);
      await run.target.consoleInput(1, Buffer.from('echo hello\r'));
      await runTo(run.target, to);
      assert.deepEqual(await outcome(run), free);
      for (const mark of [before, between]) {
        await run.target.seek(mark);
        await runTo(run.target, to);
        const { console: _console, ...again } = (await outcome(run)) as Record<string, unknown>;
        const { console: _once, ...once } = free as Record<string, unknown>;
        assert.deepEqual(again, once);
      }
      await run.target.dispose();
    });
  });
}

describe('grub: input given while a hypercall is held', function () {
  this.timeout(60_000);
  it('takes effect at the same moment in a replay', async function () {
    const run = await watch(domain(guestPath('grub', this), { name: 'grub', memory: 32 << 20 }));
    const mark = await run.target.mark();
    for (const stop of [
      { kind: 'hypercall', id: 1, name: 'sched_op', when: 'entry' },
      { kind: 'event', id: 1, filter: 'event-upcall' },
      { kind: 'event', id: 1, filter: 'guest-fault' },
      { kind: 'hypercall', id: 1, name: 'mmu_update', when: 'return' },
    ] as const) {
      await run.target.setStops([stop]);
      const at = await run.target.run({ instructions: 40_000_000n, stopWhenIdle: true, skipUpcalls: false });
      if (at.reason.kind === 'step' || at.reason.kind === 'idle') {
        await run.target.seek(mark);
        continue;
      }
      await run.target.consoleInput(1, Buffer.from('ls\r'));
      await run.target.setStops([]);
      const to = at.at.retired + 300_000n;
      await runTo(run.target, to);
      const hash = await run.target.stateHash();
      await run.target.seek(mark);
      await runTo(run.target, to);
      assert.equal(await run.target.stateHash(), hash, JSON.stringify(stop));
      await run.target.seek(mark);
    }
    await run.target.dispose();
  });
});
