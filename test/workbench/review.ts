import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Browser } from './browser';
import type { Editor } from './editor';
import { eventually, openEditor, VIEWS } from './editor';
import { findWorkbench } from '../../scripts/workbench-install';
import { startServer } from './server';
import { choose, runCli, tracePage } from './trace';
import { vsix } from './window';

/** @param open a window on a folder with this launch.json, or on none */
export function reviewTests(
  open: (launch: object | 'no folder') => Promise<Editor>,
  home: () => string,
  browser: () => Browser | undefined,
): void {
  it('hovers, walks, ways from a variable to its page, and a filter in each view', async () => {
    const at = await open('no folder');
    const { page, rows, section } = at;
    await at.command('Hyperstep: Debug the Sample Guest');
    await at.stopped();

    // The reference, over a hypercall.
    const update = rows(await section('Hypercalls'), /^mmu_update/).first();
    await update.hover();
    const hover = page.locator('.monaco-hover:not(.hidden), .workbench-hover').last();
    await eventually(
      'the reference',
      async () => ((await hover.isVisible()) ? hover.innerText() : ''),
      (text) => /mmu_update/.test(text) && text.length > 100,
    );
    await at.shot('hover');

    // From a register that holds an address to the entry that maps it.
    await at.sideBar('Run and Debug');
    const rip = page.locator('.debug-variables .monaco-list-row').filter({ hasText: /^rip/ }).first();
    await rip.waitFor();
    await at.menu(rip, 'Show in the Page Tables');
    await at
      .pane('Page Tables')
      .locator('.monaco-list-row.focused')
      .filter({ hasText: /^0xffffffff80/ })
      .waitFor();

    await at.command('Hyperstep: Walk an Address…');
    await at.answer('rip', 'Walk');
    await eventually(
      'a level a line',
      () => at.quickPick().allInnerTexts(),
      (list) => list.length === 4 && /^L4\[/.test(list[0] ?? '') && /^L1\[/.test(list[3] ?? ''),
    );
    await at.shot('walk');
    await page.keyboard.press('Escape');

    // Each view, by the same key: nothing has these words.
    for (const title of VIEWS) {
      const view = await section(title);
      const first = view.locator('.monaco-list-row').first();
      await first.waitFor();
      await first.click();
      await page.keyboard.press('Alt+f');
      await at.answer('no such words', 'Show only rows');
      await eventually(
        `${title}, filtered`,
        // What may have something below it stays until that is known.
        () => view.locator('.monaco-list-row:not([aria-expanded])').count(),
        (count) => count === 0,
      );
      await at.command(`Hyperstep: Show All of ${title}`);
      await first.waitFor();
      await at.collapse(title);
    }
    await at.debug('stop');
    await at.ended();
  });

  it('from a record to its source and to its moment; files of each format are traces', async () => {
    const at = await open({ name: 'sample', stopOnEntry: true, onPoweroff: 'preserve' });
    const { page } = at;
    await at.start();
    await at.stopped();
    await at.debug('continue');
    await eventually('its end', at.frames, (list) => list.some((frame) => frame.includes('shut_down')));
    await at.command('Hyperstep: Open the Hypercall Trace');
    const trace = tracePage(at);
    await trace.locator('.row.current').filter({ hasText: 'sched_op.shutdown' }).waitFor();

    // A multicall has its calls below it.
    await trace.locator('#filter').fill('multicall');
    const only = trace.locator('.row.record').filter({ hasText: 'multicall' }).first();
    await only.waitFor();
    await only.click();
    const entry = trace.locator('.row.detail.entry').filter({ hasText: 'update_va_mapping' }).first();
    await eventually(
      'its calls',
      async () => {
        // Opens it, and does nothing where it is open.
        await page.keyboard.press('ArrowRight');
        return entry.isVisible();
      },
      (isThere) => isThere,
    );
    await at.shot('trace-multicall');

    await trace.locator('#filter').fill('mmu_update && !refused');
    await eventually(
      'one',
      () => trace.locator('#count').innerText(),
      (text) => /^[12] of /.test(text),
    );
    const record = trace.locator('.row.record').first();
    await record.click();
    await page.keyboard.press('F12');
    await page.locator('.tab').filter({ hasText: 'memory.c' }).waitFor();
    await trace.locator('.row.record').first().click();
    await page.keyboard.press('F9');
    await eventually('it stands there again', at.frames, ([top = '']) => /mmu_update/.test(top));
    await at.debug('stop');
    await at.ended();

    const records = runCli('trace', '--format', 'ndjson').split('\n').length - 2;
    const ndjson = path.join(at.folder ?? '', 'one.ndjson');
    writeFileSync(ndjson, runCli('trace', '--format', 'ndjson'));
    for (const [format, name] of [
      ['csv', 'one.csv'],
      ['perfetto', 'one.json'],
    ] as const) {
      const file = path.join(at.folder ?? '', name);
      writeFileSync(file, runCli('records', ndjson, '--as', format));
      await at.command('Hyperstep: Open a Trace File…');
      await choose(at, file);
      await eventually(
        `${name} is a trace`,
        () => tracePage(at).locator('#count').innerText(),
        (text) => text === `${records} records`,
      );
    }
  });

  it('in restricted mode nothing of the folder is booted', async () => {
    const workbench = findWorkbench();
    const started = browser();
    assert.ok(typeof workbench !== 'string' && started !== undefined);
    const own = mkdtempSync(path.join(home(), 'untrusted-'));
    const folder = path.join(own, 'folder');
    mkdirSync(path.join(folder, '.vscode'), { recursive: true });
    const configuration = { type: 'hyperstep', request: 'launch', name: 'theirs', kernel: 'theirs.elf' };
    writeFileSync(
      path.join(folder, '.vscode', 'launch.json'),
      JSON.stringify({ version: '0.2.0', configurations: [configuration] }),
    );
    const server = await startServer(workbench, own, [vsix], { trust: false, log: path.join(own, 'log') });
    const page = await started.newPage({ viewport: { width: 1500, height: 1000 } });
    try {
      const at = await openEditor(page, server.url, folder);
      const dialog = page.locator('.monaco-dialog-box');
      await page.locator('.statusbar-item').filter({ hasText: 'Restricted Mode' }).first().waitFor();
      // VS Code asks again, and debugs nothing before it has an answer.
      await at.start();
      await dialog.filter({ hasText: /trust/i }).waitFor();
      await at.shot('restricted');
      await dialog.locator('.monaco-button').filter({ hasText: 'Cancel' }).first().click();
      assert.equal(await page.locator('.debug-toolbar').isVisible(), false);
    } finally {
      await page.close();
      await server.stop();
    }
  });
}
