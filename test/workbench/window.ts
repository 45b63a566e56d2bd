import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { findWorkbench, type Workbench } from '../../scripts/workbench-install';
import type { Page } from './browser';
import { startBrowser } from './browser';
import { screenshots } from './editor';
import type { EditorServer } from './server';
import { startServer } from './server';

export const root = path.join(__dirname, '..', '..');
export const vsix = path.join(root, 'out', 'hyperstep.vsix');

/** Makes the .vsix of what is built. */
export function packageExtension(): void {
  const made = spawnSync(process.execPath, ['--import', 'tsx', 'scripts/package.ts'], {
    cwd: root,
    encoding: 'utf8',
  });
  assert.equal(made.status, 0, made.stderr.slice(-1000));
}

interface Size {
  readonly width: number;
  readonly height: number;
}

export interface Window {
  /** Everything that server and browser write. */
  readonly home: string;
  readonly server: EditorServer;
  readonly page: Page;
}

/** An empty page beside a server that has the packaged extension; all of it is gone when `act` is done. */
export async function inWindow(
  workbench: Workbench,
  viewport: Size,
  act: (window: Window) => Promise<void>,
): Promise<void> {
  const home = mkdtempSync(path.join(tmpdir(), 'hyperstep-window-'));
  try {
    const log = path.join(home, 'server.log');
    const server = await startServer(workbench, home, [vsix], { trust: true, log });
    try {
      const browser = await startBrowser(workbench.playwright, workbench.chromium, home);
      try {
        const page = await browser.newPage({ viewport });
        try {
          await act({ home, server, page });
        } catch (error) {
          mkdirSync(screenshots, { recursive: true });
          await page.screenshot({ path: path.join(screenshots, 'failed-window.png') });
          throw error;
        }
      } finally {
        await browser.close();
      }
    } finally {
      await server.stop();
    }
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

async function byHand(viewport: Size, act: (window: Window) => Promise<void>): Promise<void> {
  const workbench = findWorkbench();
  if (typeof workbench === 'string') throw new Error(workbench);
  if (!existsSync(vsix)) throw new Error(`${vsix}: npm run package makes it`);
  await inWindow(workbench, viewport, act);
}

/** For the programs of this folder that are no tests. */
export function runByHand(viewport: Size, act: (window: Window) => Promise<void>): void {
  byHand(viewport, act).catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  });
}
