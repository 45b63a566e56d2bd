// The sources of the hypervisor that lie beside the bundles, for stepping through them (see scripts/probes).
import { existsSync, readFileSync } from 'node:fs';
import { join, normalize, sep } from 'node:path';
import type { ProbeTable } from '../base/probe-table';
import type { HypervisorSources } from '../debugger/hypervisor-source';
import { noHypervisorSources } from '../debugger/hypervisor-source';

/** @param folder of the bundles: probes.json, and source/ with what it speaks of */
export function hypervisorSources(folder: string): HypervisorSources {
  const tableFile = join(folder, 'probes.json');
  if (!existsSync(tableFile)) return noHypervisorSources;
  let read: ProbeTable | undefined;
  // Only somebody who breaks or stops in there needs it.
  const table = (): ProbeTable => (read ??= JSON.parse(readFileSync(tableFile, 'utf8')) as ProbeTable);
  // In a checkout, people open the file that they are about to change.
  const roots = [join(folder, 'source'), join(folder, '..', 'src')];

  return {
    fileOf: (path) => {
      const given = normalize(path);
      const root = roots.find((one) => given.startsWith(one + sep));
      if (root === undefined) return undefined;
      const file = given
        .slice(root.length + 1)
        .split(sep)
        .join('/');
      return table()[file] === undefined ? undefined : file;
    },
    pathOf: (file) => roots.map((root) => join(root, ...file.split('/'))).find((path) => existsSync(path)),
    lineAt: (file, line) => {
      const lines = (table()[file] ?? []).map((site) => site.line).filter((one) => one >= line);
      return lines.length === 0 ? undefined : Math.min(...lines);
    },
    namesAt: (file, line) => [
      ...new Set((table()[file] ?? []).filter((site) => site.line === line).flatMap((site) => site.locals)),
    ],
  };
}
