import path from 'node:path';
import type { Configuration } from 'webpack';

const at = (name: string): string => path.join(__dirname, name);

/** Types are checked by `npm run typecheck`, once, rather than in every build. */
const typescript = { loader: 'ts-loader', options: { transpileOnly: true } };

const common = (name: string, bundles: readonly string[]): Configuration => ({
  name,
  mode: 'production',
  target: 'node20',
  entry: Object.fromEntries(bundles.map((bundle) => [bundle, at(`src/${bundle}.ts`)])),
  output: { path: at('dist'), filename: '[name].js', library: { type: 'commonjs2' } },
  resolve: { extensions: ['.ts', '.js'] },
  externals: { vscode: 'commonjs vscode' },
  // What lies beside a bundle in dist/ (interpret.wasm, iced_x86_bg.wasm, worker.js) is found by __dirname.
  node: { __dirname: false },
  module: { rules: [{ test: /\.ts$/, use: [typescript] }] },
  // The maps stay in the checkout; .vscodeignore keeps them out of the package.
  devtool: 'hidden-source-map',
  performance: { hints: false },
  cache: { type: 'filesystem', name, cacheDirectory: at('.cache/webpack') },
});

/**
 * The machine's worker: its hypervisor has a probe before each statement, for stepping through it. It is not
 * minimised, since that puts functions into one another, and a stack must be what the source says.
 */
const worker = (bundles: readonly string[]): Configuration => ({
  ...common('worker', bundles),
  module: {
    // One file, whose places dist/probes.json knows; parts of it are still set up only when they are imported.
    parser: { javascript: { dynamicImportMode: 'eager' } },
    rules: [
      { test: /\.ts$/, exclude: probed, use: [typescript] },
      { test: probed, use: [typescript, { loader: at('scripts/probes/loader.ts') }] },
    ],
  },
  optimization: { minimize: false },
});
const probed = (file: string): boolean =>
  file.startsWith(at('src/hypervisor') + path.sep) && !file.endsWith('probe.ts');

/** Bundles of their own. */
const APART: ReadonlySet<string> = new Set(['extension', 'unpack', 'compile']);

/**
 * Adapter, command line and what the extension loads with its first session are mostly the same code: it is in one
 * file, dist/core.js, which they require. The extension's own bundle, which the editor waits for, has no part in it,
 * nor have the threads that unpack kernels and compile, which are to start at once.
 */
const plain = (bundles: readonly string[]): Configuration => ({
  ...common('plain', bundles),
  optimization: {
    splitChunks: {
      chunks: (chunk) => !APART.has(chunk.name ?? ''),
      cacheGroups: {
        default: false,
        defaultVendors: false,
        core: { name: 'core', minChunks: 2, enforce: true },
      },
    },
  },
});

/** A webview's script: one file for a page, which has no Node. */
const page: Configuration = {
  ...common('pages', []),
  target: 'web',
  entry: { 'trace-page': at('media/trace/main.ts') },
  output: { path: at('dist'), filename: '[name].js' },
};

/** @param bundles the files of src/, without `.ts`, that each start a bundle of dist/ */
export const webpackConfig = (bundles: readonly string[]): Configuration[] => [
  plain(bundles.filter((bundle) => bundle !== 'worker')),
  worker(bundles.filter((bundle) => bundle === 'worker')),
  page,
];
