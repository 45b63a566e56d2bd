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
import { createHasher } from './hash';
import type { DiskConfig } from './target';

export type { BlockFile } from '../devices/index';

/** Opens a file of the host; `writable` only where the user offered it for writing. Throws words for people. */
export type OpenFile = (path: string, writable: boolean) => BlockFile;

/** By what an image is known again. */
export interface ImageMark {
  /** Bytes. */
  readonly size: number;
  /** When it is the same, so are the contents. */
  readonly stamp: string | undefined;
  readonly hash: string;
}

/** The images behind a machine's disks, opened once. */
export interface OpenDisks {
  /**
   * @param domain its place in the configuration
   * @param marks by vdev, how the images were: one that is another is refused
   */
  open(domain: number, disks: readonly DiskConfig[], marks?: ReadonlyMap<string, ImageMark>): Disk[];
  /** As the image is now, below what the guest wrote; undefined for a drive without one. Reads all of it. */
  mark(domain: number, vdev: string): ImageMark | undefined;
  /** Closes every file that was opened. */
  dispose(): void;
}

const stores: Readonly<Record<DiskConfig['format'], (file: BlockFile, name: string) => BlockStore>> = {
  raw: (file) => rawStore(file),
  qcow2: (file, name) => qcow2Store(file, name, inflateRaw),
};

/** Of all of a file, without all of it in memory. */
function hashOf(file: BlockFile): string {
  const hasher = createHasher();
  const part = new Uint8Array(2 ** 20);
  for (let at = 0; at < file.size; at += part.length) {
    const length = Math.min(part.length, file.size - at);
    file.read(at, part.subarray(0, length));
    hasher.bytes(part.subarray(0, length));
  }
  return hasher.digest();
}

export function openDisks(openFile: OpenFile | undefined, log: Log): OpenDisks {
  const files: BlockFile[] = [];
  const images = new Map<string, BlockFile>();
  const keyOf = (domain: number, vdev: string): string => `${domain} ${vdev}`;
  let lastMarks = new Map<string, ImageMark>();

  function fileOf({ image, access }: DiskConfig): BlockFile {
    if ('bytes' in image) return memoryFile(image.bytes);
    if (openFile === undefined) throw new Error('there are no files here');
    const file = openFile(image.path, access === 'write-through');
    files.push(file);
    return file;
  }

  function markOf(file: BlockFile): ImageMark {
    const stamp = file.stamp?.();
    const known = stamp === undefined ? undefined : lastMarks.get(stamp);
    if (known !== undefined) return known;
    const mark = { size: file.size, stamp, hash: hashOf(file) };
    if (stamp !== undefined) lastMarks = new Map([...lastMarks, [stamp, mark]]);
    return mark;
  }

  function checkMark(file: BlockFile, wanted: ImageMark): void {
    if (wanted.stamp !== undefined && wanted.stamp === file.stamp?.()) return;
    const { size, hash } = markOf(file);
    if (size !== wanted.size)
      throw new Error(`it has ${size} bytes, and had ${wanted.size} when the machine was saved`);
    if (hash !== wanted.hash)
      throw new Error('its contents are not what they were when the machine was saved');
  }

  function storeOf(domain: number, config: DiskConfig, mark: ImageMark | undefined): BlockStore {
    const file = fileOf(config);
    images.set(keyOf(domain, config.vdev), file);
    if (mark !== undefined) checkMark(file, mark);
    const { format, access, image } = config;
    if (access === 'write-through' && (format !== 'raw' || file.write === undefined))
      throw new Error('only a raw image in a file can be written through to');
    if (format === 'raw' && isQcow2(file))
      log.warn(`${config.vdev}: ${image.name} looks like qcow2, and is taken as raw, since format says so`);
    return stores[format](file, image.name);
  }

  return {
    open: (domain, configs, marks) =>
      configs.map((config, i) => {
        const { vdev, access, cdrom, image } = config;
        try {
          const number = deviceNumber(vdev);
          if (configs.slice(0, i).some((other) => deviceNumber(other.vdev) === number))
            throw new Error('there is a disk of this name already');
          const store = image.name === '' ? emptyStore : storeOf(domain, config, marks?.get(vdev));
          return { vdev, access, cdrom, name: image.name, store };
        } catch (error) {
          throw new ImageError(
            `disk ${vdev}`,
            image.name,
            error instanceof Error ? error.message : String(error),
          );
        }
      }),
    mark(domain, vdev) {
      const file = images.get(keyOf(domain, vdev));
      return file === undefined ? undefined : markOf(file);
    },
    dispose() {
      for (const file of files.splice(0)) file.close();
    },
  };
}
