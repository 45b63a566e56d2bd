import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import type { Locator, Page } from './browser';

/** Where the screenshots go; git ignores it. */
export const screenshots = path.join(__dirname, '..', '..', 'out', 'screenshots');

/** What takes longer than this will not happen any more. */
const SOON_MS = 20_000;

/** Sections of Hyperstep's own side bar. */
export const VIEWS: readonly string[] = [
  'Hypercalls',
  'Page Tables',
  'Domains',
  'Event Channels',
  'Grant Tables',
  'XenStore',
  'PV Devices',
];

/** Keeps asking until a check holds, and then what it last said is the message. */
export async function eventually<T>(
  what: string,
  read: () => Promise<T>,
  holds: (value: T) => boolean,
  timeoutMs = SOON_MS,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const value = await read();
    if (holds(value)) return value;
    if (Date.now() > deadline) assert.fail(`${what}; last seen: ${JSON.stringify(value)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** A window of the editor, spoken of as a person sees it. */
export interface Editor {
  readonly page: Page;
  readonly folder: string | undefined;
  readonly shot: (name: string) => Promise<void>;
  /** Of the side bar, without the rest of the window. */
  readonly sideBarShot: (name: string) => Promise<void>;
  /** Pulls the edge of the side bar to so many pixels from the window's. */
  readonly widen: (to: number) => Promise<void>;
  /** Runs a command of the palette by the whole of its title. */
  readonly command: (title: string) => Promise<void>;
  readonly quickPick: () => Locator;
  /** Writes into the input box or list that is called so, and takes it. */
  readonly answer: (text: string, title: string) => Promise<void>;
  /** F5, until something comes of it: the key is lost while the editor is still starting. */
  readonly start: () => Promise<void>;
  /** Shows a side bar by what its icon is called. */
  readonly sideBar: (title: 'Hyperstep' | 'Run and Debug') => Promise<void>;
  /** A section of the side bars; opened if it is closed. */
  readonly section: (title: string) => Promise<Locator>;
  /** The same, as it is. */
  readonly pane: (title: string) => Locator;
  readonly collapse: (title: string) => Promise<void>;
  /** A file in the explorer, which comes to the front. */
  readonly inExplorer: (name: string) => Promise<Locator>;
  readonly rows: (section: Locator, text?: string | RegExp) => Locator;
  /** Chooses from the menu of a row. */
  readonly menu: (row: Locator, item: string) => Promise<void>;
  /** Opens a row that has rows below it. */
  readonly expand: (row: Locator) => Promise<void>;
  readonly frames: () => Promise<string[]>;
  readonly variables: () => Promise<string[]>;
  /** Text of the terminal that is shown. */
  readonly terminal: () => Promise<string>;
  readonly debug: (
    action: 'continue' | 'step-into' | 'step-over' | 'stop' | 'restart' | 'pause',
  ) => Promise<void>;
  /** Standing at a place in the guest: there is a call stack. */
  readonly stopped: () => Promise<string[]>;
  /** Not debugging any more. */
  readonly ended: () => Promise<void>;
}

export async function openEditor(page: Page, url: string, folder: string | undefined): Promise<Editor> {
  page.setDefaultTimeout(SOON_MS);
  await page.goto(`${url}/${folder === undefined ? '?ew=true' : `?folder=${folder}`}`);
  await page.locator('.monaco-workbench .statusbar').waitFor({ timeout: 60_000 });

  const quickPick = (): Locator => page.locator('.quick-input-list .monaco-list-row');
  const toolbar = (action: string): Locator =>
    page.locator(`.debug-toolbar .codicon-debug-${action}`).first();
  const frames = async (): Promise<string[]> => {
    await editor.sideBar('Run and Debug');
    return page.locator('.debug-call-stack .stack-frame').allInnerTexts();
  };

  const headerOf = (title: string): Locator => page.locator(`.pane-header[aria-label^="${title}"]`).first();

  const editor: Editor = {
    page,
    folder,
    quickPick,
    frames,
    shot: async (name) => {
      mkdirSync(screenshots, { recursive: true });
      await page.screenshot({ path: path.join(screenshots, `${name}.png`) });
    },
    sideBarShot: async (name) => {
      const box = await page.locator('.part.sidebar').boundingBox();
      assert.ok(box);
      mkdirSync(screenshots, { recursive: true });
      await page.screenshot({ path: path.join(screenshots, `${name}.png`), clip: box });
    },
    widen: async (to) => {
      const box = await page.locator('.part.sidebar').boundingBox();
      assert.ok(box);
      await page.mouse.move(box.x + box.width, 700);
      await page.mouse.down();
      await page.mouse.move(to, 700, { steps: 5 });
      await page.mouse.up();
    },
    command: async (title) => {
      // What extensions contribute comes a while after the window.
      for (let tries = 0; ; tries++) {
        try {
          await page.keyboard.press('F1');
          // It closes again where something else takes the focus in that moment.
          await page.locator('.quick-input-widget input').first().fill(`>${title}`, { timeout: 4000 });
          await quickPick().filter({ hasText: title }).first().click({ timeout: 4000 });
          return;
        } catch (error) {
          if (tries === 4) throw error;
          await page.keyboard.press('Escape');
        }
      }
    },
    answer: async (text, title) => {
      await page.locator('.quick-input-title').filter({ hasText: title }).first().waitFor();
      await page.locator('.quick-input-widget input').first().fill(text);
      await page.keyboard.press('Enter');
    },
    start: async () => {
      const sign = page.locator('.quick-input-list .monaco-list-row, .debug-toolbar, .monaco-dialog-box');
      for (let tries = 0; ; tries++) {
        await page.keyboard.press('F5');
        try {
          await sign.first().waitFor({ timeout: 8000 });
          return;
        } catch (error) {
          if (tries === 4) throw error;
        }
      }
    },
    collapse: async (title) => {
      await editor.sideBar(VIEWS.includes(title) ? 'Hyperstep' : 'Run and Debug');
      const header = headerOf(title);
      await eventually(
        `${title} is closed`,
        async () => {
          if ((await header.getAttribute('aria-expanded')) === 'true')
            await header.locator('.title').first().click();
          return header.getAttribute('aria-expanded');
        },
        (expanded) => expanded !== 'true',
      );
    },
    sideBar: async (title) => {
      const item = page
        .locator('.activitybar .action-item')
        .filter({ has: page.locator(`[aria-label^="${title}"]`) });
      await item.first().waitFor();
      const isShown = async (): Promise<boolean> =>
        (await item.first().getAttribute('class'))?.includes('checked') === true;
      // A click on what is shown already closes it, and the editor may be about to show it by itself.
      await eventually(
        `${title} is shown`,
        async () => {
          if (!(await isShown())) {
            await item.first().click();
            await new Promise((resolve) => setTimeout(resolve, 300));
          }
          return isShown();
        },
        (shown) => shown,
      );
    },
    pane: (title) =>
      page.locator('.pane').filter({ has: page.locator(`.pane-header[aria-label^="${title}"]`) }),
    section: async (title) => {
      await editor.sideBar(VIEWS.includes(title) ? 'Hyperstep' : 'Run and Debug');
      const header = headerOf(title);
      await header.waitFor();
      if ((await header.getAttribute('aria-expanded')) !== 'true')
        await header.locator('.title').first().click();
      return editor.pane(title);
    },
    inExplorer: async (name) => {
      await editor.command('View: Show Explorer');
      const row = page.locator('.explorer-folders-view .monaco-list-row').filter({ hasText: name }).first();
      await row.waitFor();
      return row;
    },
    rows: (section, text) => {
      const all = section.locator('.monaco-list-row');
      return text === undefined ? all : all.filter({ hasText: text });
    },
    menu: async (row, item) => {
      await row.click({ button: 'right' });
      const entry = page.locator('.monaco-menu .action-label').filter({ hasText: item });
      await entry.waitFor();
      // Menus take no click in their first moments.
      await eventually(
        'the menu takes the click',
        async () => {
          if (await entry.isVisible()) await entry.click();
          return entry.isVisible();
        },
        (isOpen) => !isOpen,
      );
    },
    expand: async (row) => {
      if ((await row.getAttribute('aria-expanded')) === 'false')
        await row.locator('.monaco-tl-twistie').click();
    },
    variables: async () => {
      await editor.sideBar('Run and Debug');
      return page.locator('.debug-variables .monaco-list-row').allInnerTexts();
    },
    terminal: async () =>
      (await page.locator('.terminal-wrapper.active .xterm-rows > div').allInnerTexts()).join('\n'),
    debug: (action) => toolbar(action).click(),
    stopped: () => eventually('the machine stops', frames, (list) => list.length > 0),
    ended: async () => {
      await toolbar('stop').waitFor({ state: 'hidden' });
    },
  };
  return editor;
}
