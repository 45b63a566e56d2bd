/**
 * `npm run bench`: bundles run.ts as the shipped code is bundled, and runs it. From sources, through a loader, the
 * same code is up to half as fast again. BENCH_AS=worker bundles
 * it as the adapter's worker is, with a probe before every statement of the hypervisor. BENCH_PROFILE=FOLDER keeps names and writes a processor profile there.
 */
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import webpack from 'webpack';
import { webpackConfig } from '../../webpack.config';

const root = join(__dirname, '..', '..');
const [plain, worker] = webpackConfig([]);
const profile = process.env['BENCH_PROFILE'];

const bundled = (): Promise<void> =>
  new Promise((resolve, reject) => {
    const compiler = webpack({
      ...(process.env['BENCH_AS'] === 'worker' ? worker : plain),
      entry: { bench: join(__dirname, 'run.ts') },
      optimization: { splitChunks: false, minimize: profile === undefined },
      // What it loads of dist/ lies beside it.
      output: { path: join(root, 'dist'), filename: '[name].js', library: { type: 'commonjs2' } },
      devtool: false,
    });
    compiler.run((failed, stats) => {
      if (stats?.hasErrors() === true) console.error(stats.toString('errors-only'));
      compiler.close((unclosed) => {
        const error =
          failed ?? unclosed ?? (stats?.hasErrors() === true ? new Error('webpack failed') : undefined);
        if (error) reject(error);
        else resolve();
      });
    });
  });

void (async () => {
  const file = join(root, 'dist', 'bench.js');
  try {
    await bundled();
    const flags = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`];
    const { status } = spawnSync(process.execPath, [...flags, file, ...process.argv.slice(2)], {
      stdio: 'inherit',
    });
    process.exitCode = status ?? 1;
  } finally {
    rmSync(file, { force: true });
  }
})();
