// A loader for webpack, before ts-loader: probes into the hypervisor's sources.
import path from 'node:path';
import type { LoaderContext } from 'webpack';
import { instrument } from './instrument';
import { PROBE_MODULE, sourceRoot } from './table';

export default function probes(this: LoaderContext<unknown>, text: string): string {
  const file = path.relative(sourceRoot, this.resourcePath).split(path.sep).join('/');
  const module = path.relative(path.dirname(this.resourcePath), PROBE_MODULE).split(path.sep).join('/');
  return instrument(file, text, module.startsWith('.') ? module : `./${module}`).code;
}
