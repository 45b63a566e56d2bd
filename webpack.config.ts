import path from 'node:path';
import type { Configuration } from 'webpack';

const at = (name: string): string => path.join(__dirname, name);

/** @param bundles the files of src/, without `.ts`, that each start a bundle of dist/ */
export const webpackConfig = (bundles: readonly string[]): Configuration => ({
  mode: 'production',
  target: 'node20',
  entry: Object.fromEntries(bundles.map((name) => [name, at(`src/${name}.ts`)])),
  output: { path: at('dist'), filename: '[name].js', library: { type: 'commonjs2' } },
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
  cache: { type: 'filesystem', cacheDirectory: at('.cache/webpack') },
});
