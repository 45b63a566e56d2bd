import { existsSync } from 'node:fs';
import path from 'node:path';

const root = import.meta.dirname;

/** Bundles of dist/ by the file of src/ that each starts from. */
const bundles = ['extension', 'adapter', 'worker', 'cli'];

const entry = Object.fromEntries(
  bundles.map((name) => [name, path.join(root, 'src', `${name}.ts`)]).filter(([, file]) => existsSync(file)),
);

export default {
  mode: 'production',
  target: 'node20',
  entry,
  output: { path: path.join(root, 'dist'), filename: '[name].js', library: { type: 'commonjs2' } },
  resolve: { extensions: ['.ts', '.js'] },
  externals: { vscode: 'commonjs vscode' },
  // What lies beside a bundle in dist/ (interpret.wasm, iced_x86_bg.wasm, worker.js) is found by __dirname.
  node: { __dirname: false },
  module: {
    // Types are checked by `npm run typecheck`, once, rather than in every build.
    rules: [{ test: /\.ts$/, loader: 'ts-loader', options: { transpileOnly: true } }],
  },
  // The maps stay in the checkout; .vscodeignore keeps them out of the package.
  devtool: 'hidden-source-map',
  performance: { hints: false },
  cache: { type: 'filesystem', cacheDirectory: path.join(root, '.cache', 'webpack') },
  stats: 'errors-warnings',
};
