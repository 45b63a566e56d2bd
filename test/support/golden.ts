import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const folder = path.join(__dirname, '..', 'golden');

/**
 * Compares with test/golden/NAME. HYPERSTEP_ACCEPT=1 writes it instead: the one way in which a golden file changes.
 */
export function assertGolden(name: string, actual: string): void {
  const file = path.join(folder, name);
  if (process.env['HYPERSTEP_ACCEPT'] === '1') {
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, actual);
    return;
  }
  assert.ok(existsSync(file), `${file} is not there; HYPERSTEP_ACCEPT=1 writes it`);
  assert.equal(
    actual,
    readFileSync(file, 'utf8'),
    `differs from test/golden/${name}; HYPERSTEP_ACCEPT=1 accepts it`,
  );
}
