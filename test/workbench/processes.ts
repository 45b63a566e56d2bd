import { readdirSync, readFileSync } from 'node:fs';

const read = (pid: number, name: string): string => {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    // It has ended.
    return '';
  }
};

/** Processes that run extensions, among those that a server has started. */
export function extensionHosts(server: number): number[] {
  const parents = new Map(
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((name) => [Number(name), Number(/\) \S (\d+)/.exec(read(Number(name), 'stat'))?.[1] ?? 0)]),
  );
  const isOurs = (pid: number | undefined): boolean =>
    pid !== undefined && pid !== 0 && (pid === server || isOurs(parents.get(pid)));
  return [...parents.keys()].filter((pid) => isOurs(pid) && read(pid, 'cmdline').includes('extensionHost'));
}

/** MiB that a process has resident. */
export const resident = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(read(pid, 'status'))?.[1] ?? 0) / 1024;
