import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { findWorkbench } from '../../scripts/workbench-install';
import { guestPath } from '../support/guests';
import { skipBecause } from '../support/skip';
import type { Browser } from './browser';
import { startBrowser } from './browser';
import type { Editor } from './editor';
import { eventually, openEditor, screenshots, VIEWS } from './editor';
import { insideTests } from './inside/outer';
import { linuxTests } from './linux';
import { extensionHosts } from './processes';
import { packProbe } from './probing';
import { reviewTests } from './review';
import type { EditorServer } from './server';
import { startServer } from './server';
import { stackTests } from './stack';
import { toolTests } from './tools';
import { traceTests } from './trace';
import { packageExtension, root, vsix } from './window';

// The packaged extension in VS Code's own workbench, used as a person uses it.

const MINUTE = 60_000;
/** On a computer that does other things as well; the limit of 50 ms is in test/editor/activation.test.ts. */
const ACTIVATION_MS = 1000;
const SAMPLE = path.join(root, 'media', 'samples', 'first-hypercall', 'first-hypercall.elf');

/** A name for the picture, the theme, and the class that the window has then. */
const THEMES = [
  ['dark', 'Dark Modern', 'vs-dark'],
  ['high-contrast', 'Dark High Contrast', 'hc-black'],
  ['light', 'Light Modern', 'vs'],
] as const;

/** Of what the sample prints: when its console is open, and at its end; see media/samples/first-hypercall. */
const GREETING = 'console: PV console ring open';
const FAREWELL = 'first-hypercall: done';

describe('in the workbench', function () {
  this.timeout(2 * MINUTE);
  let home: string | undefined;
  let server: EditorServer | undefined;
  let browser: Browser | undefined;
  let editor: Editor | undefined;
  /** Of the window that was opened last. */
  let opened = '';

  before(function () {
    this.timeout(5 * MINUTE);
    const workbench = findWorkbench();
    if (typeof workbench === 'string') skipBecause(this, workbench);
    rmSync(screenshots, { recursive: true, force: true });
    mkdirSync(screenshots, { recursive: true });
    packageExtension();
    return (async () => {
      home = mkdtempSync(path.join(tmpdir(), 'hyperstep-workbench-'));
      const probe = path.join(home, 'probe.vsix');
      packProbe(probe);
      server = await startServer(workbench, home, [vsix, probe], {
        trust: true,
        log: path.join(screenshots, 'server.log'),
      });
      browser = await startBrowser(workbench.playwright, workbench.chromium, home);
    })();
  });

  /** A new window on a new folder, with a launch.json if there is something for it; or on no folder at all. */
  async function open(launch?: object | 'no folder'): Promise<Editor> {
    assert.ok(home !== undefined && browser !== undefined && server !== undefined);
    const folder = launch === 'no folder' ? undefined : mkdtempSync(path.join(home, 'folder-'));
    opened = folder ?? '';
    if (folder !== undefined && launch !== undefined) {
      mkdirSync(path.join(folder, '.vscode'));
      const configuration = { type: 'hyperstep', request: 'launch', ...(launch as object) };
      writeFileSync(
        path.join(folder, '.vscode', 'launch.json'),
        JSON.stringify({ version: '0.2.0', configurations: [configuration] }),
      );
    }
    editor = await openEditor(
      await browser.newPage({ viewport: { width: 1500, height: 1400 } }),
      server.url,
      folder,
    );
    return editor;
  }

  afterEach(async function () {
    if (this.currentTest?.state === 'failed')
      await editor?.shot(`failed: ${this.currentTest.title}`.replaceAll(/[^\w]+/g, '-'));
    await editor?.page.close();
    editor = undefined;
  });

  after(async () => {
    await browser?.close();
    await server?.stop();
    if (home !== undefined) rmSync(home, { recursive: true, force: true });
  });

  it('F5 without a launch.json boots the sample: trees, a hypercall breakpoint, the guest console', async () => {
    const { rows, section, expand, ...at } = await open();
    await at.start();
    await at.quickPick().first().waitFor();
    await at.shot('1-pick-a-debugger');
    await at.quickPick().filter({ hasText: 'Hyperstep' }).first().click();

    // Stopped on entry.
    assert.match((await at.stopped()).join('\n'), /_start/);

    // The page tables, from the L4 down to a leaf.
    const tables = await section('Page Tables');
    await expand(rows(tables, /0xffffff8000000000/).first());
    for (const level of [2, 3])
      await expand(tables.locator(`.monaco-list-row[aria-level="${level}"]`).last());
    const leaves = tables.locator('.monaco-list-row[aria-level="4"]');
    await leaves.first().waitFor();
    assert.match(await leaves.first().innerText(), /^0xffffffff8/);
    await at.shot('2-page-tables');

    // A check box in the hypercall tree is a function breakpoint.
    const calls = await section('Hypercalls');
    const update = rows(calls, /^mmu_update/).first();
    await update.locator('.monaco-custom-toggle').click();
    const breakpoints = await section('Breakpoints');
    await rows(breakpoints, 'hypercall:mmu_update').waitFor();
    await at.debug('continue');
    // The call on top, and by name who made it.
    await eventually('it stops in mmu_update', at.frames, (list) =>
      ['hypercall mmu_update', 'build_page_table', 'guest_main', '_start'].every((name) =>
        list.some((frame) => frame.includes(name)),
      ),
    );
    assert.ok((await at.terminal()).includes(GREETING));
    const variables = await eventually('arguments', at.variables, (list) =>
      list.some((v) => /^count/.test(v)),
    );
    assert.match(variables.join('\n'), /^Hypercall/m);
    await at.shot('3-mmu-update');

    // Into the hypervisor: its own source, at the handler, above the boundary and the guest.
    await at.debug('step-into');
    await eventually('the handler', at.frames, (list) =>
      /^mmu_update\.run \(hypervisor\)/.test(list[0] ?? ''),
    );
    await at.page.locator('.tab.active').filter({ hasText: 'mmu.ts' }).waitFor();
    await at.page.locator('.debug-top-stack-frame-line').first().waitFor();
    await eventually('its locals', at.variables, (list) => list.some((v) => /^context/.test(v)));
    await at.shot('4-in-the-hypervisor');
    await section('Page Tables');
    await leaves.first().waitFor();

    // Without the breakpoint, to the end.
    await section('Hypercalls');
    await update.locator('.monaco-custom-toggle').click();
    await section('Breakpoints');
    await rows(breakpoints, 'hypercall:mmu_update').waitFor({ state: 'detached' });

    // The same on return, from its menu: there is a result then.
    await section('Hypercalls');
    await at.menu(update, 'Break on Return');
    await section('Breakpoints');
    await rows(breakpoints, 'hypercall:mmu_update:return').waitFor();
    await at.debug('continue');
    await section('Variables');
    await eventually('a result', at.variables, (list) => list.some((v) => /^result/.test(v)));
    // The entry that it made is marked as new.
    await section('Page Tables');
    const made = rows(tables, /^0xffffc00000000000/).first();
    await made.locator('.highlight').first().waitFor();
    await at.shot('5-returned');
    await section('Hypercalls');
    await at.menu(update, 'Break on Return');
    await section('Breakpoints');
    await rows(breakpoints, 'hypercall:mmu_update:return').waitFor({ state: 'detached' });
    await at.debug('continue');
    await at.ended();
    const gone = await eventually('the last words', at.terminal, (text) =>
      text.includes('The machine is gone'),
    );
    assert.ok(gone.includes(FAREWELL), gone);
    await at.sideBar('Hyperstep');
    await rows(calls).first().waitFor({ state: 'detached' });
    await rows(tables).first().waitFor({ state: 'detached' });
    await at.shot('6-the-end');
  });

  it('the other views: domains, event channels, grants, xenstore written and taken back, devices', async () => {
    const { rows, section, expand, ...at } = await open('no folder');
    await at.command('Hyperstep: Debug the Sample Guest');
    await at.stopped();
    // By its name, from the keyboard, and a breakpoint there from the keyboard, too.
    await at.command('Hyperstep: Go to Hypercall…');
    await at.answer('grant_table_op.query_size', 'Go to a hypercall');
    const calls = at.pane('Hypercalls');
    await calls.locator('.monaco-list-row.focused').filter({ hasText: 'query_size' }).waitFor();

    // To where its devices are connected and it sleeps.
    await at.command('Hyperstep: Go to Hypercall…');
    await at.answer('sched_op.block', 'Go to a hypercall');
    await calls
      .locator('.monaco-list-row.focused')
      .filter({ hasText: /^block/ })
      .waitFor();
    await at.page.keyboard.press('F9');
    await rows(await section('Breakpoints'), 'hypercall:sched_op.block').waitFor();
    const status = at.page
      .locator('[id="hyperstep.hyperstep.hyperstep.status"], [id$="hyperstep.status"]')
      .first();
    await status.waitFor();
    await at.debug('continue');
    await eventually('it sleeps', at.frames, (list) => list.join().includes('hypercall sched_op.block'));

    for (const title of ['Hypercalls', 'Page Tables']) await at.collapse(title);
    const domains = await section('Domains');
    await rows(domains, /^d1 /).first().waitFor();
    await expand(rows(domains, /^d1 /).first());
    await expand(rows(domains, /^d1v0/).first());
    await expand(rows(domains, /^trap table/).first());
    await rows(domains, /^#PF/).first().waitFor();
    await at.shot('10-domains');
    await at.collapse('Domains');

    await rows(await section('Event Channels'), /VIRQ_TIMER/)
      .first()
      .waitFor();
    await rows(await section('Grant Tables'), /\(xenstore\).*mapped by d0/)
      .first()
      .waitFor();
    await rows(await section('PV Devices'), /^d1 console 0/)
      .first()
      .waitFor();

    // xenstore: to a node by its path; it is written, seen, and taken back.
    await at.command('Hyperstep: Go to XenStore Node…');
    await at.answer('/local/domain/1/name', 'A node of xenstore');
    const store = at.pane('XenStore');
    const node = store.locator('.monaco-list-row.focused').filter({ hasText: /^name/ });
    await node.waitFor();
    await at.page.keyboard.press('F2');
    await at.answer('renamed by hand', '/local/domain/1/name');
    await at.page
      .locator('.monaco-dialog-box .monaco-button')
      .filter({ hasText: /^Write$/ })
      .first()
      .click();
    // The hypercall that it stands in comes to its end first.
    await at.page.locator('.notification-toast').filter({ hasText: 'will be written' }).first().waitFor();
    await at.debug('step-over');
    await at.sideBar('Hyperstep');
    await rows(store, /^name\s*renamed by hand/)
      .first()
      .waitFor();
    await at.shot('11-other-views');

    await at.command('Hyperstep: Undo the Last Write to XenStore');
    await rows(store, /^name\s*renamed by hand/)
      .first()
      .waitFor({ state: 'detached' });
    await rows(store, /^name/).first().waitFor();

    // Only what holds some words.
    await at.command('Hyperstep: Filter XenStore…');
    await at.answer('ring-ref', 'Show only rows');
    await rows(store, /^ring-ref/)
      .first()
      .waitFor();
    await rows(store, /^cpu/).first().waitFor({ state: 'detached' });

    assert.match(await status.innerText(), /Xen PV [\d.]+ m?s/);

    // What is said of rows and buttons to those who do not see them.
    for (const title of VIEWS) {
      const view = await section(title);
      await view.locator('[role="treeitem"][aria-label]').first().waitFor();
      for (const nameless of [
        '[role="treeitem"]:not([aria-label])',
        '.actions-container a:not([aria-label])',
      ])
        assert.equal(await view.locator(nameless).count(), 0, `${title}: ${nameless}`);
    }
    await at.collapse('Hypercalls');

    // As they look in the three kinds of theme; the pictures in docs/images are these.
    await at.widen(640);
    for (const title of ['Page Tables', 'Domains']) await section(title);
    for (const [name, theme, kind] of THEMES) {
      await at.command('Preferences: Color Theme');
      await at.quickPick().filter({ hasText: 'Light Modern' }).first().waitFor();
      await at.page.locator('.quick-input-widget input').first().fill(theme);
      await at.quickPick().filter({ hasText: theme }).first().click();
      await at.page.locator(`.monaco-workbench.${kind}`).waitFor();
      await at.sideBarShot(`side-bar-${name}`);
    }
    await at.debug('stop');
    await at.ended();
  });

  it('F5 debugs the sample in an empty window, and nothing is asked', async () => {
    const at = await open('no folder');
    await at.start();
    assert.equal(await at.quickPick().count(), 0);
    assert.match((await at.stopped()).join('\n'), /_start/);
    await at.debug('stop');
    await at.ended();

    // The walkthrough stays where it is while one follows it.
    await at.command('View: Close All Editors');
    await at.command('Welcome: Open Walkthrough...');
    await at.quickPick().filter({ hasText: 'Your first hypercall' }).first().click();
    const walkthrough = at.page.locator('.gettingStartedContainer');
    const follow = async (step: string, link: string): Promise<void> => {
      await walkthrough.locator('.getting-started-step').filter({ hasText: step }).first().click();
      await walkthrough.locator('.monaco-button').filter({ hasText: link }).first().click();
    };
    await follow('Boot a guest', 'Debug the Sample Guest');
    await at.page.locator('.tab').filter({ hasText: 'boot.S' }).waitFor();
    await follow('Break on a hypercall', 'Show the Hypercalls');
    await at.pane('Hypercalls').locator('.monaco-list-row').first().waitFor();
    await follow('Step into the hypervisor', 'Step Into');
    await eventually('a line further', at.frames, (list) => /49:/.test(list.join()));
    await walkthrough.waitFor();
    await at.shot('walkthrough');
    await at.debug('stop');
    await at.ended();
  });

  it('the command debugs the sample, also without a folder', async () => {
    const at = await open('no folder');
    await at.command('Hyperstep: Debug the Sample Guest');
    assert.match((await at.stopped()).join('\n'), /_start/);
    await at.debug('step-into');
    await eventually('a line further', at.frames, (list) => /49:/.test(list.join()));

    // Memory behind a register, and the disassembly around it.
    const rsp = at.page.locator('.debug-variables .monaco-list-row').filter({ hasText: /^rsp/ }).first();
    await rsp.hover();
    await rsp.locator('[aria-label="View Binary Data"]').waitFor();
    await at.command('Open Disassembly View');
    const disassembly = at.page.locator('.disassembly-view .monaco-list-row');
    await disassembly.filter({ hasText: 'call 0x' }).filter({ hasText: '<guest_main>' }).waitFor();
    await at.shot('7-disassembly');
    await at.debug('stop');
    await at.ended();

    await at.command('Developer: Show Running Extensions');
    const own = at.page
      .locator('.runtime-extensions-editor .monaco-list-row')
      .filter({ hasText: 'Hyperstep' })
      .first();
    const said = await own.innerText();
    const activation = Number(/Activation: (\d+)ms/.exec(said)?.[1]);
    console.log(`      activated in ${activation} ms, says VS Code`);
    assert.ok(activation < ACTIVATION_MS, said);
  });

  it('an extension host that is killed takes its machine along, and the next session is as the first', async () => {
    // Those of windows that were closed may stay for a while.
    const others = extensionHosts(server?.pid ?? 0);
    const hosts = (): Promise<number[]> =>
      Promise.resolve(extensionHosts(server?.pid ?? 0).filter((pid) => !others.includes(pid)));
    const at = await open('no folder');
    await at.command('Hyperstep: Debug the Sample Guest');
    await at.stopped();
    const [host] = await hosts();
    assert.ok(host !== undefined);
    process.kill(host, 'SIGKILL');
    await at.page
      .locator('.notification-toast')
      .filter({ hasText: /terminated unexpectedly/ })
      .first()
      .waitFor();
    await at.ended();
    // VS Code starts another.
    await eventually('another process', hosts, (pids) => pids.length === 1 && !pids.includes(host));
    await at.command('Hyperstep: Debug the Sample Guest');
    assert.match((await at.stopped()).join('\n'), /_start/);
    await at.debug('stop');
    await at.ended();
  });

  it('a kernel that is not there is named, and another can be chosen', async () => {
    const at = await open({ name: 'mine', kernel: 'build/kernel.elf', stopOnEntry: true });
    await at.start();
    const dialog = at.page.locator('.monaco-dialog-box');
    await dialog.waitFor();
    await at.shot('8-no-such-kernel');
    assert.match(await dialog.innerText(), /kernel: cannot read '.*build\/kernel\.elf'.*no such file/s);
    await dialog.locator('.monaco-button').filter({ hasText: 'Choose a Kernel' }).first().click();
    const name = at.page.locator('.quick-input-widget input').first();
    await at.page.locator('.quick-input-title').filter({ hasText: 'Which kernel?' }).waitFor();
    await at.quickPick().first().waitFor();
    await name.fill(SAMPLE);
    // The list of files takes its time to follow what was written.
    await at
      .quickPick()
      .filter({ hasText: path.basename(SAMPLE) })
      .first()
      .waitFor();
    await at.page.keyboard.press('Enter');
    assert.match((await at.stopped()).join('\n'), /_start/);
    await at.debug('stop');
    await at.ended();
  });

  it('a kernel in the explorer is debugged from its menu', async () => {
    const at = await open({ name: 'unused' });
    copyFileSync(SAMPLE, path.join(at.folder ?? '', 'mine.elf'));
    await at.menu(await at.inExplorer('mine.elf'), 'Debug This Kernel');
    await eventually('its console', at.terminal, (text) => text.includes(FAREWELL));
    await at.ended();
  });

  traceTests(open, () => opened);
  toolTests(open);
  stackTests(open);
  reviewTests(
    open,
    () => home ?? '',
    () => browser,
  );
  linuxTests(open, () => home ?? '');
  insideTests(vsix, () => browser);

  it('what is typed and pasted at the console reaches GRUB, and its answer comes back', async function () {
    const at = await open({ name: 'grub', kernel: guestPath('grub', this) });
    await at.start();
    const prompt = (text: string): number => text.split('grub>').length - 1;
    await eventually('the prompt', at.terminal, (text) => prompt(text) > 0, MINUTE);
    await at.page.locator('.terminal-wrapper.active .xterm-screen').click();
    await at.page.keyboard.type('echo typed here\n', { delay: 20 });
    await eventually('an answer', at.terminal, (text) => /^typed here/m.test(text));
    await at.page.keyboard.type('help\n', { delay: 20 });
    await eventually(
      'the list of commands, and a prompt',
      at.terminal,
      (text) => /^rmmod MODULE/m.test(text) && text.trimEnd().endsWith('grub>'),
    );
    await at.page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    const clipboard = `navigator.clipboard.writeText('echo pasted: here')`;
    await at.page.locator('body').evaluate(clipboard);
    await at.page.locator('.terminal-wrapper.active .xterm-screen').click();
    await at.page.keyboard.press('Control+Shift+V');
    await eventually('it is pasted', at.terminal, (text) => text.includes('echo pasted: here'));
    await at.page.keyboard.press('Enter');
    await eventually('an answer to that', at.terminal, (text) => /^pasted: here/m.test(text));
    await at.shot('9-grub');

    // It has no source lines: it stands in its instructions, with the registers, and a file is asked for.
    await at.debug('pause');
    await eventually('registers', at.variables, (list) => list.some((row) => /^rip/.test(row)));
    await at.page.locator('.disassembly-view .monaco-list-row').filter({ hasText: '0x' }).first().waitFor();
    const offer = at.page.locator('.notification-toast').filter({ hasText: 'has no source lines' }).first();
    await offer.locator('.monaco-button').filter({ hasText: 'Choose the File' }).first().click();
    await at.page
      .locator('.quick-input-title')
      .filter({ hasText: 'Debugging information of grub' })
      .waitFor();
    await at.page.keyboard.press('Escape');
    await at.debug('stop');
    await at.ended();
  });
});
