import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { shellInitramfs } from '../../scripts/shell-initramfs';
import { guestPath } from '../support/guests';
import { useConsoles } from './consoles';
import type { Editor } from './editor';
import { eventually, VIEWS } from './editor';
import { fared } from './probing';
import { tracePage } from './trace';

// Debian's stock kernel, with every view of ours open and the trace in front: nothing may feel slow.

const MINUTE = 60_000;
/** What a person waits for without wondering, on a computer that does other things as well. */
const SOON_MS = 5000;
/** A key has to be on the screen before the next one is typed. */
const ECHO_MS = 1000;
/** Nine of ten quarters of a second without a hitch that anybody notices, and none like a crash. */
const SMOOTH_MS = 250;
const LONGEST_MS = 4000;
/** The guest has 256 MiB; the trace, the symbols and the compiled regions come on top. */
const MOST_BYTES = 2 * 2 ** 30;

const KEYS = 'responsive';

/** How many times as long as on an idle computer things take here: what else runs is no fault of ours. */
function contention(): number {
  const began = performance.now();
  const cpu = process.cpuUsage();
  const used = (): number => {
    const { user, system } = process.cpuUsage(cpu);
    return (user + system) / 1000;
  };
  while (used() < 100);
  return Math.max(1, (performance.now() - began) / used());
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Infinity;
const at90 = (ascending: readonly number[]): number =>
  ascending[Math.floor(ascending.length * 0.9)] ?? Infinity;

/** @param open a window on a folder with this launch.json; @param home of the server */
export function linuxTests(open: (launch: object) => Promise<Editor>, home: () => string): void {
  it('stays responsive while Linux boots to its shell with every view open; its consoles are terminals', async function () {
    this.timeout(6 * MINUTE);
    const kernel = guestPath('linux', this);
    guestPath('busybox', this);
    const ramdisk = path.join(home(), 'initrd.gz');
    writeFileSync(ramdisk, shellInitramfs());
    const editor = await open({
      name: 'linux',
      kernel,
      ramdisk,
      cmdline: 'console=hvc0',
      channels: ['second'],
    });
    const { page, rows, section, ...at } = editor;
    const figures: string[] = [];
    let busy = 1;
    const timed = async (what: string, act: () => Promise<unknown>): Promise<void> => {
      busy = Math.max(busy, contention());
      const began = performance.now();
      await act();
      const ms = performance.now() - began;
      figures.push(`${what} ${ms.toFixed(0)} ms`);
      const most = SOON_MS * busy;
      assert.ok(ms < most, `${what}: ${ms.toFixed(0)} ms, of ${most.toFixed(0)} at most`);
    };
    const button = (icon: string) => page.locator(`.debug-toolbar .codicon-debug-${icon}`).first();

    await at.start();
    const since = Date.now();
    for (const title of VIEWS) await section(title);
    await at.command('Hyperstep: Open the Hypercall Trace');
    const trace = tracePage({ page });
    const status = page.locator('[id$="hyperstep.status"]').first();
    await eventually(
      'it says that it runs',
      () => status.innerText(),
      (text) => /\d M\/s/.test(text),
      MINUTE,
    );
    const before = await trace.locator('#count').innerText();

    // While it boots: a tree opens, a command that asks the machine answers, and it stops where it is.
    const domains = at.pane('Domains');
    await rows(domains, /^d1 /).first().waitFor();
    await timed('a tree opens in', async () => {
      await at.expand(rows(domains, /^d1 /).first());
      await rows(domains, /^d1v0/).first().waitFor();
    });
    await timed('a command answers in', async () => {
      await rows(at.pane('Hypercalls'), /^set_trap_table/)
        .first()
        .click();
      await page.keyboard.press('Alt+g');
      await at.quickPick().first().waitFor();
    });
    await page.keyboard.press('Escape');
    const pause = async (when: string): Promise<void> => {
      await at.sideBar('Run and Debug');
      await timed(`${when}: Pause shows the stack in`, async () => {
        await button('pause').click();
        await button('continue').waitFor();
        await page.locator('.debug-call-stack .stack-frame').first().waitFor();
      });
      // A kernel without source lines: its registers all the same, and the instructions around.
      await eventually('its registers', at.variables, (list) => list.some((row) => /^rip/.test(row)));
      await page.locator('.disassembly-view .monaco-list-row').first().waitFor();
      await timed(`${when}: Continue goes on in`, async () => {
        await button('continue').click();
        await button('pause').waitFor();
      });
      await at.sideBar('Hyperstep');
    };
    await pause('booting');
    await page.locator('.tab').filter({ hasText: 'Hypercall Trace' }).first().click();

    await eventually('the shell', at.terminal, (text) => /^\/ # *$/m.test(text), 4 * MINUTE);
    figures.push(`at the shell after ${((Date.now() - since) / 1000).toFixed(1)} s`);
    const after = await eventually(
      'the trace follows',
      () => trace.locator('#count').innerText(),
      (text) => text !== before,
    );
    assert.match(after, /\d records/);
    // Views of a machine that runs show what there is now.
    await rows(at.pane('Event Channels'), /VIRQ_TIMER/)
      .first()
      .waitFor();

    await page.locator('.terminal-wrapper.active .xterm-screen').click();
    const echoes: number[] = [];
    for (const [i, key] of KEYS.split('').entries()) {
      const typed = KEYS.slice(0, i + 1);
      const pressed = performance.now();
      await page.keyboard.type(key);
      await eventually(`${key} is echoed`, at.terminal, (text) => text.trimEnd().endsWith(`/ # ${typed}`));
      echoes.push(performance.now() - pressed);
    }
    figures.push(`key to echo ${median(echoes).toFixed(0)} ms (median)`);
    assert.ok(median(echoes) < ECHO_MS * busy, echoes.join(' '));
    await page.keyboard.press('Control+u');
    await page.keyboard.type('echo $((6 * 7))\n');
    await eventually('an answer', at.terminal, (text) => /^42$/m.test(text));
    await pause('idle');

    const { late, rss } = fared(home(), since);
    const longest = late.at(-1) ?? Infinity;
    figures.push(
      `extension process late by ${median(late).toFixed(0)} ms (median), ${at90(late).toFixed(0)} ms (90 %), ${longest.toFixed(0)} ms (longest)`,
      `resident ${(rss / 2 ** 20).toFixed(0)} MiB`,
    );
    await at.shot('linux-at-its-shell');
    figures.push(`computer shared by a factor of ${busy.toFixed(1)}`);
    console.log(`      ${figures.join('\n      ')}`);
    assert.ok(
      late.length > 20 && at90(late) < SMOOTH_MS * busy && longest < LONGEST_MS * busy,
      late.join(' '),
    );
    assert.ok(rss < MOST_BYTES, `${rss} bytes`);

    await useConsoles(editor);
    await at.debug('stop');
    await at.ended();
  });
}
