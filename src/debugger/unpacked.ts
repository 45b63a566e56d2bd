// A kernel is unpacked once, for the machine and for the debugger's symbols, into memory that both threads see.
import { isElf } from '../guest/elf';
import { ImageError } from '../guest/error';
import type { DecompressTools } from '../guest/decompress';
import { unpackImage, type UnpackedImage } from '../guest/image';
import type { KernelFile, MachineConfig } from '../machine/target';

export interface Unpacking {
  /** What comes, or is there already, for whoever can wait for its bytes; absent where it is only known at the end. */
  readonly coming?: UnpackedImage;
  /** Undefined where there is nothing to unpack, and for what is no kernel: who makes a machine of it says why. */
  readonly whole: Promise<UnpackedImage | undefined>;
}
export type Unpack = (kernel: KernelFile) => Promise<Unpacking>;

/** By the bytes of the file: one file may be the kernel of several domains. */
const known = new WeakMap<Uint8Array, Promise<Unpacking>>();

export const isPacked = ({ bytes }: KernelFile): boolean => !isElf(bytes);

const allocate = (bytes: number): Uint8Array => new Uint8Array(new SharedArrayBuffer(bytes));

/** @param tools of the host */
export async function unpackHere(
  { bytes, name }: KernelFile,
  tools: DecompressTools = {},
): Promise<UnpackedImage | undefined> {
  try {
    const image = await unpackImage(bytes, name, { allocate, ...tools });
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

/** In this thread, all at once. */
export const unpackInPlace: Unpack = async (kernel) => {
  const image = await unpackHere(kernel);
  return { whole: Promise.resolve(image) };
};

function unpackingOf(kernel: KernelFile, unpack: Unpack): Promise<Unpacking> {
  let unpacking = known.get(kernel.bytes);
  if (unpacking === undefined) known.set(kernel.bytes, (unpacking = unpack(kernel)));
  return unpacking;
}

/** Nobody will ask for it again; whoever has it goes on having it. */
export function forgetUnpacked({ domains }: MachineConfig): void {
  for (const { kernel } of domains) known.delete(kernel.bytes);
}

const withImage = (kernel: KernelFile, unpacked: UnpackedImage | undefined): KernelFile =>
  unpacked === undefined ? kernel : { ...kernel, unpacked };

/** When all of it is there. */
export const unpackedOnce = async (kernel: KernelFile, unpack: Unpack): Promise<KernelFile> =>
  withImage(kernel, await (await unpackingOf(kernel, unpack)).whole);

/** For a machine, which takes a kernel as it comes. */
export const withUnpacked = async (config: MachineConfig, unpack: Unpack): Promise<MachineConfig> => ({
  ...config,
  domains: await Promise.all(
    config.domains.map(async (d) => {
      const { coming, whole } = await unpackingOf(d.kernel, unpack);
      // Whoever waits for the bytes is told by them.
      if (coming !== undefined) void whole.catch(() => undefined);
      return { ...d, kernel: withImage(d.kernel, coming ?? (await whole)) };
    }),
  ),
});
