/** Which sources are steppable, and dist/probes.json, the table of their sites. */
import { cpSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { ProbeSite } from '../../src/base/probe-table';
import { instrument } from './instrument';

const root = path.join(__dirname, '..', '..');
export const sourceRoot = path.join(root, 'src');
export const PROBED = path.join(sourceRoot, 'hypervisor');
export const PROBE_MODULE = path.join(PROBED, 'probe');

/** The table, and beside it the sources it speaks of, for a person to step through. */
export function writeProbes(dist: string): void {
  const table: Record<string, readonly ProbeSite[]> = {};
  for (const name of readdirSync(PROBED, { recursive: true, encoding: 'utf8' }).sort()) {
    if (!name.endsWith('.ts')) continue;
    const file = `hypervisor/${name.split(path.sep).join('/')}`;
    const { sites } = instrument(file, readFileSync(path.join(PROBED, name), 'utf8'), './probe');
    if (sites.length > 0) table[file] = sites;
  }
  writeFileSync(path.join(dist, 'probes.json'), JSON.stringify(table));
  const sources = path.join(dist, 'source', 'hypervisor');
  rmSync(sources, { recursive: true, force: true });
  cpSync(PROBED, sources, { recursive: true });
}
