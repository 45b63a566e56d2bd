// A kernel is unpacked once, for the machine and for the debugger's symbols, into memory that both threads see.
import { isElf } from '../guest/elf';
import { ImageError } from '../guest/error';
import type { DecompressTools } from '../guest/decompress';
import { unpackImage, type UnpackedImage } from '../guest/image';
import type { KernelFile, MachineConfig } from '../machine/target';

/** By the bytes of the file: one file may be the kernel of several domains. */
const known = new WeakMap<Uint8Array, Promise<UnpackedImage | undefined>>();

export const isPacked = ({ bytes }: KernelFile): boolean => !isElf(bytes);

/** Undefined where there is nothing to unpack, and for what is no kernel: who makes a machine of it says why. */
export type Unpack = (kernel: KernelFile) => Promise<UnpackedImage | undefined>;

const allocate = (bytes: number): Uint8Array => new Uint8Array(new SharedArrayBuffer(bytes));

/** @param tools of the host */
export async function unpackHere(
  { bytes, name }: KernelFile,
  tools: DecompressTools = {},
): Promise<UnpackedImage | undefined> {
  try {
    const image = await unpackImage(bytes, name, { ...tools, allocate });
    if (image.bytes.buffer === bytes.buffer) return undefined;
    if (image.bytes.buffer instanceof SharedArrayBuffer) return image;
    const shared = new Uint8Array(new SharedArrayBuffer(image.bytes.length));
    shared.set(image.bytes);
    return { ...image, bytes: shared };
  } catch (error) {
    if (error instanceof ImageError) return undefined;
    throw error;
  }
}

export async function unpackedOnce(kernel: KernelFile, unpack: Unpack): Promise<KernelFile> {
  let unpacking = known.get(kernel.bytes);
  if (unpacking === undefined) known.set(kernel.bytes, (unpacking = unpack(kernel)));
  const unpacked = await unpacking;
  return unpacked === undefined ? kernel : { ...kernel, unpacked };
}

export const withUnpacked = async (config: MachineConfig, unpack: Unpack): Promise<MachineConfig> => ({
  ...config,
  domains: await Promise.all(
    config.domains.map(async (d) => ({ ...d, kernel: await unpackedOnce(d.kernel, unpack) })),
  ),
});
