import assert from 'node:assert/strict';
import { copyFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { guestPath } from '../support/guests';
import type { Locator } from './browser';
import type { Editor } from './editor';
import { eventually } from './editor';
import { tracePage } from './trace';

const NEIGHBOURS = path.join(__dirname, '..', '..', 'media', 'samples', 'neighbours');
const MINUTE = 60_000;
/** Where the trace has to be of use: beside an editor, on a small screen. */
const NARROW = 500;

/** @param open a window on a folder with this launch.json, or on none */
export function stackTests(open: (launch: object | 'no folder') => Promise<Editor>): void {
  it('one vCPU goes on alone, from both menus; the trace goes with the stack, in a narrow panel, too', async () => {
    const at = await open({ name: 'two', config: ['giver.cfg', 'taker.cfg'], stopOnEntry: true });
    const { page, rows, section, expand } = at;
    for (const name of ['neighbours.elf', 'giver.cfg', 'taker.cfg'])
      copyFileSync(path.join(NEIGHBOURS, name), path.join(at.folder ?? '', name));
    await at.start();
    await at.stopped();
    const calls = await section('Hypercalls');
    await rows(calls, /^console_io/)
      .first()
      .locator('.monaco-custom-toggle')
      .click();
    const breakpoints = await section('Breakpoints');
    await rows(breakpoints, 'hypercall:console_io').waitFor();
    for (const title of ['Watch', 'Breakpoints']) await at.collapse(title);

    // The first domain: from the call stack. The second stays where it was.
    const thread = (domain: number): Locator =>
      page
        .locator('.debug-call-stack .monaco-list-row')
        .filter({ hasText: new RegExp(`^d${domain} `) })
        .first();
    await thread(1).waitFor();
    await at.shot('two-domains');
    await at.menu(thread(1), 'Continue Only This vCPU');
    await eventually('it is in the call', at.frames, (list) => list.join().includes('hypercall console_io'));
    const domains = await section('Domains');
    const vcpu = (domain: number): Locator => rows(domains, new RegExp(`^d${domain}v0`)).first();
    for (const id of [1, 2]) await expand(rows(domains, new RegExp(`^d${id} `)).first());
    assert.match(await vcpu(2).innerText(), / 0 instructions/);
    const before = await vcpu(1).innerText();
    assert.doesNotMatch(before, / 0 instructions/);

    // The other: from Domains.
    await at.menu(vcpu(2), 'Continue Only This vCPU');
    await eventually(
      'the other has moved',
      () => vcpu(2).innerText(),
      (text) => / [1-9]\d* instructions/.test(text),
    );
    const count = / \d+ instructions/;
    assert.equal(count.exec(await vcpu(1).innerText())?.[0], count.exec(before)?.[0]);

    // The trace is where the thread is that is selected, whichever that is.
    await at.command('Hyperstep: Open the Hypercall Trace');
    const trace = tracePage(at);
    const current = trace.locator('.row.record.current');
    for (const domain of [1, 2, 1]) {
      await at.sideBar('Run and Debug');
      await thread(domain).click();
      await expand(thread(domain));
      await eventually(
        `the last of d${domain}`,
        async () => (await current.allInnerTexts()).join(),
        (text) => text.includes(`d${domain}v0`),
      );
    }

    // Narrow: nothing that tells one call from the next is out of sight.
    await at.sideBar('Hyperstep');
    await at.widen(1500 - NARROW);
    const width = await eventually(
      'it is narrow',
      () => trace.locator('body').evaluate<number>('document.documentElement.clientWidth'),
      (px) => px < NARROW + 60,
    );
    const result = trace.locator('.row.head > span').filter({ hasText: 'Result' });
    await eventually(
      'the last column is inside',
      async () => {
        const [box, body] = await Promise.all([result.boundingBox(), trace.locator('body').boundingBox()]);
        return box === null || body === null ? Infinity : box.x + box.width - body.x;
      },
      (right) => right <= width,
    );
    await current.first().click();
    await page.keyboard.press('Enter');
    await trace.locator('.row.detail').first().waitFor();
    await at.shot('trace-narrow');
    await at.debug('stop');
    await at.ended();
  });

  it('launch.json is completed: what a configuration can have, said what it is, and configurations', async () => {
    const at = await open({ name: 'mine' });
    const { page } = at;
    const file = path.join(at.folder ?? '', '.vscode', 'launch.json');
    writeFileSync(
      file,
      '{\n  "version": "0.2.0",\n  "configurations": [\n    {\n      "type": "hyperstep",\n      "request": "launch",\n      "name": "mine",\n      \n    }\n  ]\n}\n',
    );
    await at.sideBar('Run and Debug');
    await page.locator('.part.sidebar [aria-label*="launch.json"]').first().click();
    await page.locator('.tab.active').filter({ hasText: 'launch.json' }).waitFor();
    const suggestions = page.locator('.suggest-widget.visible .monaco-list-row');
    const goTo = async (line: number, column: number): Promise<void> => {
      await page.keyboard.press('Escape');
      await page.keyboard.press('Control+g');
      await page.locator('.quick-input-widget input').first().fill(`:${line}:${column}`);
      await at
        .quickPick()
        .filter({ hasText: /go to line/i })
        .first()
        .click();
    };
    const offered = async (line: number, column: number, prefix: string, what: RegExp): Promise<string> => {
      await goTo(line, column);
      if (prefix !== '') await page.keyboard.type(prefix, { delay: 20 });
      const list = await eventually(
        `${what.source} is offered`,
        async () => {
          if (!(await suggestions.first().isVisible())) await page.keyboard.press('Control+Space');
          await new Promise((resolve) => setTimeout(resolve, 500));
          return suggestions.allInnerTexts();
        },
        (texts) => texts.some((text) => what.test(text)),
      );
      return list.join('\n');
    };
    // Its attributes by their beginnings, with what is said of them.
    await offered(8, 7, '"kern', /^kernel/);
    const details = page.locator('.suggest-details-container, .suggest-details').first();
    if (!(await details.isVisible())) await page.keyboard.press('Control+Space');
    await eventually(
      'what it is',
      async () => ((await details.isVisible()) ? details.innerText() : ''),
      (text) => text.includes('an ELF file or a bzImage'),
    );
    await at.shot('launch-attribute');
    await page.keyboard.press('Escape');
    await page.keyboard.press('Control+z');
    await offered(8, 7, '', /^cmdline/);

    // Whole configurations, where one begins.
    await page.keyboard.press('Escape');
    const all = await offered(3, 22, '', /^Hyperstep: sample guest/);
    for (const name of ['kernel', 'xl.cfg', 'several domains'])
      assert.ok(all.includes(`Hyperstep: ${name}`), all);
    await at.shot('launch-snippets');
    await page.keyboard.press('Escape');
  });

  it("what takes long says so: Debian's kernel, while its machine is made", async function () {
    this.timeout(3 * MINUTE);
    const kernel = guestPath('linux', this);
    const at = await open({ name: 'linux', kernel, cmdline: 'console=hvc0', stopOnEntry: true });
    const notice = at.page.locator('.notification-toast');
    const booting = eventually(
      'it says that it boots, and what it is at',
      async () => (await notice.allInnerTexts()).join(),
      (text) => /Booting.*(?:kernel|domain|symbols)/s.test(text),
      MINUTE,
    );
    // The tool bar may be there only when it is over.
    await Promise.all([at.start(), booting]);
    await at.shot('progress-booting');
    await eventually('it stands at its entry', at.frames, (list) => list.length > 0, MINUTE);
    await notice.filter({ hasText: 'Booting' }).first().waitFor({ state: 'detached' });
    await at.debug('stop');
    await at.ended();
  });
}
