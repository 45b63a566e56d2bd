/**
 * Debian's kernel at its shell without the boot: it boots once, is saved into .cache, and goes on from there for
 * every test that wants it, as long as neither the machine's sources nor the guest change.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeDisk, makeInitramfs, whyNoDisk } from '../../scripts/make-initramfs';
import { inProcessTarget } from '../../src/host/machine';
import type { DomainConfig, RunUntil, Stop, Target } from '../../src/machine/target';
import { guestPath } from './guests';
import { domain, plain, watched } from './machines';

const MIB = 2 ** 20;
const root = join(__dirname, '..', '..');
const cache = join(root, '.cache', 'saved');
/** What decides how a machine runs and what its file means. */
const DECIDING = ['base', 'abi', 'guest', 'cpu', 'hypervisor', 'devices', 'machine'].map((layer) =>
  join(root, 'src', layer),
);

export interface LinuxShell {
  readonly target: Target;
  /** All that the console showed since the machine was at hand, without escape sequences. */
  console(): string;
  /** Types a command line; @returns what it printed, when its end is there. Fails when the machine ends before. */
  say(command: string): Promise<string>;
  /** Runs until the console shows `text`, or something else ends the run. */
  until(text: RegExp, more?: RunUntil): Promise<Stop | undefined>;
}

export interface ShellOptions {
  /** Default 1. */
  readonly vcpus?: number;
  /** In MiB; default 256. */
  readonly memory?: number;
}

/** Instructions between two looks at the console. */
const LOOK = 2_000_000n;
/** More than the slowest boot with four vCPUs: a guest that hangs shall not hang the tests. */
const MOST = 20_000_000_000n;

function sourcesHash(): string {
  const hash = createHash('sha256');
  for (const folder of DECIDING) {
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.ts'));
    for (const file of files.sort())
      hash
        .update(file)
        .update('\0')
        .update(readFileSync(join(folder, file)));
  }
  return hash.digest('hex');
}

/** An ext4 disk of 4 MiB with one file on it, or none where there is no tool to make one. */
function diskOf(): Uint8Array | undefined {
  if (whyNoDisk() !== undefined) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'shell-disk-'));
  try {
    const path = join(folder, 'disk.ext4');
    makeDisk(path, { hello: new TextEncoder().encode('hello from the disk\n') }, 4);
    return readFileSync(path);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function configOf(kernel: string, { vcpus = 1, memory = 256 }: ShellOptions): DomainConfig {
  const disk = diskOf();
  return domain(kernel, {
    name: 'linux',
    ramdisk: {
      name: 'initrd',
      bytes: makeInitramfs('while :; do setsid cttyhack sh; done'),
    },
    cmdline: 'console=hvc0 quiet',
    memory: memory * MIB,
    vcpus,
    ...(disk === undefined
      ? {}
      : {
          disks: [
            {
              vdev: 'xvda',
              image: { name: 'disk', bytes: disk },
              format: 'raw',
              access: 'overlay',
              cdrom: false,
            },
          ],
        }),
  });
}

export function shellOf(target: Target): LinuxShell {
  const seen = watched(target);
  let commands = 0;
  const shell: LinuxShell = {
    target,
    console: () => plain(seen.console()),
    async until(text, more = {}) {
      for (let ran = 0n; !text.test(shell.console()); ran += LOOK) {
        if (ran > MOST) throw new Error(`no ${String(text)} in ${MOST} instructions:\n${shell.console()}`);
        const stop = await target.run({
          instructions: LOOK,
          skipUpcalls: false,
          stopWhenIdle: true,
          ...more,
        });
        if (stop.reason.kind !== 'step') return stop;
      }
      return undefined;
    },
    async say(command) {
      const id = ++commands;
      // The quotes keep the echo of what is typed from being taken for what it says.
      const typed = `echo "B"EGIN${id}; ${command}; echo "E"ND${id}.$?\n`;
      await target.consoleInput(1, new TextEncoder().encode(typed));
      const begin = `BEGIN${id}\n`;
      const end = new RegExp(`^END${id}\\.(\\d+)$`, 'm');
      const stop = await shell.until(end);
      const text = shell.console();
      assert.equal(stop, undefined, `'${command}' did not end:\n${text}`);
      return text.slice(text.indexOf(begin) + begin.length, text.search(end));
    },
  };
  return shell;
}

/** The files are there for the tests that measure; everybody else asks for the shell itself. */
export async function linuxShellFile(test: { skip(): never }, options: ShellOptions = {}): Promise<string> {
  const kernel = guestPath('linux', test);
  guestPath('busybox', test);
  const { vcpus = 1, memory = 256 } = options;
  const scripts = readFileSync(join(root, 'scripts', 'make-initramfs.ts'));
  const key = createHash('sha256')
    .update(sourcesHash())
    .update(readFileSync(kernel))
    .update(scripts)
    .update(readFileSync(__filename))
    .digest('hex')
    .slice(0, 16);
  const kind = `linux-${vcpus}x-${memory}M-`;
  const path = join(cache, `${kind}${key}.hys`);
  if (existsSync(path)) return path;
  mkdirSync(cache, { recursive: true });
  for (const old of readdirSync(cache)) if (old.startsWith(kind)) rmSync(join(cache, old), { force: true });
  const target = await inProcessTarget({ domains: [configOf(kernel, options)] });
  try {
    const shell = shellOf(target);
    const stop = await shell.until(/^\/ # $/m);
    assert.equal(stop, undefined, shell.console());
    await shell.say('true');
    await target.save(path);
  } finally {
    await target.dispose();
  }
  return path;
}

/** A machine of the test's own, at the prompt. `this.timeout` has to leave room for a boot. */
export async function linuxAtShell(test: { skip(): never }, options: ShellOptions = {}): Promise<LinuxShell> {
  const path = await linuxShellFile(test, options);
  return shellOf(await inProcessTarget({ domains: [], saved: { path } }));
}
