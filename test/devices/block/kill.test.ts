/**
 * What a guest was told is on its disk is in the image, whenever the process ends: a child writes and flushes as
 * the back end does, says what it was told, and is killed in the midst of it.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SECTORS = 64;
const child = (path: string): string => `
  const { writeSync } = require('node:fs');
  const { openDiskFile } = require(${JSON.stringify(join(__dirname, '../../../src/host/disk-file.ts'))});
  const { overlayStore } = require(${JSON.stringify(join(__dirname, '../../../src/devices/block/overlay.ts'))});
  const { rawStore } = require(${JSON.stringify(join(__dirname, '../../../src/devices/block/store.ts'))});
  const store = overlayStore(rawStore(openDiskFile(${JSON.stringify(path)}, true)), { writeThrough: true });
  const sector = new Uint8Array(512);
  for (let n = 1; ; n++) {
    new DataView(sector.buffer).setUint32(0, n, true);
    store.write(n % ${SECTORS}, sector);
    store.flush();
    writeSync(1, n + '\\n');
  }`;

describe('devices: a disk that is written through', function () {
  this.timeout(120_000);
  let folder = '';
  before(() => (folder = mkdtempSync(join(tmpdir(), 'kill-'))));
  after(() => rmSync(folder, { recursive: true }));

  it('has every acknowledged flush after its process was killed', async () => {
    for (const after of [1, 20, 57, 131]) {
      const path = join(folder, `disk-${after}`);
      writeFileSync(path, new Uint8Array(SECTORS * 512));
      const acknowledged = await new Promise<number>((resolve, reject) => {
        const process_ = spawn(process.execPath, ['--require', 'tsx/cjs', '-e', child(path)], {
          cwd: join(__dirname, '../../..'),
          stdio: ['ignore', 'pipe', 'pipe'],
        });
        let out = '';
        let problems = '';
        process_.stderr.on('data', (chunk: Buffer) => (problems += chunk.toString()));
        process_.stdout.on('data', (chunk: Buffer) => {
          out += chunk.toString();
          if (out.split('\n').length > after) process_.kill('SIGKILL');
        });
        process_.on('close', (_code, signal) => {
          if (signal !== 'SIGKILL') reject(new Error(`the child ended by itself: ${problems}`));
          else resolve(Number(out.split('\n').at(-2)));
        });
      });
      assert.ok(acknowledged >= after);
      const bytes = readFileSync(path);
      for (let n = Math.max(1, acknowledged - SECTORS + 1); n <= acknowledged; n++) {
        const there = bytes.readUInt32LE((n % SECTORS) * 512);
        // Its successor in the same sector may have been written, and not acknowledged, before the kill.
        assert.ok(there === n || there === n + SECTORS, `sector of ${n}, of ${acknowledged}, has ${there}`);
      }
    }
  });
});
