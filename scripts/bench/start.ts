/**
 * `npm run bench`: bundles run.ts as the shipped code is bundled, and runs it. From sources, through a loader, the
 * same code is up to half as fast again. BENCH_PROFILE=FOLDER keeps names and writes a processor profile there.
 *
 * For the group `trace`, traced.ts is bundled, too. For the group `probes`, crossing.ts is bundled twice: as everything else, and as the adapter's worker is, with a
 * probe before every statement of the hypervisor.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import webpack, { type Configuration } from 'webpack';
import { webpackConfig } from '../../webpack.config';
import { optionsOf } from './options';

const root = join(__dirname, '..', '..');
const dist = join(root, 'dist');
const [plain, worker] = webpackConfig([]);
const profile = process.env['BENCH_PROFILE'];
const options = process.argv.slice(2);
const bundle = (
  name: string,
  from: string,
  config: Configuration | undefined,
  minimize: boolean,
): Promise<string> =>
  new Promise((resolve, reject) => {
    const compiler = webpack({
      ...config,
      entry: { [name]: join(__dirname, from) },
      optimization: { splitChunks: false, minimize },
      // What it loads of dist/ lies beside it; its own pieces must not take the names of the product's.
      output: {
        path: dist,
        filename: '[name].js',
        chunkFilename: `${name}-[id].js`,
        library: { type: 'commonjs2' },
      },
      devtool: false,
    });
    compiler.run((failed, stats) => {
      if (stats?.hasErrors() === true) console.error(stats.toString('errors-only'));
      compiler.close((unclosed) => {
        const error =
          failed ?? unclosed ?? (stats?.hasErrors() === true ? new Error('webpack failed') : undefined);
        if (error) reject(error);
        else resolve(join(dist, `${name}.js`));
      });
    });
  });

void (async () => {
  const { groups } = optionsOf(options);
  try {
    const file = await bundle('bench', 'run.ts', plain, profile === undefined);
    if (groups.includes('trace')) await bundle('bench-traced', 'traced.ts', plain, profile === undefined);
    if (groups.includes('probes')) {
      // The worker's bundle is not minimised, so its peer is not either.
      await bundle('bench-crossing', 'crossing.ts', plain, false);
      await bundle('bench-crossing-probed', 'crossing.ts', worker, false);
    }
    const flags = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`];
    const { status } = spawnSync(process.execPath, [...flags, file, ...options], { stdio: 'inherit' });
    process.exitCode = status ?? 1;
  } finally {
    for (const file of readdirSync(dist)) if (/^bench\b.*\.js$/.test(file)) rmSync(join(dist, file));
  }
})().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
});
