// Disk images as files of the host: read and written where they lie, since they can be larger than memory.
import { closeSync, fstatSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';
import type { BlockFile } from '../machine/disks';

const PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'there is no such file: a part of the path is not a directory',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EISDIR: 'it is a directory',
  EROFS: 'its file system is read-only',
};

function open(path: string, writable: boolean): number {
  try {
    return openSync(path, writable ? 'r+' : 'r');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    throw PROBLEMS[code] === undefined ? error : new Error(PROBLEMS[code], { cause: error });
  }
}

/**
 * @param writable opens it for writing too; without that the file is never changed
 * @throws Error that says in words why the file cannot be used
 */
export function openDiskFile(path: string, writable: boolean): BlockFile {
  const fd = open(path, writable);
  const what = fstatSync(fd);
  if (!what.isFile()) {
    closeSync(fd);
    throw new Error('it is not a plain file');
  }
  return {
    size: what.size,
    stamp: () => {
      const { dev, ino, size, mtimeNs, ctimeNs } = fstatSync(fd, { bigint: true });
      return [dev, ino, size, mtimeNs, ctimeNs].map((n) => n.toString(16)).join('-');
    },
    read(at, into) {
      let done = 0;
      while (done < into.length) {
        const count = readSync(fd, into, done, into.length - done, at + done);
        if (count === 0) break;
        done += count;
      }
      // Somebody cut it off meanwhile: that is a disk that fails, not one full of zeroes.
      if (done < into.length && at + done < what.size)
        throw new Error(`the file ends at byte ${at + done}; it had ${what.size} when it was opened`);
      into.fill(0, done);
    },
    ...(writable
      ? {
          write: (at: number, bytes: Uint8Array) => {
            let done = 0;
            while (done < bytes.length) {
              const count = writeSync(fd, bytes, done, bytes.length - done, at + done);
              if (count === 0) throw new Error(`nothing was written at byte ${at + done}`);
              done += count;
            }
          },
        }
      : {}),
    flush: () => {
      if (writable) fsyncSync(fd);
    },
    close: () => closeSync(fd),
  };
}
