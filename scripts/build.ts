/**
 * Builds dist/: the generated interpreter, the webpack bundles, and the WebAssembly that is loaded from beside
 * them. A step runs only when the content of its inputs changed, or what it made is not what it made any more, so
 * that `npm test` twice is quick.
 * `npm run build -- --force` runs them all.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import webpack from 'webpack';
import { webpackConfig } from '../webpack.config';
import { writeProbes } from './probes/table';

const root = path.join(__dirname, '..');
const at = (name: string): string => path.join(root, name);

interface Step {
  readonly name: string;
  /** Files and folders, relative to the checkout, whose content decides. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Further outputs, whose names only the run decides. */
  readonly parts?: () => readonly string[];
  readonly run: () => void | Promise<void>;
}

function node(...args: string[]): void {
  const { status, signal, error } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) throw new Error(`${args.join(' ')} ended with ${signal ?? `status ${status}`}`);
}

/** Parts of bundles are named by number. */
const numbered = (): string[] =>
  readdirSync(at('dist'))
    .filter((name) => /^\d+\.js(\.map)?$/.test(name))
    .map((name) => `dist/${name}`);

function bundle(): Promise<void> {
  // Those of an earlier build would stay, and be packed.
  for (const name of numbered()) rmSync(at(name));
  return new Promise((resolve, reject) => {
    const compiler = webpack(webpackConfig(bundles));
    compiler.run((failed, stats) => {
      if (stats?.hasErrors() || stats?.hasWarnings()) console.error(stats.toString('errors-warnings'));
      // Closing writes the cache; the build is not over before that.
      compiler.close((unclosed) => {
        const error = failed ?? unclosed ?? (stats?.hasErrors() ? new Error('webpack failed') : undefined);
        if (error) reject(error);
        else resolve();
      });
    });
  });
}

const disassembler = 'node_modules/iced-x86/iced_x86_bg.wasm';
// While the tree is growing, what is not there yet is named and left out; under CI=true nothing may be.
const complete = process.env['CI'] === 'true';
const bundles = ['extension', 'adapter', 'worker', 'unpack', 'compile', 'cli'].filter(
  (name) => complete || existsSync(at(`src/${name}.ts`)),
);

const steps: readonly Step[] = [
  {
    name: 'interpreter',
    inputs: ['scripts/generate-interpreter.ts', 'src/base', 'src/cpu'],
    outputs: ['dist/interpret.wasm'],
    run: () => {
      node('--import', 'tsx', 'scripts/generate-interpreter.ts');
    },
  },
  {
    name: 'bundles',
    inputs: [
      'webpack.config.ts',
      'tsconfig.json',
      'package-lock.json',
      'scripts/probes',
      'src',
      'media/trace',
    ],
    outputs: [...bundles, 'core', 'trace-page'].map((name) => `dist/${name}.js`),
    parts: numbered,
    run: bundle,
  },
  {
    name: 'probes',
    inputs: ['scripts/probes', 'src/hypervisor'],
    outputs: ['dist/probes.json', 'dist/source'],
    run: () => {
      writeProbes(at('dist'));
    },
  },
  {
    // The disassembler's loader reads this from beside the bundle that contains it.
    name: 'disassembler',
    inputs: [disassembler],
    outputs: ['dist/iced_x86_bg.wasm'],
    run: () => {
      copyFileSync(at(disassembler), at('dist/iced_x86_bg.wasm'));
    },
  },
];

function filesUnder(name: string): string[] {
  if (!statSync(at(name)).isDirectory()) return [name];
  return readdirSync(at(name), { recursive: true, encoding: 'utf8' })
    .map((file) => path.join(name, file))
    .filter((file) => statSync(at(file)).isFile())
    .sort();
}

function digest(names: readonly string[]): string {
  const hash = createHash('sha256');
  for (const file of names.flatMap(filesUnder)) {
    const content = readFileSync(at(file));
    hash.update(`${file}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex');
}

/** Contents that belong together: of what went into a step and of what came out. */
interface Stamp {
  readonly inputs: string;
  readonly outputs: string;
}

/** Of all that a step made; undefined when something of it is not there. */
function digestMade({ outputs, parts }: Step): string | undefined {
  const made = [...outputs, ...(parts?.() ?? [])];
  return made.every((file) => existsSync(at(file))) ? digest(made) : undefined;
}

async function build(force: boolean): Promise<void> {
  const stampFile = at('dist/.stamps.json');

  mkdirSync(at('dist'), { recursive: true });
  const stamps: Record<string, Stamp> =
    !force && existsSync(stampFile)
      ? (JSON.parse(readFileSync(stampFile, 'utf8')) as Record<string, Stamp>)
      : {};

  for (const step of steps) {
    const { name, inputs, outputs, run } = step;
    const absent = inputs.filter((input) => !existsSync(at(input)));
    if (!complete && (absent.length > 0 || outputs.length === 0)) {
      console.log(`build: ${name} left out: ${absent.join(', ') || 'its sources'} not in the tree yet`);
      continue;
    }
    const now = digest(inputs);
    const stamp = stamps[name];
    if (stamp?.inputs === now && stamp.outputs === digestMade(step)) continue;
    console.log(`build: ${name}`);
    await run();
    const made = digestMade(step);
    if (made === undefined) {
      const missing = outputs.filter((file) => !existsSync(at(file)));
      throw new Error(`build: ${name} did not make ${missing.join(', ')}`);
    }
    stamps[name] = { inputs: now, outputs: made };
    writeFileSync(stampFile, JSON.stringify(stamps));
  }
}

build(process.argv.includes('--force')).catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
