// Files of which only parts are read: debug files, which are larger than what anyone wants in memory.
import { closeSync, existsSync, fstatSync, openSync, readSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { GuestFile } from '../guest/file';

/** Undefined when there is no such file. Throws for one that cannot be read. */
export function openForReading(path: string): GuestFile | undefined {
  if (!existsSync(path)) return undefined;
  const fd = openSync(path, 'r');
  const what = fstatSync(fd);
  if (!what.isFile()) {
    closeSync(fd);
    throw new Error(`'${path}' is not a plain file`);
  }
  return {
    name: path,
    size: what.size,
    read(offset, length) {
      const bytes = new Uint8Array(Math.max(0, Math.min(length, what.size - offset)));
      let done = 0;
      while (done < bytes.length) {
        const count = readSync(fd, bytes, done, bytes.length - done, offset + done);
        if (count === 0) break;
        done += count;
      }
      return bytes.subarray(0, done);
    },
    close: () => closeSync(fd),
  };
}

/** Paths of the files below a folder; undefined when there is no such folder. */
export function filesBelow(folder: string): string[] | undefined {
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) return undefined;
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name));
}
