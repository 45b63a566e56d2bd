import type { LaunchArguments } from '../dap/protocol';

/** What the configuration names by a path. */
const PATHS = ['kernel', 'ramdisk', 'config'] as const;

/** What names files: those, and what has a path among other words. */
const FILES = [...PATHS, 'disks'] as const;

export interface PathRules {
  isAbsolute(name: string): boolean;
  resolve(folder: string, name: string): string;
}

/** A disk's words before its target, the target, and the words after it (xl-disk-configuration(5)). */
const DISK = /^((?:[^,]*,)*?\s*target\s*=\s*)(.*)()$|^()([^,=]*)(.*)$/i;
/** `file:` and the like, and Windows drives. */
const PREFIXED = /^[a-z0-9]+:/i;

function diskWithFolder(disk: unknown, folder: string, rules: PathRules): unknown {
  if (typeof disk !== 'string') return disk;
  const [, before1, target1, , before2, target2, after2 = ''] = DISK.exec(disk) ?? [];
  const target = target1 ?? target2 ?? '';
  return target === '' || rules.isAbsolute(target) || PREFIXED.test(target)
    ? disk
    : `${before1 ?? before2 ?? ''}${rules.resolve(folder, target)}${after2}`;
}

/** Paths relative to the workspace folder, as people write them, made absolute. */
export function withFolder(
  given: LaunchArguments,
  folder: string | undefined,
  rules: PathRules,
): Partial<LaunchArguments> {
  const disks: unknown = given.disks;
  const moved =
    folder !== undefined && Array.isArray(disks)
      ? { disks: disks.map((disk) => diskWithFolder(disk, folder, rules)) }
      : {};
  const paths = Object.fromEntries(
    PATHS.flatMap((name) => {
      const value: unknown = given[name];
      return folder === undefined || typeof value !== 'string' || value === '' || rules.isAbsolute(value)
        ? []
        : [[name, rules.resolve(folder, value)]];
    }),
  );
  return { ...paths, ...moved } as Partial<LaunchArguments>;
}

/**
 * Why a configuration is not launched, with what helps against it; undefined when it may be. An untrusted
 * workspace chooses no file that is booted or read. VS Code asks for trust before it gets here; this holds it to that.
 */
export function launchProblem(given: LaunchArguments, trusted: boolean): string | undefined {
  const named = FILES.filter((name) => given[name] !== undefined);
  if (!trusted && named.length > 0) {
    return (
      `This workspace is not trusted, and its launch configuration names a file (${named.join(', ')}). ` +
      'Trust the workspace to boot it.'
    );
  }
  const empty = named.find((name) => given[name] === '');
  if (empty !== undefined) {
    return `“${empty}” is empty in the launch configuration. Give the path of a file, or leave “${empty}” out.`;
  }
  const { kernel, ramdisk, config } = given;
  return ramdisk !== undefined && kernel === undefined && config === undefined
    ? 'The launch configuration has a “ramdisk” and no “kernel” that takes it. Add “kernel”, or “config” with the path of an xl.cfg file.'
    : undefined;
}
