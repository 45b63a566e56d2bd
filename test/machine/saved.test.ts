/** A machine in a file: what goes on from there is the machine that was saved, to the bit; what is no such file is refused. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDiskFile } from '../../src/host/disk-file';
import { inProcessTarget, machineHost } from '../../src/host/machine';
import { savedCompression } from '../../src/host/saved-file';
import { createEmbeddedTarget } from '../../src/machine/embedded';
import { crc32 } from '../../src/guest/decompress/crc';
import { MAGIC, piece_header, preamble } from '../../src/machine/saved/container';
import { SECTIONS } from '../../src/machine/saved/contents';
import { inspectSaved } from '../../src/machine/saved/load';
import type { DiskConfig, DomainConfig, Target } from '../../src/machine/target';
import {
  HOSTILE,
  SAMPLE,
  domain,
  runTo,
  watch,
  watched,
  wholeTrace,
  type Watched,
} from '../support/machines';
import { seeded } from '../support/random';

const restored = async (path: string): Promise<Watched> =>
  watched(await inProcessTarget({ domains: [], saved: { path } }));

interface Outcome {
  readonly hash: string;
  readonly at: object;
  readonly trace: readonly object[];
  readonly summary: object;
}
const outcome = async (target: Target): Promise<Outcome> => ({
  hash: await target.stateHash(),
  at: await target.now(),
  trace: await wholeTrace(target),
  summary: await target.traceSummary(),
});

describe('a saved machine', function () {
  this.timeout(60_000);
  let folder = '';
  let file = '';
  /** The sample's whole run, its state at HALF, and a file from there. */
  const HALF = 60_000n;
  let whole: Outcome;
  let half: Outcome;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'saved-'));
    file = join(folder, 'half.hys');
    const { target } = await watch(domain(SAMPLE));
    await runTo(target, HALF);
    half = await outcome(target);
    const report = await target.save(file);
    assert.equal(report.bytes, readFileSync(file).length);
    await target.run({});
    whole = await outcome(target);
    assert.notEqual(half.hash, whole.hash);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('is the same where it was saved, and to the end', async () => {
    const { target } = await restored(file);
    assert.deepEqual(await outcome(target), half);
    assert.equal((await target.run({})).reason.kind, 'shutdown');
    assert.deepEqual(await outcome(target), whole);
    // Back to where it was saved: that is its beginning.
    await target.restart();
    assert.deepEqual(await outcome(target), half);
    await target.dispose();
  });

  it('is the same in another process, when the kernel is gone', () => {
    const script = `
      const { inProcessTarget } = require('./src/host/machine.ts');
      (async () => {
        const target = await inProcessTarget({ domains: [], saved: { path: ${JSON.stringify(file)} } });
        await target.run({});
        console.log(await target.stateHash(), (await target.now()).retired);
      })();`;
    const { stdout, stderr } = spawnSync(process.execPath, ['--require', 'tsx/cjs', '-e', script], {
      encoding: 'utf8',
    });
    assert.equal(stdout.trim(), `${whole.hash} ${(whole.at as { retired: bigint }).retired}n`, stderr);
  });

  it('can be saved again at once, to the same bytes', async () => {
    const { target } = await restored(file);
    const again = join(folder, 'again.hys');
    await target.save(again);
    assert.ok(readFileSync(again).equals(readFileSync(file)));
    await target.dispose();
  });

  it('has marks like any other', async () => {
    const { target } = await restored(file);
    const mark = await target.mark();
    await target.run({});
    assert.deepEqual(await outcome(target), whole);
    await target.seek(mark);
    assert.deepEqual(await outcome(target), half);
    await target.run({});
    assert.deepEqual(await outcome(target), whole);
    await target.dispose();
  });

  it('stands in the midst of a hypercall, a fault or an upcall, and goes on from it', async () => {
    const { target } = await watch(domain(SAMPLE));
    const held = join(folder, 'held.hys');
    const kinds = new Set<string>();
    await target.setStops([
      { kind: 'hypercall', id: 1, name: 'mmu_update', when: 'entry' },
      { kind: 'hypercall', id: 2, name: 'event_channel_op', when: 'return' },
      { kind: 'event', id: 3, filter: 'guest-fault' },
      { kind: 'event', id: 4, filter: 'event-upcall' },
    ]);
    for (;;) {
      const stop = await target.run({});
      if (stop.reason.kind === 'shutdown') break;
      const kind = stop.reason.kind === 'event' ? String(stop.reason.ids) : `${stop.reason.kind}${'when' in stop.reason ? stop.reason.when : ''}`; // prettier-ignore
      if (kinds.has(kind)) continue;
      kinds.add(kind);
      await target.save(held);
      const other = await restored(held);
      assert.deepEqual(
        await other.target.currentHypercall(stop.vcpu),
        await target.currentHypercall(stop.vcpu),
      );
      await other.target.run({});
      assert.deepEqual(await outcome(other.target), whole, kind);
      await other.target.dispose();
    }
    assert.equal(kinds.size, 4, [...kinds].join());
  });

  it('keeps two domains, of which one has ended', async () => {
    const domains: DomainConfig[] = [
      domain(HOSTILE, { name: 'hostile', cmdline: 'seed=5 calls=40', memory: 8 << 20 }),
      domain(SAMPLE, { vcpus: 2 }),
    ];
    const { target } = await watch(...domains);
    const ended = await target.run({ stopWhenIdle: true });
    const two = join(folder, 'two.hys');
    await target.save(two);
    const other = await restored(two);
    assert.equal(await other.target.stateHash(), await target.stateHash());
    assert.deepEqual(await other.target.domains(), await target.domains());
    assert.ok(
      (await target.domains()).some((d) => d.shutdown !== undefined),
      JSON.stringify(ended.reason.kind),
    );
    for (const t of [target, other.target]) await t.run({ stopWhenIdle: true, instructions: 200_000n });
    assert.deepEqual(await outcome(other.target), await outcome(target));
  });

  it('has a trace that begins empty when it was saved without', async () => {
    const { target } = await restored(file);
    const bare = join(folder, 'bare.hys');
    const without = await target.save(bare, { trace: false });
    assert.ok(without.bytes < readFileSync(file).length);
    const other = await restored(bare);
    assert.equal((await other.target.traceSummary()).total, 0);
    await other.target.run({});
    assert.equal(await other.target.stateHash(), whole.hash);
  });

  it('is saved by one that stands still', async () => {
    const { target } = await watch(domain(HOSTILE, { cmdline: 'seed=5 calls=100000', memory: 8 << 20 }));
    const running = target.run({});
    await assert.rejects(target.save(join(folder, 'running.hys')), /pause the machine before saving it/);
    target.pause();
    await running;
    const saving = target.save(join(folder, 'still.hys'));
    await assert.rejects(target.run({}), /being saved/);
    await assert.rejects(target.writeMemory({ kind: 'machine' }, 0n, new Uint8Array(1)), /being saved/);
    await assert.rejects(target.save(join(folder, 'other.hys')), /being saved/);
    await saving;
    assert.ok(!existsSync(join(folder, 'running.hys')) && !existsSync(join(folder, 'other.hys')));
  });

  it('tells how far it is, and stops when that is wanted, leaving nothing', async () => {
    const { target } = await watch(domain(SAMPLE, { memory: 64 << 20 }));
    // Memory that is worth some steps.
    const noise = seeded(3);
    const [{ mfn }] = [{ mfn: 0x800 }];
    for (let i = 0; i < 2000; i++)
      await target.writeMemory(
        { kind: 'machine' },
        BigInt(mfn + i) * 4096n,
        Uint8Array.from({ length: 4096 }, () => noise.below(256)),
      );
    const steps: number[] = [];
    target.onSaving((done) => steps.push(done));
    const path = join(folder, 'slow.hys');
    await target.save(path);
    assert.ok(steps.length > 5 && steps.every((s, i) => s >= (steps[i - 1] ?? 0) && s <= 1), steps.join());
    rmSync(path);
    const before = readdirSync(folder);
    target.onSaving(() => target.cancelSave());
    await assert.rejects(target.save(path), /saving was cancelled/);
    assert.deepEqual(readdirSync(folder), before);
    await target.run({ stopWhenIdle: true, instructions: 1000n });
  });

  it('is not half there when its process is killed', async () => {
    const script = `
      const { inProcessTarget } = require('./src/host/machine.ts');
      (async () => {
        const path = ${JSON.stringify(join(folder, 'killed.hys'))};
        const target = await inProcessTarget({ domains: [], saved: { path: ${JSON.stringify(file)} } });
        for (let i = 0; ; i++) { await target.save(path); console.log(i); }
      })();`;
    for (const after of [0, 1, 5]) {
      const child = spawn(process.execPath, ['--require', 'tsx/cjs', '-e', script], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      await new Promise<void>((resolve) => {
        let lines = 0;
        child.stdout.on('data', (chunk: Buffer) => {
          lines += chunk.toString().split('\n').length - 1;
          if (lines > after) child.kill('SIGKILL');
        });
        child.on('close', () => resolve());
      });
      const { target } = await restored(join(folder, 'killed.hys'));
      assert.equal(await target.stateHash(), half.hash);
      await target.dispose();
    }
  });

  describe('with disks', () => {
    const disks = (image: string): DiskConfig[] => [
      { vdev: 'xvda', image: { name: image, path: image }, format: 'raw', access: 'overlay', cdrom: false },
      {
        vdev: 'xvdb',
        image: { name: 'in memory', bytes: new Uint8Array(8192).fill(3) },
        format: 'raw',
        access: 'read-only',
        cdrom: false,
      },
      {
        vdev: 'hdc',
        image: { name: '', bytes: new Uint8Array(0) },
        format: 'raw',
        access: 'read-only',
        cdrom: true,
      },
    ];
    it('goes on with the same images, and refuses others', async () => {
      const image = join(folder, 'disk.raw');
      writeFileSync(image, new Uint8Array(65536).fill(9));
      const { target } = await watch(domain(SAMPLE, { disks: disks(image) }));
      await runTo(target, HALF);
      const path = join(folder, 'disks.hys');
      await target.save(path);
      await target.run({});
      const other = await restored(path);
      await other.target.run({});
      assert.equal(await other.target.stateHash(), await target.stateHash());
      await target.dispose();
      await other.target.dispose();

      // The same contents, written anew, are the same image.
      writeFileSync(image, new Uint8Array(65536).fill(9));
      await (await restored(path)).target.dispose();
      writeFileSync(image, new Uint8Array(65536).fill(8));
      await assert.rejects(
        restored(path),
        /^ImageError: disk xvda, .*disk\.raw: its contents are not what they were/,
      );
      appendFileSync(image, 'x');
      await assert.rejects(restored(path), /disk xvda, .*disk\.raw: it has 65537 bytes, and had 65536/);
      rmSync(image);
      await assert.rejects(restored(path), /disk xvda, .*disk\.raw: there is no such file/);
    });
  });

  describe('that is none', () => {
    const bad = (change: (bytes: Buffer) => Uint8Array): string => {
      const path = join(folder, 'bad.hys');
      writeFileSync(path, change(Buffer.from(readFileSync(file))));
      return path;
    };
    const seal = (bytes: Buffer, from: number, to: number): void => {
      bytes.writeUInt32LE(crc32(bytes.subarray(from, to)), to);
    };
    const START = MAGIC.length + preamble.size;
    const cases: readonly (readonly [string, (bytes: Buffer) => Uint8Array, RegExp])[] = [
      ['another file', () => readFileSync(SAMPLE), /bad\.hys: its beginning: this is no saved machine/],
      ['an empty file', () => new Uint8Array(0), /bad\.hys: its beginning: this is no saved machine/],
      ['one that was sent as text', (b) => Buffer.from(b.toString('latin1').replaceAll('\r\n', '\n'), 'latin1'), /this is no saved machine/],
      ['one of a newer format', (b) => (b.writeUInt32LE(2, MAGIC.length), seal(b, 0, START - 4), b), /it is of format 2, made by a newer Hyperstep; this one reads 1/],
      [
        'one with a newer part',
        (b) => (b.writeUInt16LE(9, START + piece_header.offset.version), seal(b, START, START + piece_header.offset.header_crc), b),
        /section 'about', piece 0 at byte 20: it is of version 9, made by a newer Hyperstep; this one reads version 1/,
      ],
      ['one with something behind it', (b) => Buffer.concat([b, Buffer.from('x')]), /its end: the file shall have \d+ bytes, and has \d+/],
    ]; // prettier-ignore
    for (const [name, change, message] of cases) {
      it(`is refused: ${name}`, async () => {
        await assert.rejects(restored(bad(change)), { name: 'SavedFileError', message });
      });
    }
    it('is refused: no file, a folder', async () => {
      await assert.rejects(restored(join(folder, 'nothing.hys')), /nothing\.hys: there is no such file/);
      await assert.rejects(restored(folder), /not a plain file/);
    });

    it('is refused wherever it is cut, with the place', async () => {
      const length = readFileSync(file).length;
      const cuts = [1, 7, 19, 20, 30, 56, 100, ...Array.from({ length: 25 }, (_, i) => Math.floor((i * length) / 25)), length - 1]; // prettier-ignore
      for (const at of cuts.filter((n) => n < length))
        await assert.rejects(
          restored(bad((b) => b.subarray(0, at))),
          { name: 'SavedFileError' },
          `cut at ${at}`,
        );
    });

    it('is refused with any bit of it changed', () => {
      const bytes = readFileSync(file);
      const rng = seeded(11);
      const check = (at: number): void => {
        const bad = Uint8Array.from(bytes);
        bad[at] = (bad[at] ?? 0) ^ (1 << rng.below(8));
        const source = { size: bad.length, read: (from: number, into: Uint8Array) => into.set(bad.subarray(from, from + into.length)) }; // prettier-ignore
        assert.throws(
          () => inspectSaved(source, 'x', savedCompression),
          { name: 'SavedFileError' },
          `byte ${at}`,
        );
      };
      const source = openDiskFile(file, false);
      const { sections } = inspectSaved(source, file, savedCompression);
      source.close();
      assert.deepEqual(
        sections.map((s) => s.name),
        [...Object.keys(SECTIONS), 'frames'],
      );
      // Each byte of the preamble, the first header and the end; a sample of all others.
      for (let at = 0; at < START + piece_header.size; at++) check(at);
      for (let at = bytes.length - piece_header.size - 16; at < bytes.length; at++) check(at);
      for (let i = 0; i < 300; i++) check(rng.below(bytes.length));
    });
  });

  it('is not written where it cannot be', async () => {
    const { target } = await restored(file);
    await assert.rejects(
      target.save(join(folder, 'no', 'such')),
      /cannot write '.*such': there is no such folder/,
    );
    await assert.rejects(target.save(folder), /it is not a plain file/);
    const { saving: _saving, ...bare } = machineHost({ paced: false });
    const other = await createEmbeddedTarget({ domains: [domain(SAMPLE)] }, bare);
    await assert.rejects(other.save(file), /there are no files here/);
  });
});
