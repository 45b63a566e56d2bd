import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { findWorkbench, type Workbench } from '../../scripts/workbench-install';
import { skipBecause } from '../support/skip';
import { eventually, openEditor } from './editor';
import { tracePage } from './trace';
import { inWindow, packageExtension, root } from './window';

// The shortest way through the extension, in the oldest VS Code that package.json admits. All tests of this folder run
// there, too: HYPERSTEP_WORKBENCH=floor.

const MINUTE = 60_000;

const versionIn = (file: string): string => {
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { readonly version: string };
  return version;
};

describe('in the oldest workbench that package.json admits', function () {
  this.timeout(4 * MINUTE);
  let workbench: Workbench | undefined;

  before(function () {
    const found = findWorkbench('floor');
    if (typeof found === 'string') skipBecause(this, found);
    workbench = found;
    packageExtension();
  });

  it('is that version', () => {
    assert.ok(workbench);
    const { engines } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
      readonly engines: { readonly vscode: string };
    };
    const version = versionIn(path.join(workbench.server, '../../../lib/vscode/package.json'));
    assert.equal(`^${version.replace(/\d+$/, '0')}`, engines.vscode);
  });

  it('F5 boots the sample; a hypercall, the hypervisor’s source, page tables, the trace, the console', async () => {
    assert.ok(workbench);
    await inWindow(workbench, { width: 1500, height: 1400 }, async ({ server, page }) => {
      const { rows, section, ...at } = await openEditor(page, server.url, undefined);
      await at.start();
      assert.match((await at.stopped()).join('\n'), /_start/);

      const update = rows(await section('Hypercalls'), /^mmu_update/).first();
      await update.locator('.monaco-custom-toggle').click();
      await rows(await section('Breakpoints'), 'hypercall:mmu_update').waitFor();
      await at.debug('continue');
      await eventually('it stops in mmu_update', at.frames, (list) =>
        list.some((frame) => frame.includes('hypercall mmu_update')),
      );
      await at.debug('step-into');
      await eventually('the handler', at.frames, ([top = '']) => /^mmu_update\.run \(hypervisor\)/.test(top));
      await page.locator('.tab.active').filter({ hasText: 'mmu.ts' }).waitFor();
      await rows(await section('Page Tables'), /0xffffff8000000000/)
        .first()
        .waitFor();

      await at.command('Hyperstep: Open the Hypercall Trace');
      const trace = tracePage(at);
      // The last that has ended.
      await trace.locator('.row.current').filter({ hasText: 'event_channel_op.send' }).waitFor();
      await trace.locator('#filter').fill('console_io');
      await eventually(
        'the filtered',
        () => trace.locator('#count').innerText(),
        (text) => /^\d+ of \d+ records$/.test(text),
      );
      await eventually('the console', at.terminal, (text) => text.includes('console: PV console ring open'));
      await at.debug('stop');
      await at.ended();
    });
  });
});
