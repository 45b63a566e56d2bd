import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { findWorkbench } from '../../../scripts/workbench-install';
import type { Browser } from '../browser';
import { eventually, screenshots } from '../editor';
import type { EditorServer } from '../server';
import { startServer } from '../server';
import type { End, Result } from './results';
import { RESULTS } from './results';

const ALL_MS = 100_000;

/** The address of a window that runs the tests of this folder beside its extensions. */
function address(url: string, folder: string): string {
  const remote = (file: string): string => `vscode-remote://${new URL(url).host}${file}`;
  const payload = [
    ['extensionDevelopmentPath', remote(__dirname)],
    ['extensionTestsPath', remote(path.join(__dirname, 'index.cjs'))],
    ['skipWelcome', 'true'],
  ];
  return `${url}/?folder=${folder}&payload=${encodeURIComponent(JSON.stringify(payload))}`;
}

const isEnd = (line: Result | End): line is End => 'end' in line;

/** Whole lines of a file that may not be there yet. */
const read = (file: string): (Result | End)[] =>
  (existsSync(file) ? readFileSync(file, 'utf8') : '')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Result | End);

async function runInside(vsix: string, browser: Browser, home: string): Promise<(Result | End)[]> {
  const workbench = findWorkbench();
  assert.ok(typeof workbench !== 'string', workbench as string);
  const folder = path.join(home, 'folder');
  mkdirSync(folder);
  let server: EditorServer | undefined;
  const page = await browser.newPage({ viewport: { width: 1500, height: 1000 } });
  try {
    const log = path.join(screenshots, 'inside.log');
    // Another server than that of the other tests, for whose sake notifications have to pop up.
    server = await startServer(workbench, home, [vsix], { trust: true, log, inside: true });
    await page.goto(address(server.url, folder));
    const file = path.join(home, RESULTS);
    const lines = (): Promise<(Result | End)[]> => Promise.resolve(read(file));
    return await eventually('all have run', lines, (all) => all.some(isEnd), ALL_MS);
  } finally {
    await page.close();
    await server?.stop();
  }
}

/**
 * The tests of this folder, as one of the tests in the workbench.
 *
 * @param vsix Hyperstep, packaged
 */
export function insideTests(vsix: string, browser: () => Browser | undefined): void {
  it('in the process of the extensions, by what VS Code offers them', async () => {
    const started = browser();
    assert.ok(started);
    const home = mkdtempSync(path.join(tmpdir(), 'hyperstep-inside-'));
    try {
      const lines = await runInside(vsix, started, home);
      const results = lines.filter((line): line is Result => !isEnd(line));
      for (const { test, ms, error } of results) {
        console.log(`      ${error === undefined ? '✔' : '✘'} ${test} (${ms} ms)`);
        if (error !== undefined) console.log(error.replaceAll(/^/gm, '        '));
      }
      const failed = results.flatMap(({ test, error }) => (error === undefined ? [] : [`${test}: ${error}`]));
      if (failed.length > 0) assert.fail(failed.join('\n'));
      assert.equal(lines.find(isEnd)?.error, undefined);
      assert.ok(results.length > 0, 'there were no tests');
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  });
}
