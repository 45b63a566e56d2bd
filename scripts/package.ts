/**
 * Makes out/hyperstep.vsix and checks it: small, holding what it must and nothing else, and able to run away
 * from the checkout.
 */
import { createVSIX } from '@vscode/vsce';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { unzipSync } from 'fflate';

const root = path.join(__dirname, '..');
const vsix = path.join(root, 'out', 'hyperstep.vsix');

const sizeLimit = 3_000_000;

const required = [
  'package.json',
  'readme.md',
  'changelog.md',
  'LICENSE.txt',
  'dist/extension.js',
  'dist/adapter.js',
  'dist/worker.js',
  'dist/unpack.js',
  'dist/cli.js',
  'dist/core.js',
  'dist/trace-page.js',
  'media/trace/trace.css',
  'dist/interpret.wasm',
  'dist/iced_x86_bg.wasm',
  'dist/probes.json',
  'dist/source/hypervisor/hypercalls/mmu.ts',
  'media/icon.png',
];

/** What may be there. The sample guests and the hypervisor go out with their sources, for those are what one steps through. */
const allowed = [
  /^dist\/[\w-]+\.(js|wasm)$/,
  /^dist\/probes\.json$/,
  /^dist\/source\/hypervisor\/[\w./-]+\.(ts|md)$/,
  /^media\/(?!.*\.(ts|map|o)$)/,
  /^[\w.-]+\.(md|txt|json)$/,
];

function contents(): Map<string, Uint8Array> {
  const entries = Object.entries(unzipSync(readFileSync(vsix)));
  return new Map(
    entries
      .filter(([name]) => name.startsWith('extension/') && !name.endsWith('/'))
      .map(([name, bytes]) => [name.slice('extension/'.length), bytes]),
  );
}

function objections(files: ReadonlyMap<string, Uint8Array>): string[] {
  const size = statSync(vsix).size;
  const names = [...files.keys()];
  const samples = names.filter((name) => name.startsWith('media/samples/'));
  return [
    ...required.filter((name) => !files.has(name)).map((name) => `${name} is missing`),
    ...names
      .filter((name) => !allowed.some((rule) => rule.test(name)))
      .map((name) => `${name} does not belong`),
    ...(samples.some((name) => name.endsWith('.c')) ? [] : ['no sample guest with its source']),
    ...(samples.some((name) => name.endsWith('.elf')) ? [] : ['no built sample guest']),
    ...(size < sizeLimit ? [] : [`it has ${size} bytes, over the limit of ${sizeLimit}`]),
  ];
}

/** The bundles must need nothing from node_modules: run the command line where there is none. */
function runUnpacked(files: ReadonlyMap<string, Uint8Array>): void {
  const folder = mkdtempSync(path.join(tmpdir(), 'hyperstep-package-'));
  try {
    for (const [name, bytes] of files) {
      mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
      writeFileSync(path.join(folder, name), bytes);
    }
    execFileSync(process.execPath, [path.join(folder, 'dist', 'cli.js'), 'demo'], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'inherit'],
      timeout: 120_000,
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function main(): Promise<void> {
  mkdirSync(path.dirname(vsix), { recursive: true });
  // Everything is bundled, so there are no dependencies to pack.
  await createVSIX({
    cwd: root,
    packagePath: vsix,
    dependencies: false,
    allowMissingRepository: true,
    rewriteRelativeLinks: false,
  });
  const files = contents();
  const found = objections(files);
  if (found.length > 0) throw new Error(`${vsix}:\n  ${found.join('\n  ')}`);
  runUnpacked(files);
  console.log(`${vsix}: ${statSync(vsix).size} bytes, ${files.size} files`);
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
