import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PAGES, pageText, root } from '../../scripts/reference';

describe('reference pages', () => {
  for (const path of Object.keys(PAGES)) {
    it(`${path} says what the tables say`, async function () {
      this.timeout(20_000);
      assert.equal(readFileSync(join(root, path), 'utf8'), await pageText(path), 'run: npm run reference');
    });
  }
});
