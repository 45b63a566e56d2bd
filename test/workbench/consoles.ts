import assert from 'node:assert/strict';
import type { Editor } from './editor';
import { eventually } from './editor';

/** A line with nothing but the shell's prompt. */
const PROMPT = /^\/ #\s*$/m;

/**
 * The terminals of a Linux guest that stands at its shell in the one in front and has one more console: typed at,
 * closed and asked for again, resized.
 */
export async function useConsoles(at: Editor): Promise<void> {
  const { page } = at;
  const screen = page.locator('.terminal-wrapper.active .xterm-screen');
  const tabs = page.locator('.tabs-list .monaco-list-row');
  const says = (what: string, holds: RegExp): Promise<string> =>
    eventually(what, at.terminal, (text) => holds.test(text));
  const type = async (text: string): Promise<void> => {
    await screen.click();
    await page.keyboard.type(text);
  };

  // A shell on the second console, and what is said there stays there.
  await type('setsid sh -c "exec sh -i < /dev/hvc1 > /dev/hvc1 2>&1" &\n');
  const second = tabs.filter({ hasText: /d1 console 1/ }).first();
  await second.waitFor();
  await second.click();
  await says('a shell on the second console', PROMPT);
  await type('echo second $((6 * 9))\n');
  await says('its answer', /^second 54$/m);
  await tabs
    .filter({ hasText: /d1 console(?! 1)/ })
    .first()
    .click();
  assert.doesNotMatch(await says('the first again', PROMPT), /^second 54$/m);

  // Closed, and asked for again, it has what was said before and meanwhile.
  await type('sleep 1; echo said meanwhile\n');
  await at.command('Terminal: Kill the Active Terminal Instance');
  await eventually(
    'one is left',
    () => tabs.count(),
    (count) => count < 2,
  );
  await new Promise((resolve) => setTimeout(resolve, 3000));
  await at.command('Hyperstep: Show the Guest Consoles');
  await tabs
    .filter({ hasText: /d1 console(?! 1)/ })
    .first()
    .click();
  assert.match(await says('what was said meanwhile', /^said meanwhile$/m), /^42$/m);

  // A Xen console has no size of its own; `resize` asks the terminal, whatever it is by then.
  let asked = 100;
  const size = async (): Promise<number> => {
    asked++;
    await type(`clear; resize; stty size; echo asked $((${asked} - 1))\n`);
    // Numbered, since what was said the time before is there until the screen has been cleared.
    const answer = new RegExp(`^(\\d+) \\d+\nasked ${asked - 1}$`, 'm');
    return Number(answer.exec(await says('its size', answer))?.[1]);
  };
  const rows = async (): Promise<number> =>
    page.locator('.terminal-wrapper.active .xterm-rows > div').count();
  const before = await size();
  assert.equal(before, await rows());
  await at.command('View: Toggle Maximized Panel');
  await eventually('more rows', rows, (count) => count > before);
  assert.equal(await size(), await rows());
  await at.shot('consoles');
  await at.command('View: Toggle Maximized Panel');
}
