/**
 * Opens a trace of ten million records in the packaged extension, in the real workbench, and measures what a person
 * waits for: `npm run package && npx tsx test/workbench/large-trace.ts TRACE.ndjson [RECORDS]`. TRACE.ndjson is a real
 * one (`hyperstep trace IMAGE --format ndjson`), which is repeated with its times shifted. Prints figures for
 * docs/performance.md, waits to a tenth of a second; a file of ten million takes some 9 GB.
 */
import { mkdtempSync } from 'node:fs';
import path from 'node:path';
import type { Locator } from './browser';
import { runByHand } from './window';
import { eventually, openEditor } from './editor';
import { extensionHosts, resident } from './processes';
import { repeat } from './repeat';
import { choose, tracePage } from './trace';

const MINUTES = 60_000;
/** Of nothing that is done here. */
const FOREVER = 60 * MINUTES;

/** MiB that the extension host has resident. */
const extensionHost = (server: number): number => Math.max(0, ...extensionHosts(server).map(resident));

/** Frames while `step` is done at each of them for so many milliseconds: how far apart they were, and long tasks. */
const frames = (step: string): string => `async (body, ms) => {
  const scroller = body.querySelector('.scroller');
  const gaps = [], long = [];
  const observer = new PerformanceObserver((list) => list.getEntries().forEach((e) => long.push(e.duration)));
  observer.observe({ entryTypes: ['longtask'] });
  const start = performance.now();
  let last = start, blank = 0, drawn = 0;
  for (let i = 0; performance.now() - start < ms; i++) {
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    gaps.push(now - last);
    last = now;
    drawn++;
    if (body.querySelector('.record[aria-busy]')) blank++;
    (${step})(scroller, i);
  }
  observer.disconnect();
  gaps.sort((a, b) => a - b);
  const at = (share) => gaps[Math.min(gaps.length - 1, Math.floor(gaps.length * share))];
  return { frames: drawn, p50: at(0.5), p95: at(0.95), worst: at(1), long: long.length, blank: blank / drawn };
}`;
interface Frames {
  readonly frames: number;
  readonly p50: number;
  readonly p95: number;
  readonly worst: number;
  readonly long: number;
  readonly blank: number;
}
const told = ({ frames: n, p50, p95, worst, long, blank }: Frames): string =>
  `${n} frames, ${p50.toFixed(0)} ms apart (p95 ${p95.toFixed(0)}, worst ${worst.toFixed(0)}), ${long} tasks of over 50 ms, rows still to come in ${(blank * 100).toFixed(0)} %`;

/** Milliseconds from a wheel on the timeline to its new counts. */
const zoom = `(canvas, deltaY) => new Promise((resolve) => {
  const start = performance.now();
  const on = ({ data }) => {
    if (data.type !== 'reply' || data.value?.lanes === undefined) return;
    window.removeEventListener('message', on);
    requestAnimationFrame(() => resolve(performance.now() - start));
  };
  window.addEventListener('message', on);
  const box = canvas.getBoundingClientRect();
  canvas.dispatchEvent(new WheelEvent('wheel', { deltaY, clientX: box.left + box.width / 2, bubbles: true, cancelable: true }));
})`;

const say = (name: string, text: string): void => console.log(`${name.padEnd(34)} ${text}`);

runByHand({ width: 1500, height: 1000 }, async ({ home, server, page }) => {
  const [from, wanted = '10000000'] = process.argv.slice(2);
  if (from === undefined) throw new Error('which trace? see the head of this file');
  const file = path.join(home, 'large.ndjson');
  const count = await repeat(from, file, Number(wanted));
  const folder = mkdtempSync(path.join(home, 'folder-'));
  const at = await openEditor(page, server.url, folder);
  at.page.setDefaultTimeout(FOREVER);
  await at.command('Hyperstep: Open a Trace File…');
  await choose(at, file);
  const opened = performance.now();
  const since = (start: number): string => `${((performance.now() - start) / 1000).toFixed(2)} s`;
  const trace = tracePage(at);
  const body = trace.locator('body');
  const rows = trace.locator('.row.record:not([aria-busy])');
  const status = (): Promise<string> => trace.locator('#count').innerText();
  const until = (what: string, holds: (text: string) => boolean): Promise<string> =>
    eventually(what, status, holds, FOREVER);
  const measured = (step: string): Promise<Frames> =>
    body.evaluate<Frames>(`(${frames(step)})(document.body, 5000)`);
  const WHEEL = `(s) => s.dispatchEvent(new WheelEvent('wheel', { deltaY: 330, bubbles: true, cancelable: true }))`;
  const DRAG = `(s, i) => { s.scrollTop = (i % 200) / 200 * s.scrollHeight; }`;

  await rows.first().waitFor();
  say('first rows', since(opened));
  await eventually(
    'the timeline',
    () => trace.locator('#span').innerText(),
    (text) => / [1-9][\d,]* calls/.test(text),
    FOREVER,
  );
  say('first of the timeline', since(opened));
  say('turning the wheel while it is read', told(await measured(WHEEL)));
  await until('all of it', (text) => text !== '' && !text.includes('reading'));
  say('all read', since(opened));
  say('the extension host', `${extensionHost(server.pid).toFixed(0)} MiB`);

  const grid: Locator = trace.locator('.grid');
  await grid.click();
  const settled = async (key: string, holds: (line: number) => boolean): Promise<string> => {
    const start = performance.now();
    await at.page.keyboard.press(key);
    await eventually(
      key,
      async () => {
        const line = await trace.locator('.record[aria-selected="true"]:not([aria-busy])').allInnerTexts();
        return Number((line[0] ?? '-1').split(/\s/)[0]?.replaceAll(/\D/g, '') || -1);
      },
      holds,
      FOREVER,
    );
    return since(start);
  };
  say('to the end (End)', await settled('End', (n) => n >= count - 20));
  say('to the beginning (Home)', await settled('Home', (n) => n >= 0 && n < 20));
  const middle = performance.now();
  await body.evaluate(`{ const s = document.querySelector('.scroller'); s.scrollTop = s.scrollHeight / 2; }`);
  const [text = ''] = await eventually(
    'the middle',
    () => rows.allInnerTexts(),
    (list) => Math.abs(Number(list[0]?.split(/\t|\n/)[0]?.replaceAll(/\D/g, '')) / count - 0.5) < 0.2,
    FOREVER,
  );
  say('to the middle (the bar)', `${since(middle)}, at ${text.split(/\t|\n/)[0] ?? ''}`);
  say('turning the wheel', told(await measured(WHEEL)));
  say('dragging the bar over all of it', told(await measured(DRAG)));
  for (const deltaY of [-700, -700, -700, 2100])
    say(
      `timeline, wheel ${deltaY}`,
      `${(await body.evaluate<number>(`(${zoom})(document.querySelector('#timeline'), ${deltaY})`)).toFixed(0)} ms`,
    );
  for (const filter of [
    'refused',
    'mmu_update && time > 5s',
    'rip in xen_set_pte || refused',
    'sched_op && cmd == block',
  ]) {
    await trace.locator('#filter').fill('');
    await until('all again', (now) => !/ of /.test(now));
    const start = performance.now();
    await trace.locator('#filter').fill(filter);
    await until(filter, (now) => / of /.test(now) && !now.includes('…'));
    await trace.locator('#progress').waitFor({ state: 'hidden' });
    say(`filter ${filter}`, `${since(start)}: ${await status()}`);
  }
  const pageSize = `(performance.memory.usedJSHeapSize / 2 ** 20).toFixed(0) + ' MiB, ' + document.querySelectorAll('*').length + ' elements'`;
  say('the page', await body.evaluate<string>(pageSize));
  say('the extension host', `${extensionHost(server.pid).toFixed(0)} MiB`);
});
