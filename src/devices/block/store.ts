/**
 * What a virtual disk keeps its sectors in. Everything here is synchronous: a request is complete when the back
 * end has served it, at a moment that the run determines and no host's disk does.
 */
import { SECTOR_SIZE } from './blkif';

/** Sectors are of 512 bytes. Callers keep within `sectors` and pass whole sectors. */
export interface BlockStore {
  readonly sectors: number;
  readonly readOnly: boolean;
  /** Fills `into`. Throws when the host cannot. */
  read(sector: number, into: Uint8Array): void;
  write(sector: number, bytes: Uint8Array): void;
  /** Returns when everything written will survive the end of this process and of the host. */
  flush(): void;
}

/** A file of the host, or what stands for one: bytes at positions. */
export interface BlockFile {
  /** Bytes. */
  readonly size: number;
  /** Text that is another whenever the contents may be; absent where nothing tells. */
  readonly stamp?: () => string;
  /** Fills `into` from `at`; what lies beyond the end reads as zero. */
  read(at: number, into: Uint8Array): void;
  /** Absent when the file was not offered for writing. */
  readonly write?: (at: number, bytes: Uint8Array) => void;
  /** Waits until what was written is on stable storage (fsync). */
  flush(): void;
  close(): void;
}

/** A file in memory; written in place. */
export function memoryFile(content: Uint8Array, writable = false): BlockFile {
  return {
    size: content.length,
    read(at, into) {
      const there = content.subarray(Math.min(at, content.length), at + into.length);
      into.set(there);
      into.fill(0, there.length);
    },
    ...(writable ? { write: (at: number, bytes: Uint8Array) => content.set(bytes, at) } : {}),
    flush: () => undefined,
    close: () => undefined,
  };
}

const readOnlyStore = (): never => {
  throw new Error('the store is read-only');
};

/** The sectors of a raw image. An end that is no whole sector reads as if zeroes followed. */
export function rawStore(file: BlockFile): BlockStore {
  const { write } = file;
  return {
    sectors: Math.ceil(file.size / SECTOR_SIZE),
    readOnly: write === undefined,
    read: (sector, into) => file.read(sector * SECTOR_SIZE, into),
    write: write === undefined ? readOnlyStore : (sector, bytes) => write(sector * SECTOR_SIZE, bytes),
    flush: () => file.flush(),
  };
}

/** A drive with nothing in it. */
export const emptyStore: BlockStore = {
  sectors: 0,
  readOnly: true,
  read: () => undefined,
  write: readOnlyStore,
  flush: () => undefined,
};
