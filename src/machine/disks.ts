import type { Log } from '../base/log';
import {
  deviceNumber,
  emptyStore,
  isQcow2,
  memoryFile,
  qcow2Store,
  rawStore,
  type BlockFile,
  type BlockStore,
  type Disk,
} from '../devices/index';
import { ImageError } from '../guest/error';
import { inflateRaw } from '../guest/decompress/inflate';
import type { DiskConfig } from './target';

export type { BlockFile } from '../devices/index';

/** Opens a file of the host; `writable` only where the user offered it for writing. Throws words for people. */
export type OpenFile = (path: string, writable: boolean) => BlockFile;

/** The images behind a machine's disks, opened once. */
export interface OpenDisks {
  open(disks: readonly DiskConfig[]): Disk[];
  /** Closes every file that was opened. */
  dispose(): void;
}

const stores: Readonly<Record<DiskConfig['format'], (file: BlockFile, name: string) => BlockStore>> = {
  raw: (file) => rawStore(file),
  qcow2: (file, name) => qcow2Store(file, name, inflateRaw),
};

export function openDisks(openFile: OpenFile | undefined, log: Log): OpenDisks {
  const files: BlockFile[] = [];

  function fileOf({ image, access }: DiskConfig): BlockFile {
    if ('bytes' in image) return memoryFile(image.bytes);
    if (openFile === undefined) throw new Error('there are no files here');
    const file = openFile(image.path, access === 'write-through');
    files.push(file);
    return file;
  }

  function storeOf(config: DiskConfig): BlockStore {
    const file = fileOf(config);
    const { format, access, image } = config;
    if (access === 'write-through' && (format !== 'raw' || file.write === undefined))
      throw new Error('only a raw image in a file can be written through to');
    if (format === 'raw' && isQcow2(file))
      log.warn(`${config.vdev}: ${image.name} looks like qcow2, and is taken as raw, since format says so`);
    return stores[format](file, image.name);
  }

  return {
    open: (configs) =>
      configs.map((config, i) => {
        const { vdev, access, cdrom, image } = config;
        try {
          const number = deviceNumber(vdev);
          if (configs.slice(0, i).some((other) => deviceNumber(other.vdev) === number))
            throw new Error('there is a disk of this name already');
          const store = image.name === '' ? emptyStore : storeOf(config);
          return { vdev, access, cdrom, name: image.name, store };
        } catch (error) {
          throw new ImageError(
            `disk ${vdev}`,
            image.name,
            error instanceof Error ? error.message : String(error),
          );
        }
      }),
    dispose() {
      for (const file of files.splice(0)) file.close();
    },
  };
}
