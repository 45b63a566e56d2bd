import { PAGE_SIZE } from '../../cpu/types';
import type { OpenDisks, OpenFile } from '../disks';
import { createHasher } from '../hash';
import type { DiskConfig, DomainConfig } from '../target';
import type { About, FileMark, SavedDisk, SavedDomain, SavedImage } from './contents';

/** What a machine was made from, as a file about it says; asked when it is saved. */
export type Origin = () => {
  readonly domains: readonly SavedDomain[];
  /** The images that are no files, which have to go along. */
  readonly images: readonly SavedImage[];
};

/** By which contents are known again. */
export function hashOfBytes(bytes: Uint8Array): string {
  const hasher = createHasher();
  for (let at = 0; at < bytes.length; at += 256 * PAGE_SIZE)
    hasher.bytes(bytes.subarray(at, at + 256 * PAGE_SIZE));
  return hasher.digest();
}

const fileMark = (file: NonNullable<DomainConfig['ramdisk']>): FileMark => ({
  name: file.name,
  path: file.path,
  length: file.bytes.length,
  hash: hashOfBytes(file.bytes),
});

/** @param known marks of files whose contents are not at hand, by a machine that was restored */
export function originOf(
  configs: readonly DomainConfig[],
  disks: OpenDisks,
  known: readonly SavedDomain[] = [],
): Origin {
  const savedDisk = (domain: number, { vdev, format, access, cdrom, image }: DiskConfig): SavedDisk => ({
    vdev,
    format,
    access,
    cdrom,
    image: {
      name: image.name,
      path: 'path' in image ? image.path : undefined,
      mark: disks.mark(domain, vdev),
    },
  });
  return () => ({
    domains: configs.map(({ kernel, ramdisk, disks: configured = [], ...plain }, i): SavedDomain => ({
      ...plain,
      kernel: known[i]?.kernel ?? fileMark(kernel),
      ramdisk: known[i]?.ramdisk ?? (ramdisk && fileMark(ramdisk)),
      disks: configured.map((disk) => savedDisk(i, disk)),
    })),
    images: configs.flatMap(({ disks: all = [] }, domain) =>
      all.flatMap(({ vdev, image }) => ('bytes' in image ? [{ domain, vdev, bytes: image.bytes }] : [])),
    ),
  });
}

const NONE = new Uint8Array(0);

/** What a file says about itself as a configuration; the contents of kernel and ramdisk are not in it. */
export function configsOf(about: About, images: readonly SavedImage[]): DomainConfig[] {
  const bytesOf = (domain: number, vdev: string): Uint8Array =>
    images.find((i) => i.domain === domain && i.vdev === vdev)?.bytes ?? NONE;
  const file = ({ name, path }: FileMark): DomainConfig['kernel'] => ({
    name,
    bytes: NONE,
    ...(path === undefined ? {} : { path }),
  });
  return about.domains.map(({ kernel, ramdisk, disks, ...plain }, i) => ({
    ...plain,
    kernel: file(kernel),
    ...(ramdisk === undefined ? {} : { ramdisk: file(ramdisk) }),
    disks: disks.map(({ image: { name, path }, ...disk }) => ({
      ...disk,
      image: path === undefined ? { name, bytes: bytesOf(i, disk.vdev) } : { name, path },
    })),
  }));
}

/**
 * A domain's configuration with the contents of kernel and ramdisk, which a machine from a file does not have at
 * hand. Throws words for people where they are no longer what they were.
 */
export function withFiles(
  domain: DomainConfig,
  known: SavedDomain | undefined,
  open: OpenFile | undefined,
): DomainConfig {
  const read = (file: DomainConfig['kernel'], mark: FileMark | undefined): DomainConfig['kernel'] => {
    if (mark === undefined || file.bytes.length > 0) return file;
    if (open === undefined || mark.path === undefined)
      throw new Error(`${mark.name} is needed to start the domain again, and it is not known where it is`);
    const source = open(mark.path, false);
    try {
      const bytes = new Uint8Array(source.size);
      source.read(0, bytes);
      if (hashOfBytes(bytes) !== mark.hash)
        throw new Error(`${mark.path} is not what it was when the machine was saved`);
      return { ...file, bytes };
    } finally {
      source.close();
    }
  };
  return {
    ...domain,
    kernel: read(domain.kernel, known?.kernel),
    ...(domain.ramdisk === undefined ? {} : { ramdisk: read(domain.ramdisk, known?.ramdisk) }),
  };
}
