/**
 * Compares our processor with the host's, one random instruction at a time, over every declared encoding.
 *
 *   npx tsx scripts/differential/run.ts [options]
 *     --tier evaluate|interpret   what runs our side (default: both)
 *     --count N                   tests a form (default 20)
 *     --seed N                    (default 1)
 *     --only SET                  gp, sse, mmx or x87; comma separated
 *     --mnemonic NAME,…           these only (a trailing * is a wild card)
 *     --show N                    mismatches printed a form (default 1)
 *     --record FILE               writes the processor's answers (--count of them a form) as vectors for npm test,
 *                                 if both tiers agree with them
 *
 * Needs x86-64 Linux and a C compiler. Exit status 1 on any difference. The reference is an AMD processor: on
 * another vendor's, the rows of docs/decisions/processor-model.md show as differences.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { decode, newDecoded } from '../../src/cpu/decode';
import type { Form } from '../../src/cpu/encoding';
import { FORMS } from '../../src/cpu/instructions/index';
import { differences } from './compare';
import { type StateSource, generate } from './generate';
import { hostOracle } from './oracle';
import { FX_SIZE, type Test } from './protocol';
import { Random } from './random';
import { report } from './report';
import { skipReason } from './skip';
import { randomState } from './state';
import { TIERS, type TierName, makeTier } from './tier';
import { FLAVOURS } from './values';
import { type Vector, encodeVectors } from './vectors';

const { values: options } = parseArgs({
  options: {
    tier: { type: 'string', multiple: true },
    count: { type: 'string', default: '20' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string' },
    mnemonic: { type: 'string' },
    show: { type: 'string', default: '1' },
    record: { type: 'string' },
  },
});
const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const UNITS: Readonly<Record<string, string>> = { fpu: 'x87', sse: 'sse', mmx: 'mmx' };
const unitOf = (f: Form): string => UNITS[f.instruction.unit ?? ''] ?? 'gp';

function chosen(): Form[] {
  const units = options.only?.split(',');
  const names = options.mnemonic?.split(',').map((n) => new RegExp(`^${n.replaceAll('*', '.*')}$`));
  return FORMS.filter(
    (f) => (units?.includes(unitOf(f)) ?? true) && (names?.some((n) => n.test(f.mnemonic)) ?? true),
  );
}

/** States shared by the vectors of a file, so that a vector is little more than its instruction. */
const BASES_A_FLAVOUR = 32;
function baseStates(r: Random): { all: Test[]; pick: StateSource; of: (t: Test) => number | undefined } {
  const all = FLAVOURS.flatMap((f) => Array.from({ length: BASES_A_FLAVOUR }, () => randomState(r, f)));
  // A generated test is a copy; the tail of the state image, which nothing reads, says of what.
  all.forEach((t, i) => {
    t.regs.setFx32(FX_SIZE - 4, i);
  });
  return {
    all,
    pick(random, flavour) {
      const n = FLAVOURS.indexOf(flavour) * BASES_A_FLAVOUR + random.below(BASES_A_FLAVOUR);
      const t = all[n];
      if (!t) throw new RangeError(`no base ${n}`);
      return t;
    },
    of: (t) => t.regs.fx32(FX_SIZE - 4),
  };
}

/** The decoder finds the form: not so for a LOCK out of place. */
function formFits(form: Form, t: Test): boolean {
  const d = newDecoded();
  return decode(t.code, 0, t.code.length, d) > 0 && d.form === form.number;
}

const processorName = (): string => {
  const info = readFileSync('/proc/cpuinfo', 'utf8');
  const field = (name: string): string => new RegExp(`^${name}\\s*: (.*)$`, 'm').exec(info)?.[1] ?? '?';
  return `${field('vendor_id')} family ${field('cpu family')} model ${field('model')}`;
};

/** Attempts for one test before a form counts as one the generator cannot make. */
const ATTEMPTS = 50;
const BATCH = 4000;

interface Job {
  readonly form: Form;
  readonly test: Test;
}

function jobs(
  forms: readonly Form[],
  count: number,
  seed: number,
  states?: StateSource,
): { jobs: Job[]; unreached: Form[] } {
  const all: Job[] = [];
  const unreached: Form[] = [];
  for (const form of forms) {
    const r = new Random(seed * 100003 + form.number);
    let made = 0;
    for (let i = 0; i < count * ATTEMPTS && made < count; i++) {
      const test = generate(form, r, states);
      if (!test) continue;
      all.push({ form, test });
      made++;
    }
    if (made === 0) unreached.push(form);
  }
  return { jobs: all, unreached };
}

function main(): number {
  const forms = chosen();
  const skipped = new Map<string, number>();
  const tested = forms.filter((f) => {
    const reason = skipReason(f);
    if (reason !== undefined)
      skipped.set(`${f.mnemonic}: ${reason}`, (skipped.get(`${f.mnemonic}: ${reason}`) ?? 0) + 1);
    return reason === undefined;
  });
  const seed = Number(options.seed);
  const bases = options.record === undefined ? undefined : baseStates(new Random(seed));
  const made = jobs(tested, Number(options.count), seed, bases?.pick);
  const oracle = hostOracle();
  const tiers = (options.tier ?? [...TIERS]).map((t) => {
    if (!TIERS.includes(t as TierName)) throw new Error(`--tier ${t}: there are ${TIERS.join(' and ')}`);
    return { name: t, tier: makeTier(t as TierName) };
  });
  const vectors: Vector[] = [];
  /** By tier and form. */
  const wrong = new Map<string, number>();
  for (let at = 0; at < made.jobs.length; at += BATCH) {
    const batch = made.jobs.slice(at, at + BATCH);
    const expected = oracle.run(batch.map((j) => j.test));
    batch.forEach(({ form, test }, i) => {
      const e = expected[i];
      if (!e) {
        say(`no answer from the oracle: ${report(test, form, [])}\n`);
        return;
      }
      const known = bases && formFits(form, test) ? bases.of(test) : undefined;
      if (known !== undefined) vectors.push({ base: known, test, expected: e });
      for (const { name, tier } of tiers) {
        let text: string;
        try {
          const actual = tier.run(test);
          let found = differences(form, test, e, actual);
          // The host may have been interrupted between the state's loading and the instruction, and x87 error
          // pointers do not survive that: what is wrong is wrong twice.
          const [again] = found.length > 0 ? oracle.run([test]) : [];
          if (again) found = differences(form, test, again, actual);
          if (found.length === 0) continue;
          text = report(test, form, found);
        } catch (error) {
          text = report(test, form, [{ what: 'exception', expected: '', actual: String(error instanceof Error ? error.stack : error) }]); // prettier-ignore
        }
        const key = `${name}: ${form.mnemonic} '${form.encoding.text}' ${form.w}${form.mem ? ' memory' : ''}`;
        const n = wrong.get(key) ?? 0;
        wrong.set(key, n + 1);
        if (n < Number(options.show)) say(`${name} ${text}\n`);
      }
    });
  }
  for (const [what, n] of skipped) say(`not compared: ${what} (${n} forms)`);
  for (const f of made.unreached) say(`no test made for ${f.mnemonic} '${f.encoding.text}' ${f.w}`);
  for (const [what, n] of wrong) say(`${n} mismatches: ${what}`);
  say(`${made.jobs.length} tests of ${tested.length} forms, ${wrong.size} forms with mismatches`);
  if (wrong.size > 0 || made.unreached.length > 0) return 1;
  if (options.record !== undefined && bases) {
    const bytes = encodeVectors({ recordedOn: processorName(), bases: bases.all, vectors });
    writeFileSync(options.record, bytes);
    say(`${vectors.length} vectors in ${bytes.length} bytes: ${options.record}`);
  }
  return 0;
}

process.exitCode = main();
