import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Locator } from './browser';
import type { Editor } from './editor';
import { eventually } from './editor';
import { choose } from './trace';

const samples = path.join(__dirname, '..', '..', 'media', 'samples');
const SAMPLE = path.join(samples, 'first-hypercall', 'first-hypercall.elf');
const NEIGHBOURS = path.join(samples, 'neighbours');
/** Where the sample maps pages through page tables of its own, and the text that it writes there. */
const WINDOW = /^0xffffc00000000000/;
const WRITTEN = 'written through the new mapping';

const button = ({ page }: Editor, text: string): Locator =>
  page.locator('.monaco-dialog-box .monaco-button').filter({ hasText: text }).first();

/** @param open a window on a folder with this launch.json, or on none */
export function toolTests(open: (launch: object | 'no folder') => Promise<Editor>): void {
  it('page tables compared, who maps a frame, a data breakpoint, memory, and a refusal with its check', async () => {
    const at = await open('no folder');
    const { page, rows, section, expand } = at;
    await at.command('Hyperstep: Debug the Sample Guest');
    await at.stopped();
    await at.command('Hyperstep: Keep the Page Tables for Comparison');
    await page.locator('.notification-toast').filter({ hasText: 'are kept' }).first().waitFor();
    await at.command('Hyperstep: Go to Hypercall…');
    await at.answer('mmu_update', 'Go to a hypercall');
    const calls = at.pane('Hypercalls');
    await calls
      .locator('.monaco-list-row.focused')
      .filter({ hasText: /^mmu_update/ })
      .waitFor();
    await page.keyboard.press('Shift+F9');
    const breakpoints = await section('Breakpoints');
    await rows(breakpoints, 'hypercall:mmu_update:return').waitFor();
    await at.debug('continue');
    await eventually('a result', at.variables, (list) => list.some((v) => /^result/.test(v)));

    await at.command('Hyperstep: Compare the Page Tables with Those Kept');
    await page.locator('.tab').filter({ hasText: 'stop 1 ↔ stop 2' }).waitFor();
    const added = await eventually(
      'the new range, on one side only',
      () => page.locator('.editor.modified .view-line').allInnerTexts(),
      (lines) => lines.some((line) => WINDOW.test(line)),
    );
    const before = await page.locator('.editor.original .view-line').allInnerTexts();
    assert.ok(before.length > 1 && !before.some((line) => WINDOW.test(line)), before.join('\n'));
    assert.match(added.join('\n'), /4\sKiB\s+P\sRW\sUS/);
    await at.shot('tables-compared');

    // Who maps the frame behind it: by a key, for the row that is selected.
    const tables = await section('Page Tables');
    await expand(rows(tables, WINDOW).first());
    for (const level of [2, 3])
      await expand(tables.locator(`.monaco-list-row[aria-level="${level}"]`).first());
    const leaf = tables.locator('.monaco-list-row[aria-level="4"]').first();
    await leaf.click();
    await tables.locator('.monaco-list-row.selected[aria-level="4"]').waitFor();
    assert.match(
      (await leaf.getAttribute('aria-label')) ?? '',
      /0xffffc00000000000, pfn .* writable .* P RW/,
    );
    await page.keyboard.press('Alt+u');
    await page.locator('.quick-input-title').filter({ hasText: 'of d1' }).first().waitFor();
    const users = await at.quickPick().allInnerTexts();
    assert.equal(users.length, 2, users.join('\n'));
    assert.ok(
      users.every((user) => user.includes('by an L1 entry')),
      users.join('\n'),
    );
    await at.shot('who-maps');
    await page.keyboard.press('Escape');

    // The guest stores through the new mapping into what C calls page_a.
    await at.sideBar('Run and Debug');
    const variables = page.locator('.debug-variables .monaco-list-row');
    await expand(variables.filter({ hasText: /^Globals/ }).first());
    const pageA = variables.filter({ hasText: /^page_a/ }).first();
    await pageA.waitFor();
    await at.menu(pageA, 'Break on Value Change');
    await rows(breakpoints, /^page_a/).waitFor();
    const box = (text: string | RegExp): Locator =>
      rows(breakpoints, text).first().locator('input[type="checkbox"], .monaco-custom-toggle').first();
    await box('hypercall:mmu_update:return').click();
    await at.debug('continue');
    const callStack = page.locator('.debug-call-stack');
    await eventually('use_window', at.frames, ([top = '']) => top.includes('use_window'));
    assert.match(await page.locator('.debug-pane').filter({ has: callStack }).innerText(), /data breakpoint/);
    await box(/^page_a/).click();

    // With the check that refuses, which is a link into the hypervisor's source.
    await box('Failed hypercalls').click();
    await at.debug('continue');
    const widget = page.locator('.exception-widget').first();
    await widget.waitFor();
    assert.match(await widget.innerText(), /EBUSY: L1 entry .* writable, but it is in use as L1/);
    await at.shot('refusal');
    // The page has the text by now.
    await expand(variables.filter({ hasText: /^Globals/ }).first());
    await pageA.hover();
    await pageA.locator('[aria-label="View Binary Data"]').first().click();
    const memory = page
      .locator('iframe.webview[src*="extensionId=ms-vscode.hexeditor"]')
      .last()
      .contentFrame()
      .frameLocator('iframe#active-frame')
      .locator('#bytes');
    await eventually(
      'the bytes of page_a',
      () => memory.innerText(),
      (hex) => Buffer.from(hex, 'hex').toString().startsWith(WRITTEN),
    );
    await page.locator('.tab').filter({ hasText: 'memory.c' }).first().click();
    await widget.waitFor();
    // Where the extensions run elsewhere than the window, VS Code makes no link of it; it leads to the check all the same.
    const check = /getFromL1e \((\S+pagetypes\.ts):(\d+):\d+\) in the hypervisor/.exec(
      await widget.innerText(),
    );
    assert.ok(check);
    const [, source = '', line = ''] = check;
    const said = readFileSync(source, 'utf8')
      .split('\n')
      .slice(Number(line) - 1, Number(line) + 3);
    assert.match(said.join('\n'), /fail\(|refuse|EBUSY/);
    await at.debug('stop');
    await at.ended();
  });

  it('two domains have a terminal each, and a configuration in the explorer is debugged from its menu', async () => {
    const at = await open({ name: 'two', config: ['giver.cfg', 'taker.cfg'] });
    for (const name of ['neighbours.elf', 'giver.cfg', 'taker.cfg'])
      copyFileSync(path.join(NEIGHBOURS, name), path.join(at.folder ?? '', name));
    const terminals = at.page.locator('.terminal-tabs-entry, .tabs-list .monaco-list-row');
    await at.start();
    await eventually(
      'a terminal each',
      () => terminals.allInnerTexts(),
      (names) =>
        ['two · d1 console', 'two · d2 console'].every((name) => names.some((one) => one.includes(name))),
    );
    await at.ended();
    for (const [console, words] of [
      ['d1 console', 'giver: done'],
      ['d2 console', 'taker: done'],
    ] as const) {
      await terminals.filter({ hasText: console }).first().click();
      await eventually(`what ${console} says`, at.terminal, (text) => text.includes(words));
    }
    await at.shot('terminals');

    await at.menu(await at.inExplorer('giver.cfg'), 'Debug This Domain');
    await terminals.filter({ hasText: 'giver.cfg · d1 console' }).first().waitFor();
    await eventually('its console', at.terminal, (text) => text.includes('giver: doorbell for domain 2'));
    await at.debug('stop');
    await at.ended();
  });

  it('a 32-bit kernel is called one, and a 64-bit one can be chosen', async () => {
    const at = await open({ name: 'old', kernel: 'old.elf', stopOnEntry: true });
    const image = readFileSync(SAMPLE);
    image[4] = 1; // EI_CLASS: ELFCLASS32
    writeFileSync(path.join(at.folder ?? '', 'old.elf'), image);
    await at.start();
    const dialog = at.page.locator('.monaco-dialog-box');
    await dialog.waitFor();
    assert.match(await dialog.innerText(), /old\.elf.*32-bit/s);
    await button(at, 'Choose a 64-Bit Kernel').click();
    await choose(at, SAMPLE);
    assert.match((await at.stopped()).join('\n'), /_start/);

    const begin = await eventually('registers', at.variables, (list) => list.some((v) => /^rip/.test(v)));

    // launch.json still names the other one. Without it a restart is refused: the machine that was there goes on.
    rmSync(path.join(at.folder ?? '', 'old.elf'));
    const refusal = at.page.locator('.notification-toast').filter({ hasText: /Not restarted.*old\.elf/s });
    await at.debug('restart');
    await refusal.first().waitFor();
    await at.debug('step-into');
    const moved = (list: readonly string[]): boolean => list.length > 0 && list.join() !== begin.join();
    await eventually('it has moved', at.variables, moved);
    copyFileSync(SAMPLE, path.join(at.folder ?? '', 'old.elf'));
    await at.debug('restart');
    await eventually('the same start', at.variables, (list) => list.join() === begin.join());
    // This copy has lines, but no sources beside it: it stands in its instructions.
    await at.page.locator('.disassembly-view .monaco-list-row').filter({ hasText: 'cld' }).first().waitFor();
    await at.debug('continue');
    await at.ended();

    // What adapters and editor said to each other that people may want to know.
    await at.command('Hyperstep: Show the Log');
    const lines = at.page.locator('.part.panel .view-line');
    const log = await eventually(
      'the log',
      async () => (await lines.allInnerTexts()).join('\n').replaceAll('\u00a0', ' '),
      (text) => text.includes('the session ends'),
    );
    for (const line of [
      /\[info\] old: a session begins/,
      /\[warning\] old: launch was refused: .*old\.elf.*32-bit/s,
      /\[info\] old: old\.elf: \d+ symbols/,
      /\[info\] old: the session ends/,
    ])
      assert.match(log, line);
    await at.shot('log');
  });
}
