/** The contract guest's long list of questions, answered as real Xen 4.17 answers an ordinary domain. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { domain, plain, watch } from '../support/machines';

const folder = join(__dirname, 'contract');

const DEBUG = 'a Xen built with CONFIG_VERBOSE_DEBUG lets every domain write to its console: so do we';
const EARLY =
  'a look at arguments, or at a device, before the right of the caller, which is refused either way';

/** Lines that differ from real Xen's, ours for theirs, and why. */
const otherwise: Readonly<Record<string, readonly [ours: string, why: string]>> = {
  'console_io 0: null -1 bad -1 zeros -1 ones -1': ['console_io 0: null 0 bad -14 zeros 0 ones 0', DEBUG],
  'console_io: -1 -1': ['console_io: 0 0', DEBUG],
  'domctl 21: versioned -22': ['domctl 21: versioned -1', EARLY],
  'domctl 38: versioned -22': ['domctl 38: versioned -1', EARLY],
  'domctl 39: versioned -22': ['domctl 39: versioned -1', EARLY],
  'domctl 40: versioned -95': ['domctl 40: versioned -1', EARLY],
  'domctl 46: versioned -22': ['domctl 46: versioned -1', EARLY],
  'domctl 48: versioned -22': ['domctl 48: versioned -1', EARLY],
  'domctl 50: versioned -95': ['domctl 50: versioned -1', EARLY],
};

/** The parts of real Xen's answers; lines that begin with # say what they are. */
function answersOfXen(): ReadonlyMap<string, readonly string[]> {
  const parts = new Map<string, string[]>();
  let part: string[] = [];
  for (const line of readFileSync(join(folder, 'real-xen.txt'), 'utf8').split('\n')) {
    if (line.startsWith('#') || line === '') continue;
    if (line.startsWith('== ')) parts.set(line.slice(3), (part = []));
    else part.push(line);
  }
  return parts;
}

async function answersOfOurs(part: string): Promise<readonly string[]> {
  const config = domain(join(folder, 'contract.elf'), { name: 'contract', cmdline: part });
  const { target, console, log } = await watch(config);
  const stop = await target.run({ stopWhenIdle: true });
  const lines = plain(console()).trimEnd().split('\n');
  assert.equal(stop.reason.kind, 'shutdown', [...log.slice(-3), ...lines.slice(-3)].join('\n'));
  assert.equal(lines.pop(), '== done');
  assert.equal(lines.shift(), `== ${part}`);
  return lines;
}

describe('the contract guest', function () {
  this.timeout(120_000);

  for (const [part, expected] of answersOfXen()) {
    it(`is answered as by real Xen: ${part}`, async () => {
      assert.deepEqual(
        await answersOfOurs(part),
        expected.map((line) => otherwise[line]?.[0] ?? line),
      );
    });
  }
});
