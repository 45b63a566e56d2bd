// The journal guest (test/guests/journal) in the adapter as editors start it, and the end of that process at any moment.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DebugProtocol } from '@vscode/debugprotocol';
import { createMessageReader, frameMessage } from '../../src/dap/framing';
import type { Random } from './random';

const root = join(__dirname, '..', '..');
const adapter = join(root, 'dist', 'adapter.js');

// As in journal.c.
const PLACES = 64;
const BLOCK = 4096;
const blocksOf = (step: number): number => 1 + (step % 4);
const placeOf = (step: number, block: number): number => (step * 7 + block * 19) % PLACES;

/** Why the guest cannot be built here, or undefined. */
export function whyNoJournal(): string | undefined {
  const gcc = spawnSync('gcc', ['-dumpmachine'], { encoding: 'utf8' });
  if (gcc.status !== 0) return 'there is no gcc';
  if (!gcc.stdout.startsWith('x86_64')) return `gcc is for ${gcc.stdout.trim()}, not for x86_64`;
  return spawnSync('make', ['--version']).status === 0 ? undefined : 'there is no make';
}

/** @returns the guest's path */
export function buildJournal(folder: string): string {
  const made = spawnSync('make', ['-s', '-C', join(root, 'test/guests/journal'), `OUT=${folder}`], {
    encoding: 'utf8',
  });
  assert.equal(made.status, 0, made.stderr);
  return join(folder, 'journal.elf');
}

/**
 * Debugs the guest on a disk until `killAfter` milliseconds after it said its first word, and kills the adapter
 * without warning.
 * @returns the last step that the guest said was safe
 */
function runUntilKilled(
  guest: string,
  image: string,
  first: number,
  killAfter: (random: Random) => number,
  random: Random,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [adapter], { stdio: ['pipe', 'pipe', 'inherit'] });
    let said = '';
    let timer: NodeJS.Timeout | undefined;
    const reader = createMessageReader(
      (message) => {
        const { type, event, body } = message as DebugProtocol.OutputEvent;
        if (type !== 'event' || event !== 'output') return;
        said += body.output;
        if (/^safe /m.test(said)) timer ??= setTimeout(() => child.kill('SIGKILL'), killAfter(random));
      },
      (problem) => reject(new Error(problem)),
    );
    child.stdout.on('data', (chunk: Buffer) => reader.push(chunk));
    child.stdin.on('error', () => undefined);
    const disks = [`${image},write-through`];
    const launch = { kernel: guest, cmdline: `first=${first}`, memory: '16M', disks };
    const requests: readonly (readonly [string, object])[] = [
      ['initialize', {}],
      ['launch', launch],
      ['configurationDone', {}],
    ];
    requests.forEach(([command, args], i) =>
      child.stdin.write(frameMessage({ seq: i + 1, type: 'request', command, arguments: args })),
    );
    child.on('error', reject);
    child.on('close', (_code, signal) => {
      clearTimeout(timer);
      // The last line may be cut off, number and all.
      const safe = [...said.matchAll(/^safe (\d+)\r?\n/gm)].map((match) => Number(match[1]));
      const last = safe.at(-1);
      if (signal !== 'SIGKILL' || last === undefined)
        reject(new Error(`the adapter ended by itself: ${said}`));
      else resolve(last);
    });
  });
}

/** What the disk must hold at least: the newest safe step of each place. Steps below `from` are as they were. */
function noteSafe(newest: number[], from: number, to: number): void {
  for (let step = from; step <= to; step++)
    for (let block = 0; block < blocksOf(step); block++) newest[placeOf(step, block)] = step;
}

/** Throws where the image lacks something that was safe, or holds what no step wrote. */
function checkImage(image: string, newest: readonly number[]): void {
  const bytes = readFileSync(image);
  assert.equal(bytes.length, PLACES * BLOCK);
  newest.forEach((safe, place) => {
    for (let word = 0; word < BLOCK / 8; word++) {
      const low = bytes.readUInt32LE(place * BLOCK + word * 8);
      const step = bytes.readUInt32LE(place * BLOCK + word * 8 + 4);
      const block = low >>> 16;
      const where = `place ${place}, word ${word}`;
      assert.ok(step >= safe, `${where} has step ${step}; ${safe} was safe`);
      if (step === 0) assert.equal(low, 0, where);
      else
        assert.deepEqual(
          [placeOf(step, block), low & 0xffff, block < blocksOf(step)],
          [place, word, true],
          where,
        );
    }
  });
}

export interface Kills {
  readonly kills: number;
  /** Steps whose safety was promised and found. */
  readonly steps: number;
}

/** Kills the adapter again and again on the same image, which is checked after each. */
export async function killAgainAndAgain(
  guest: string,
  image: string,
  random: Random,
  kills: number,
): Promise<Kills> {
  writeFileSync(image, new Uint8Array(PLACES * BLOCK));
  const newest = new Array<number>(PLACES).fill(0);
  let last = 0;
  for (let kill = 0; kill < kills; kill++) {
    const safe = await runUntilKilled(guest, image, last + 1, (r) => r.below(300), random);
    assert.ok(safe > last);
    noteSafe(newest, last + 1, safe);
    checkImage(image, newest);
    last = safe;
  }
  return { kills, steps: last };
}
