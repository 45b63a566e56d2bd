import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { differences } from '../../scripts/differential/compare';
import { report } from '../../scripts/differential/report';
import { TIERS, makeTier } from '../../scripts/differential/tier';
import { decodeVectors, formOfTest } from '../../scripts/differential/vectors';
import { FORMS } from '../../src/cpu/instructions/index';
import { skipReason } from '../../scripts/differential/skip';

/**
 * A real processor's answers, recorded by scripts/differential/run.ts --record, on every machine. They change only
 * by recording them anew.
 */
const folder = join(__dirname, 'vectors');
const files = readdirSync(folder)
  .filter((f) => f.endsWith('.gz'))
  .map((name) => ({ name, ...decodeVectors(readFileSync(join(folder, name))) }));

/** A module for each instruction takes milliseconds: the compiled tier does one in so many (all: scripts/differential/run.ts --tier compile). */
const COMPILED = 6;
/** Mismatches shown in a failure. */
const SHOWN = 5;

describe('recorded processor', function () {
  this.timeout(120_000);
  for (const tierName of TIERS) {
    const tier = makeTier(tierName);
    for (const { name, recordedOn, vectors: all } of files) {
      const vectors = tierName === 'compile' ? all.filter((_, n) => n % COMPILED === 0) : all;
      it(`${tierName} does ${vectors.length} instructions of ${name} as ${recordedOn}`, () => {
        const wrong: string[] = [];
        for (const { test, expected } of vectors) {
          const form = formOfTest(test);
          const found = differences(form, test, expected, tier.run(test));
          if (found.length > 0) wrong.push(report(test, form, found));
        }
        assert.equal(wrong.length, 0, `${wrong.length} mismatches:\n${wrong.slice(0, SHOWN).join('\n\n')}`);
      });
    }
  }

  it('covers every form that the host can tell about', () => {
    const covered = new Set(files.flatMap((f) => f.vectors.map((v) => formOfTest(v.test).number)));
    const missing = FORMS.filter((f) => skipReason(f) === undefined && !covered.has(f.number));
    assert.deepEqual(
      missing.map((f) => `${f.mnemonic} '${f.encoding.text}' ${f.w}`),
      [],
    );
  });
});
