import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { keepKernel, keptKernel, keptKernelsFolder, placeOf } from '../../src/host/kept-kernels';
import { ascii } from '../support/elf-builder';

describe('kernels kept unpacked', () => {
  let folder = '';
  beforeEach(() => {
    folder = join(mkdtempSync(join(tmpdir(), 'kept-')), 'below', 'kernels');
  });
  afterEach(() => {
    rmSync(dirname(dirname(folder)), { recursive: true, force: true });
  });
  const packed = (n: number): Uint8Array => ascii(`what kernel ${n} came in`);
  const content = Uint8Array.from({ length: 10_000 }, (_, i) => i % 251);
  const place = (n = 1): string => placeOf(packed(n), folder);

  it('are found again by what they came in, in memory that threads share', async () => {
    assert.equal(await keptKernel(place(), content.length), undefined);
    keepKernel(place(), content);
    const kept = await keptKernel(place(), content.length);
    assert.ok(kept?.buffer instanceof SharedArrayBuffer);
    assert.deepEqual(Uint8Array.from(kept), content);
    assert.equal(await keptKernel(place(2), content.length), undefined);
    assert.deepEqual(readdirSync(folder), [`${createHash('sha256').update(packed(1)).digest('hex')}.elf`]);
    assert.equal(statSync(place()).mode & 0o077, 0, 'nobody else reads it');
  });

  const damage: Readonly<Record<string, (path: string) => void>> = {
    'cut short': (path) => {
      truncateSync(path, 5000);
    },
    empty: (path) => {
      truncateSync(path, 0);
    },
    'changed in a byte': (path) => {
      const bytes = readFileSync(path);
      bytes[1234] = 0xff;
      writeFileSync(path, bytes);
    },
    'with another hash': (path) => {
      const bytes = readFileSync(path);
      bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
      writeFileSync(path, bytes);
    },
    longer: (path) => {
      writeFileSync(path, 'more', { flag: 'a' });
    },
  };
  for (const [how, spoil] of Object.entries(damage)) {
    it(`are not believed when they are ${how}, and made anew`, async () => {
      keepKernel(place(), content);
      spoil(place());
      assert.equal(await keptKernel(place(), content.length), undefined);
      assert.ok(!existsSync(place()), 'it is gone');
      keepKernel(place(), content);
      assert.deepEqual(Uint8Array.from((await keptKernel(place(), content.length)) ?? []), content);
    });
  }

  it('are at most four: the one that was not used for longest goes', async () => {
    for (const n of [1, 2, 3, 4]) {
      keepKernel(place(n), content);
      utimesSync(place(n), 1000 + n, 1000 + n);
    }
    assert.ok(await keptKernel(place(1), content.length), 'used again');
    keepKernel(place(5), content);
    assert.deepEqual(
      [1, 2, 3, 4, 5].map((n) => existsSync(place(n))),
      [true, false, true, true, true],
    );
  });

  it('leave nothing of those who were ended while they wrote, nor touch what is being written', () => {
    mkdirSync(folder, { recursive: true });
    const [old, young] = [join(folder, 'a.elf.1-0.part'), join(folder, 'b.elf.2-0.part')];
    writeFileSync(old, 'x');
    utimesSync(old, 1000, 1000);
    writeFileSync(young, 'x');
    keepKernel(place(), content);
    assert.deepEqual([existsSync(old), existsSync(young)], [false, true]);
  });

  it('may be impossible: a home that cannot be written, a file where the folder should be', async function () {
    const parent = dirname(dirname(folder));
    writeFileSync(join(parent, 'below'), 'a file');
    keepKernel(place(), content);
    assert.equal(await keptKernel(place(), content.length), undefined);
    rmSync(join(parent, 'below'));
    if (process.getuid?.() === 0) return;
    chmodSync(parent, 0o500);
    keepKernel(place(), content);
    assert.equal(await keptKernel(place(), content.length), undefined);
    chmodSync(parent, 0o700);
  });

  it('lie where the platform has its caches', () => {
    const home = (): string => '/home/me';
    const on = (platform: string, env: Record<string, string>): string =>
      keptKernelsFolder(env, platform, home);
    assert.equal(on('linux', {}), '/home/me/.cache/hyperstep/kernels');
    assert.equal(on('linux', { XDG_CACHE_HOME: '/var/c' }), '/var/c/hyperstep/kernels');
    assert.equal(on('linux', { XDG_CACHE_HOME: 'relative' }), '/home/me/.cache/hyperstep/kernels');
    assert.equal(on('darwin', {}), '/home/me/Library/Caches/hyperstep/kernels');
    assert.equal(on('win32', { LOCALAPPDATA: '/local' }), '/local/hyperstep/kernels');
  });
});
