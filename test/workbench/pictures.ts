/**
 * Takes the pictures of the walkthrough and of the documentation from the packaged extension in the real workbench:
 * `npm run package && npx tsx test/workbench/pictures.ts`. They are looked at, and committed, by a person.
 */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import type { Page } from './browser';
import { root, runByHand } from './window';
import type { Editor } from './editor';
import { eventually, openEditor } from './editor';
import { tracePage } from './trace';

const folder = path.join(root, 'media', 'walkthrough');
/** Where the sash between side bar and editor is, in a new window. */
const SIDE_BAR_EDGE = 345;
/** Small enough to be read at the width that a walkthrough gives it. */
const VIEWPORT = { width: 1180, height: 900 };

const shoot = async ({ page, command }: Editor, name: string): Promise<void> => {
  await command('Notifications: Clear All Notifications');
  // Hovers and the blink of the caret are not part of it.
  await page.locator('.statusbar').hover();
  await new Promise((resolve) => setTimeout(resolve, 700));
  await page.screenshot({ path: path.join(folder, `${name}.jpg`), type: 'jpeg', quality: 62 });
  // To look at without loss.
  await page.screenshot({ path: path.join(root, 'out', 'pictures', `${name}.png`) });
};

/** Rows of the views are long. */
async function widenSideBar(page: Page): Promise<void> {
  const { mouse } = page;
  await mouse.move(SIDE_BAR_EDGE, 500);
  await mouse.down();
  await mouse.move(SIDE_BAR_EDGE + 110, 500, { steps: 5 });
  await mouse.up();
}

async function tour(at: Editor): Promise<void> {
  await at.command('Hyperstep: Debug the Sample Guest');
  await at.stopped();
  await widenSideBar(at.page);
  for (const title of ['Watch', 'Breakpoints']) await at.collapse(title);
  await eventually('registers', at.variables, (list) => list.some((row) => /^rax/.test(row)));
  await shoot(at, 'boot');

  const calls = await at.section('Hypercalls');
  const update = at.rows(calls, /^mmu_update/).first();
  await update.locator('.monaco-custom-toggle').click();
  await at.debug('continue');
  await eventually('the hypercall', at.frames, (list) => /hypercall mmu_update/.test(list[0] ?? ''));
  await eventually('its arguments', at.variables, (list) => list.some((row) => /^count/.test(row)));
  await at.expand(
    at.page
      .locator('.debug-variables .monaco-list-row')
      .filter({ hasText: /^ureqs/ })
      .first(),
  );
  await shoot(at, 'break');

  await at.debug('step-into');
  await eventually('the handler', at.frames, (list) => /\(hypervisor\)/.test(list[0] ?? ''));
  await eventually('its locals', at.variables, (list) => list.some((row) => /^context/.test(row)));
  await shoot(at, 'hypervisor');

  await at.section('Hypercalls');
  await at.menu(update, 'Break on Return');
  const breakpoints = await at.section('Breakpoints');
  await at.rows(breakpoints, 'hypercall:mmu_update:return').waitFor();
  await at.collapse('Breakpoints');
  await at.debug('continue');
  await eventually('a result', at.variables, (list) => list.some((row) => /^result/.test(row)));
  const tables = await at.section('Page Tables');
  const made = at.rows(tables, /^0xffffc00000000000/).first();
  await made.locator('.highlight').first().waitFor();
  await at.expand(made);
  for (const level of [2, 3])
    await at.expand(tables.locator(`.monaco-list-row[aria-level="${level}"]`).first());
  await shoot(at, 'page-table');

  await at.section('Breakpoints');
  const tick = (text: string): Promise<void> =>
    at
      .rows(breakpoints, text)
      .first()
      .locator('input[type="checkbox"], .monaco-custom-toggle')
      .first()
      .click();
  await tick('hypercall:mmu_update:return');
  await tick('hypercall:mmu_update');
  await tick('Failed hypercalls');
  await at.debug('continue');
  await at.page.locator('.exception-widget').first().waitFor();
  await shoot(at, 'refusal');

  await at.command('Hyperstep: Open the Hypercall Trace');
  const trace = tracePage(at);
  await trace.locator('.row.current').first().waitFor();
  await trace.locator('#filter').fill('refused');
  await eventually(
    'the refused',
    () => trace.locator('#count').innerText(),
    (text) => / of /.test(text),
  );
  await trace.locator('#filter').click();
  for (const key of ['Enter', 'Enter']) await at.page.keyboard.press(key);
  await trace.locator('.row.detail').first().waitFor();
  await shoot(at, 'trace');
  await at.debug('stop');
  await at.ended();
}

runByHand(VIEWPORT, async ({ server, page }) => {
  mkdirSync(folder, { recursive: true });
  await tour(await openEditor(page, server.url, undefined));
});
