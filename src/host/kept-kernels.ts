/**
 * Kernels that were unpacked, on disk for the next launch: a file each, named by the hash of what it was unpacked from,
 * of the ELF file and its hash. Content by hash, so nothing depends on whether it is here; whatever goes wrong with the
 * disk, the kernel is unpacked.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

const HASH = 'sha256';
const HASH_BYTES = 32;
const ENDING = '.elf';
/** Of a file that is being written. */
const PART = '.part';
const MOST_KERNELS = 4;
const MOST_BYTES = 512 * 2 ** 20;
/** Milliseconds after which nobody writes any more what has not got its name. */
const ABANDONED = 3_600_000;
/** Bytes that are read at once. */
const PIECE = 4 * 2 ** 20;

/** Where programs keep what can be made again: XDG Base Directory Specification; Windows and macOS have their own. */
export function keptKernelsFolder(
  env: Readonly<Record<string, string | undefined>> = process.env,
  platform: string = process.platform,
  home: () => string = homedir,
): string {
  const given = env['XDG_CACHE_HOME'];
  // The specification has relative paths ignored.
  if (given?.startsWith('/') === true) return join(given, 'hyperstep', 'kernels');
  if (platform === 'win32')
    return join(env['LOCALAPPDATA'] ?? join(home(), 'AppData', 'Local'), 'hyperstep', 'kernels');
  if (platform === 'darwin') return join(home(), 'Library', 'Caches', 'hyperstep', 'kernels');
  return join(home(), '.cache', 'hyperstep', 'kernels');
}

const hashOf = (bytes: Uint8Array): Buffer => createHash(HASH).update(bytes).digest();

/** The file that a kernel is kept in, by what it is unpacked from. */
export const placeOf = (packed: Uint8Array, folder: string = keptKernelsFolder()): string =>
  join(folder, `${hashOf(packed).toString('hex')}${ENDING}`);

/**
 * What was unpacked before, in memory that threads share; undefined where it is not kept, or is not what was: such a
 * file is removed.
 * @param size of the kernel, bytes
 */
export async function keptKernel(place: string, size: number): Promise<Uint8Array | undefined> {
  try {
    const file = await open(place, 'r');
    try {
      const stored = new Uint8Array(HASH_BYTES);
      const there = (await file.stat()).size === size + HASH_BYTES;
      const bytes = new Uint8Array(new SharedArrayBuffer(there ? size : 0));
      const hash = createHash(HASH);
      for (let at = 0; at < bytes.length;) {
        const { bytesRead } = await file.read(bytes, at, Math.min(PIECE, bytes.length - at), at);
        if (bytesRead === 0) break;
        hash.update(bytes.subarray(at, at + bytesRead));
        at += bytesRead;
      }
      if (there) await file.read(stored, 0, HASH_BYTES, size);
      if (there && hash.digest().equals(stored)) {
        // What was used last stays longest.
        const now = new Date();
        await file.utimes(now, now).catch(() => undefined);
        return bytes;
      }
    } finally {
      await file.close();
    }
    rmSync(place, { force: true });
  } catch {
    // It is unpacked, as if it had never been here.
  }
  return undefined;
}

/** Writes what was unpacked, and lets go of what was not used for longest. */
export function keepKernel(place: string, bytes: Uint8Array): void {
  const part = `${place}.${process.pid.toString()}-${randomBytes(4).toString('hex')}${PART}`;
  try {
    mkdirSync(dirname(place), { recursive: true, mode: 0o700 });
    writeFileSync(part, bytes, { mode: 0o600 });
    writeFileSync(part, hashOf(bytes), { flag: 'a' });
    renameSync(part, place);
    tidy(dirname(place));
  } catch {
    // A home that cannot be written, a disk that is full: the next launch unpacks again.
    try {
      rmSync(part, { force: true });
    } catch {
      // It goes with the others that have been abandoned.
    }
  }
}

function tidy(folder: string): void {
  const files = readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    const what = statSync(path, { throwIfNoEntry: false });
    return what?.isFile() === true ? [{ path, name, size: what.size, used: what.mtimeMs }] : [];
  });
  const now = Math.max(...files.map(({ used }) => used));
  for (const { path, name, used } of files)
    if (name.endsWith(PART) && used < now - ABANDONED) rmSync(path, { force: true });
  let kept = 0;
  let bytes = 0;
  const kernels = files.filter(({ name }) => name.endsWith(ENDING)).sort((a, b) => b.used - a.used);
  for (const { path, size } of kernels) {
    kept++;
    bytes += size;
    if (kept > MOST_KERNELS || bytes > MOST_BYTES) rmSync(path, { force: true });
  }
}
