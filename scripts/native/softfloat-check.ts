/**
 * Compares src/cpu/softfloat with the host's own processor, bit for bit
 * (transcendental functions: within one unit in the last place, exact rate printed).
 *
 *   npx tsx scripts/native/softfloat-check.ts [--cases N] [--seed N] [--only NAME,...] [--show N]
 *       compares N cases of every operation (a tenth as many for transcendentals)
 *   npx tsx scripts/native/softfloat-check.ts --record test/cpu/softfloat/vectors.txt [--cases N]
 *       writes the processor's answers for the mocha test, after comparing
 *
 * Needs x86-64 Linux and a C compiler. Exit status 1 on any difference.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Case, differences, generate, onlyCompared } from '../../test/cpu/softfloat/cases';
import { models } from '../../test/cpu/softfloat/models';
import { formatVectors } from '../../test/cpu/softfloat/vectors';

const { values: options } = parseArgs({
  options: {
    cases: { type: 'string', default: '20000' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string' },
    show: { type: 'string', default: '3' },
    record: { type: 'string' },
  },
});

const REQUEST = 48,
  REPLY = 64,
  CHUNK = 1 << 16;

const scratch = mkdtempSync(join(tmpdir(), 'softfloat-'));
process.on('exit', () => {
  rmSync(scratch, { recursive: true, force: true });
});
const program = join(scratch, 'softfloat');
execFileSync(process.env['CC'] ?? 'gcc', [
  '-O1',
  '-mno-red-zone',
  '-o',
  program,
  join(__dirname, 'softfloat.c'),
]);
const numbers = new Map(
  execFileSync(program, ['--list'], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((name, i) => [name, i]),
);

const put = (buffer: Buffer, at: number, value: bigint): void => {
  buffer.writeBigUInt64LE(BigInt.asUintN(64, value), at);
  buffer.writeBigUInt64LE(BigInt.asUintN(64, value >> 64n), at + 8);
};
const take = (buffer: Buffer, at: number): bigint =>
  buffer.readBigUInt64LE(at) | (buffer.readBigUInt64LE(at + 8) << 64n);

/** Let the processor answer the cases of one operation, in place. */
function askProcessor(op: number, cases: Case[]): void {
  const input = Buffer.alloc(cases.length * REQUEST);
  cases.forEach((c, i) => {
    input.writeUInt32LE(op, i * REQUEST);
    input.writeUInt32LE(c.control, i * REQUEST + 4);
    put(input, i * REQUEST + 8, c.a);
    put(input, i * REQUEST + 24, c.b);
  });
  const { stdout, status } = spawnSync(program, { input, maxBuffer: cases.length * REPLY + 1 });
  if (status !== 0 || stdout.length !== cases.length * REPLY)
    throw new Error(`native helper failed (${String(status)})`);
  cases.forEach((c, i) => {
    const at = i * REPLY;
    c.answer = {
      r0: take(stdout, at),
      r1: take(stdout, at + 16),
      mem: take(stdout, at + 32),
      status: stdout.readUInt32LE(at + 48),
      extra: stdout.readUInt32LE(at + 52),
    };
  });
}

const only = options.only?.split(',');
const perOperation = Number(options.cases);
const recorded: { name: string; cases: Case[] }[] = [];
let failures = 0;
let total = 0;
for (const [name, model] of models) {
  const op = numbers.get(name);
  if (op === undefined) throw new Error(`native helper has no ${name}`);
  if (only !== undefined && !only.includes(name)) continue;
  const count = model.loose && options.record === undefined ? Math.ceil(perOperation / 10) : perOperation;
  let wrong = 0,
    loose = 0,
    exact = 0;
  for (let done = 0; done < count; done += CHUNK) {
    const cases = generate(name, model, Number(options.seed) + done, Math.min(CHUNK, count - done));
    askProcessor(op, cases);
    for (const c of cases) {
      const verdict = differences(model, c);
      if (verdict.problem === undefined) {
        if (verdict.exact) exact++;
        else loose++;
      } else if (wrong++ < Number(options.show)) {
        console.log(
          `${name} a=${c.a.toString(16)} b=${c.b.toString(16)} control=${c.control.toString(16)}: ${verdict.problem}`,
        );
      }
    }
    if (options.record !== undefined)
      recorded.push({ name, cases: cases.map((c) => onlyCompared(model, c)) });
  }
  total += count;
  failures += wrong;
  if (wrong > 0) console.log(`${name}: ${String(wrong)} of ${String(count)} WRONG`);
  else if (model.loose)
    console.log(
      `${name}: ${String(count)} within 1 ulp, ${((100 * exact) / (exact + loose)).toFixed(3)} % exact`,
    );
}
console.log(`${String(total)} cases, ${String(failures)} differences`);
if (options.record !== undefined) writeFileSync(options.record, formatVectors(recorded));
process.exitCode = failures > 0 ? 1 : 0;
