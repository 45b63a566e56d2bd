/**
 * kernels.c in Bochs (Debian packages bochs, bochsbios, vgabios): from a disk whose first sector loads the kernel
 * behind it, its first serial port on standard output. Debian builds Bochs with its debugger, which waits for a
 * command before the first instruction, and which makes it slower than it could be.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BarePeer } from './bare';

const SHARE = '/usr/share/bochs';
const ROMS = { romimage: join(SHARE, 'BIOS-bochs-latest'), vgaromimage: join(SHARE, 'VGABIOS-lgpl-latest') };
const SECTOR = 512;
/** What boot-sector.S reads. */
const KERNEL_BYTES = 64 * SECTOR;
const GEOMETRY = { cylinders: 20, heads: 16, spt: 63 };

/**
 * Bochs opens /dev/stdout for its serial port, which Linux refuses for a socket, and sockets are what Node gives a
 * process. The process remains the one that was started.
 */
const THROUGH_A_PIPE = 'exec "$0" "$@" > >(exec cat)';

const run = (command: string, args: readonly string[]): string => {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command}: ${stderr}`);
  return stdout;
};

/** The configuration of a machine with this multiboot kernel on its disk; all files stand beside the kernel. */
function makeMachine(
  sources: string,
  kernel: string,
): { readonly config: string; readonly commands: string } {
  const name = (suffix: string): string => `${kernel}.${suffix}`;
  const entry = /Entry point address: +(0x[0-9a-f]+)/.exec(run('readelf', ['-h', kernel]))?.[1];
  if (entry === undefined) throw new Error(`readelf gives no entry of ${kernel}`);
  const linking = [
    '-Wl,--build-id=none',
    '-Wl,-Ttext=0x7c00',
    '-Wl,--oformat=binary',
    '-nostdlib',
    '-static',
  ];
  const loader = join(sources, 'boot-sector.S');
  run('gcc', ['-m32', ...linking, `-DENTRY=${entry}`, '-o', name('boot'), loader]);
  run('objcopy', ['-O', 'binary', kernel, name('flat')]);
  const flat = readFileSync(name('flat'));
  if (flat.length > KERNEL_BYTES) throw new Error(`${kernel} has ${flat.length.toString()} bytes: too many for boot-sector.S`); // prettier-ignore
  // Of a run that was ended.
  rmSync(`${name('disk')}.lock`, { force: true });
  const disk = Buffer.alloc(GEOMETRY.cylinders * GEOMETRY.heads * GEOMETRY.spt * SECTOR);
  readFileSync(name('boot')).copy(disk);
  flat.copy(disk, SECTOR);
  writeFileSync(name('disk'), disk);
  const geometry = Object.entries(GEOMETRY).map(([key, value]) => `${key}=${value.toString()}`);
  const lines = [
    'config_interface: textconfig',
    // The one display of the package that needs neither a screen nor a terminal.
    'display_library: rfb, options="timeout=0"',
    'memory: guest=64, host=64',
    ...Object.entries(ROMS).map(([key, file]) => `${key}: file=${file}`),
    `ata0-master: type=disk, path=${name('disk')}, mode=flat, ${geometry.join(', ')}`,
    'boot: disk',
    'com1: enabled=1, mode=file, dev=/dev/stdout',
    `log: ${name('log')}`,
    'sound: waveoutdrv=dummy',
  ];
  writeFileSync(name('rc'), `${lines.join('\n')}\n`);
  writeFileSync(name('commands'), 'continue\n');
  return { config: name('rc'), commands: name('commands') };
}

export function findBochs(sources: string): BarePeer | string {
  const { error } = spawnSync('bochs', ['--help']);
  const absent = Object.values(ROMS).filter((file) => !existsSync(file));
  if (error !== undefined || absent.length > 0)
    return 'Bochs: the Debian packages bochs, bochsbios and vgabios are needed';
  return {
    key: 'bochs',
    name: 'Bochs, 32 bits',
    command: 'bash',
    once: true,
    args: (image) => {
      const { config, commands } = makeMachine(sources, image);
      return ['-c', THROUGH_A_PIPE, 'bochs', '-q', '-f', config, '-rc', commands];
    },
  };
}
