import type { LaunchArguments } from '../dap/protocol';

/** What the configuration names by a path. */
const PATHS = ['kernel', 'ramdisk', 'config'] as const;

export interface PathRules {
  isAbsolute(name: string): boolean;
  resolve(folder: string, name: string): string;
}

/** Paths relative to the workspace folder, as people write them, made absolute. */
export function withFolder(
  given: LaunchArguments,
  folder: string | undefined,
  rules: PathRules,
): Partial<LaunchArguments> {
  return Object.fromEntries(
    PATHS.flatMap((name) => {
      const value: unknown = given[name];
      return folder === undefined || typeof value !== 'string' || value === '' || rules.isAbsolute(value)
        ? []
        : [[name, rules.resolve(folder, value)]];
    }),
  );
}

/**
 * Why a configuration is not launched, with what helps against it; undefined when it may be. An untrusted
 * workspace chooses no file that is booted or read: there only the bundled sample runs.
 */
export function launchProblem(given: LaunchArguments, trusted: boolean): string | undefined {
  const named = PATHS.filter((name) => given[name] !== undefined);
  if (!trusted && named.length > 0) {
    return (
      `This workspace is not trusted, and its launch configuration names a file (${named.join(', ')}). ` +
      'Trust the workspace to boot it; the bundled sample guest can be debugged without that.'
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
