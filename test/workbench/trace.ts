import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { FrameLocator } from './browser';
import type { Editor } from './editor';
import { eventually } from './editor';
import { repeat } from './repeat';

// The hypercall trace, as a person meets it.

/** The page of the panel in front. */
export const tracePage = ({ page }: Pick<Editor, 'page'>): FrameLocator =>
  page
    .locator('iframe.webview[src*="extensionId=hyperstep.hyperstep"]:not([src*="purpose=webviewView"])')
    .last()
    .contentFrame()
    .frameLocator('iframe#active-frame');

const root = path.join(__dirname, '..', '..');
const SAMPLE = path.join(root, 'media', 'samples', 'first-hypercall', 'first-hypercall.elf');
const MINUTE = 60_000;
/** Records that take some seconds to read, longer than it takes the page to come up. */
const MANY = 500_000;

const THEMES = {
  dark: 'Default Dark Modern',
  light: 'Default Light Modern',
  'high-contrast': 'Default High Contrast',
} as const;

/** Gives the file dialog a path: it first shows where it starts, and takes no Enter while it looks at a folder. */
export async function choose({ page }: Editor, file: string): Promise<void> {
  const input = page.locator('.quick-input-widget input').first();
  await page.locator('.quick-input-list .monaco-list-row').filter({ hasText: '..' }).first().waitFor();
  await input.fill(file);
  await eventually(
    'the dialog takes the file',
    async () => {
      if (await input.isVisible()) await page.keyboard.press('Enter');
      return input.isVisible();
    },
    (isOpen) => !isOpen,
  );
}

/** What the command line says of the sample, or of a file of its trace. */
export function runCli(command: 'trace' | 'records', ...args: readonly string[]): string {
  const image = command === 'trace' ? [SAMPLE, '--quiet'] : [];
  const made = spawnSync(process.execPath, [path.join(root, 'dist', 'cli.js'), command, ...image, ...args], {
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  assert.equal(made.status, 0, made.stderr);
  return made.stdout;
}

/** @param open a window on a folder with this launch.json; @param folder where that is */
export function traceTests(open: (launch: object) => Promise<Editor>, folder: () => string): void {
  it('the trace: filters, expands, compares with what it exports, in three kinds of theme', async () => {
    const at = await open({ name: 'sample', onPoweroff: 'preserve' });
    await at.start();
    await at.stopped();
    await at.command('Hyperstep: Open the Hypercall Trace');
    const trace = tracePage(at);
    const rows = trace.locator('.row.record');
    const status = (): Promise<string> => trace.locator('#count').innerText();
    await eventually('all of it', status, (text) => /^1\d\d records$/.test(text));
    // The machine stands at its end: the last record is the one that ended it.
    await eventually(
      'the current record',
      () => trace.locator('.row.current').allInnerTexts(),
      ([text = '']) => text.includes('sched_op.shutdown'),
    );

    // A filter, with what can be written offered.
    const filter = trace.locator('#filter');
    await filter.click();
    await at.page.keyboard.type('refu', { delay: 20 });
    await eventually(
      'a completion',
      () => trace.locator('#suggestions li').allInnerTexts(),
      ([first = '']) => first.startsWith('refused'),
    );
    await at.shot('trace-completion');
    await at.page.keyboard.press('Tab');
    await eventually('the refused', status, (text) => /^\d+ of 1\d\d records$/.test(text));
    await filter.fill('mmu_update && refused');
    await eventually('one', status, (text) => text.startsWith('1 of '));
    await filter.fill('mmu_update && (');
    await eventually(
      'the mistake',
      () => trace.locator('#filter-problem').innerText(),
      (text) => text.includes('value is expected'),
    );
    await filter.fill('mmu_update && refused');
    await at.page.keyboard.press('Enter');

    // The record's arguments and why it was refused, by the keyboard.
    await eventually(
      'the row',
      () => rows.allInnerTexts(),
      (list) => list.length === 1 && (list[0] ?? '').includes('EBUSY'),
    );
    await at.page.keyboard.press('Enter');
    const details = trace.locator('.row.detail');
    const shown = await eventually(
      'its details',
      () => details.allInnerTexts(),
      (list) => list.length > 5,
    );
    // The whole sentence, on as many lines as it takes.
    assert.match(shown.join(' '), /^EBUSY .*writable, but it is in use as L1/);
    assert.ok(
      shown.some((text) => /^ureqs/.test(text)) && shown.some((text) => /^ptr/.test(text)),
      shown.join('\n'),
    );

    for (const [kind, theme] of Object.entries(THEMES)) {
      mkdirSync(path.join(folder(), '.vscode'), { recursive: true });
      writeFileSync(
        path.join(folder(), '.vscode', 'settings.json'),
        JSON.stringify({ 'workbench.colorTheme': theme }),
      );
      await trace.locator(`body.vscode-${kind}`).waitFor();
      await at.shot(`trace-${kind}`);
    }

    // All of it into a file, and compared with itself.
    await filter.fill('');
    await eventually('all again', status, (text) => /^1\d\d records$/.test(text));
    await trace.locator('#export').click();
    await at.quickPick().filter({ hasText: 'NDJSON' }).first().click();
    const file = path.join(folder(), 'whole.ndjson');
    await choose(at, file);
    await eventually(
      'the file',
      () => Promise.resolve(existsSync(file)),
      (there) => there,
    );
    await at.page.locator('.notification-toast').filter({ hasText: 'records are in' }).first().waitFor();
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    const [head = '', ...records] = lines.map((line) => JSON.parse(line) as { call?: object; site?: string });
    assert.deepEqual(head, { hyperstep: 'trace', version: 2 });
    assert.ok(records.length > 100);
    assert.ok(records.every(({ call }) => call !== undefined));
    assert.ok(records.some(({ site }) => site !== undefined));

    // Without one of its records, there is one difference.
    writeFileSync(file, lines.filter((_, i) => i !== 40).join('\n'));
    await trace.locator('#compare').click();
    await choose(at, file);
    const told = await eventually(
      'what differs',
      () => trace.locator('#compared').innerText(),
      (text) => /\d+ differences?/.test(text),
    );
    assert.match(told, new RegExp(`^1 difference .* ${records.length - 1} pairs`));
    assert.match(told, /only here/);
    await at.shot('trace-compared');
    await trace.locator('#tab-totals').click();
    await eventually(
      'the counts',
      () => trace.locator('#totals').innerText(),
      (text) => text.includes('console_io.write'),
    );
    await at.shot('trace-totals');
    await at.debug('stop');
    await at.ended();
  });

  it('a large file: its rows and its timeline are there while it is read', async () => {
    const at = await open({ name: 'unused' });
    const [one, many] = ['one.ndjson', 'many.ndjson'].map((name) => path.join(folder(), name));
    assert.ok(one !== undefined && many !== undefined);
    writeFileSync(one, runCli('trace', '--format', 'ndjson'));
    await repeat(one, many, MANY);
    await at.command('Hyperstep: Open a Trace File…');
    await choose(at, many);
    const trace = tracePage(at);
    const shown = (): Promise<string> =>
      trace
        .locator('body')
        .evaluate(
          `document.querySelector('#count').textContent + '; ' + document.querySelector('#span').textContent`,
        );
    const calls = (text: string): number => Number(/ ([\d,]+) calls/.exec(text)?.[1]?.replaceAll(',', ''));
    const early = await eventually('some of the timeline', shown, (text) => calls(text) > 0);
    assert.match(early, /reading the file/);
    await trace.locator('.row.record:not([aria-busy])').first().waitFor();
    const more = await eventually('more of it', shown, (text) => calls(text) > calls(early));
    assert.match(more, /reading the file/);
    const all = await eventually(
      'all of it',
      shown,
      (text) => !text.includes('reading') && text !== more,
      MINUTE,
    );
    assert.match(all, /^[\d,]+ records; .* calls/);
    await at.shot('trace-large');
  });
}
