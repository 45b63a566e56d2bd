import type { DomainArguments, LaunchArguments } from '../dap/protocol';

/** What the configuration names by a path, or by several. */
const PATHS = ['kernel', 'ramdisk', 'config', 'restore', 'symbols'] as const;

/** What names files: those, and what has a path among other words. */
const FILES = [...PATHS, 'disks'] as const;
type Named = Partial<Record<(typeof FILES)[number], unknown>>;

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
  if (folder === undefined) return {};
  const domains: unknown = given.domains;
  const moved = {
    ...pathsWithFolder(given, folder, rules),
    ...(Array.isArray(domains) ? { domains: domains.map(ofDomain) } : {}),
  };
  return moved as Partial<LaunchArguments>;

  function ofDomain(one: unknown): unknown {
    if (typeof one !== 'object' || one === null) return one;
    return { ...one, ...pathsWithFolder(one, folder ?? '', rules) };
  }
}

function pathsWithFolder(given: Named, folder: string, rules: PathRules): Readonly<Record<string, unknown>> {
  const move = (value: unknown): unknown =>
    typeof value !== 'string' || value === '' || rules.isAbsolute(value)
      ? value
      : rules.resolve(folder, value);
  const paths = PATHS.flatMap((name) => {
    const value = given[name];
    const moved = Array.isArray(value) ? value.map(move) : move(value);
    return Array.isArray(value) || moved !== value ? [[name, moved] as const] : [];
  });
  const { disks } = given;
  return {
    ...Object.fromEntries(paths),
    ...(Array.isArray(disks) ? { disks: disks.map((disk) => diskWithFolder(disk, folder, rules)) } : {}),
  };
}

/** The names of what is about files, in the launch itself and in its domains, with what they are. */
function filesIn(given: LaunchArguments): { readonly name: string; readonly value: unknown }[] {
  const of = (one: DomainArguments | LaunchArguments, path: string) =>
    FILES.flatMap((name) => {
      const value = (one as Named)[name];
      return value === undefined ? [] : [{ name: `${path}${name}`, value }];
    });
  const domains: readonly DomainArguments[] = Array.isArray(given.domains) ? given.domains : [];
  return [...of(given, ''), ...domains.flatMap((one, i) => of(one, `domains[${i}].`))];
}

/**
 * Why a configuration is not launched, with what helps against it; undefined when it may be. An untrusted
 * workspace chooses no file that is booted or read. VS Code asks for trust before it gets here; this holds it to that.
 */
export function launchProblem(given: LaunchArguments, trusted: boolean): string | undefined {
  const named = filesIn(given);
  if (!trusted && named.length > 0) {
    return (
      `This workspace is not trusted, and its launch configuration names a file (${named.map(({ name }) => name).join(', ')}). ` +
      'Trust the workspace to boot it.'
    );
  }
  const empty = named.find(({ value }) => value === '')?.name;
  if (empty !== undefined) {
    return `“${empty}” is empty in the launch configuration. Give the path of a file, or leave “${empty}” out.`;
  }
  const { kernel, ramdisk, config } = given;
  return ramdisk !== undefined && kernel === undefined && config === undefined
    ? 'The launch configuration has a “ramdisk” and no “kernel” that takes it. Add “kernel”, or “config” with the path of an xl.cfg file.'
    : undefined;
}

/** Names that distributions and Linux's own build give to kernels. */
const LINUX = /^(vmlinu|bzImage)/;

/** What boots a file: a domain as its xl.cfg says, or a kernel by itself. */
export const fileConfiguration = (
  what: 'config' | 'kernel',
  file: string,
  name: string,
): LaunchArguments & { readonly type: string; readonly request: string; readonly name: string } => ({
  type: 'hyperstep',
  request: 'launch',
  name,
  [what]: file,
  // Without it Linux says nothing anywhere.
  ...(what === 'kernel' && LINUX.test(name) ? { cmdline: 'earlyprintk=xen console=hvc0' } : {}),
});
