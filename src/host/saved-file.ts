// The file of a saved machine on Node: written beside its name, and given the name when all of it is on disk.
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { Compression } from '../machine/saved/container';
import type { SaveSink, SavingHost } from '../machine/saved/saving';

/** Guest memory shrinks to a third by the fastest there is; trying harder costs seconds for a tenth more. */
const LEVEL = 1;

export const savedCompression: Compression = {
  deflate: (bytes) => deflateRawSync(bytes, { level: LEVEL }),
  // One byte more than wanted, so that data that are too long are an error, and no larger than that.
  inflate: (deflated, size) => inflateRawSync(deflated, { maxOutputLength: size + 1 }),
};

const PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such folder',
  ENOTDIR: 'a part of the path is not a folder',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'its file system is read-only',
  ENOSPC: 'no space is left on the device',
};

function inWords<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    const why = PROBLEMS[code] ?? (error instanceof Error ? error.message : String(error));
    throw new Error(`cannot write '${path}': ${why}`, { cause: error });
  }
}

/** The name itself is on disk only when its folder is; where folders cannot be opened (Windows) nobody can tell. */
function syncFolder(folder: string): void {
  let fd: number;
  try {
    fd = openSync(folder, 'r');
  } catch {
    return;
  }
  try {
    fsyncSync(fd);
  } catch {
    // Some file systems have no such thing.
  } finally {
    closeSync(fd);
  }
}

function create(path: string): SaveSink {
  return inWords(path, () => {
    if (existsSync(path) && !statSync(path).isFile()) throw new Error('it is not a plain file');
    const folder = dirname(path);
    const temporary = join(folder, `.${basename(path)}.${process.pid.toString()}.part`);
    // The guest's memory is in it: nobody else's business.
    const fd = openSync(temporary, 'w', 0o600);
    let open = true;
    const close = (): void => {
      if (open) closeSync(fd);
      open = false;
    };
    return {
      write: (bytes) => {
        inWords(path, () => {
          for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done, bytes.length - done);
        });
      },
      commit: () => {
        inWords(path, () => {
          fsyncSync(fd);
          close();
          renameSync(temporary, path);
          syncFolder(folder);
        });
      },
      abandon: () => {
        close();
        rmSync(temporary, { force: true });
      },
    };
  });
}

export const savingHost = (program: string): SavingHost => ({ ...savedCompression, program, create });
