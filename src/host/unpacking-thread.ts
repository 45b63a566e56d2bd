// A thread that unpacks one kernel, with what Node has for it.
import * as zlib from 'node:zlib';
import { unpackHere } from '../debugger/unpacked';
import type { DecompressTools } from '../guest/decompress';
import type { UnpackedImage } from '../guest/image';
import type { KernelFile } from '../machine/target';

/** Throws in words that stand behind the name of what is unpacked. */
function gunzip(bytes: Uint8Array, limit: number): Uint8Array {
  try {
    return zlib.gunzipSync(bytes, { maxOutputLength: limit });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw code === 'ERR_BUFFER_TOO_LARGE'
      ? new Error(`more than the limit of ${limit.toString()} bytes`)
      : error;
  }
}

/** Node has it from 20.15 on. */
const { crc32 } = zlib as Partial<Pick<typeof zlib, 'crc32'>>;

export const NODE_TOOLS: DecompressTools = { gunzip, ...(crc32 === undefined ? {} : { crc32 }) };

export const unpackForOthers = (kernel: KernelFile): Promise<UnpackedImage | undefined> =>
  unpackHere(kernel, NODE_TOOLS);
