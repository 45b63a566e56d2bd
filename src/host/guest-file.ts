// Files of which only parts are read: debug files, which are larger than what anyone wants in memory.
import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs';
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
