// A thread that unpacks one kernel, with what Node has for it.
import * as zlib from 'node:zlib';
import { unpackHere } from '../debugger/unpacked';
import { tellArrived, tellComplete } from '../guest/arriving';
import type { DecompressTools } from '../guest/decompress';
import type { UnpackedImage } from '../guest/image';
import { keepKernel } from './kept-kernels';
import type { UnpackingData } from './unpacking';

/** Of the output, that is handed out at once; bytes. */
const CHUNK = 1 << 18;

/** Rejects in words that stand behind the name of what is unpacked. */
async function gunzip(bytes: Uint8Array, write: (chunk: Uint8Array) => void): Promise<void> {
  const stream = zlib.createGunzip({ chunkSize: CHUNK });
  stream.end(bytes);
  for await (const chunk of stream as AsyncIterable<Uint8Array>) write(chunk);
}

/** Node has it from 20.15 on. */
const { crc32 } = zlib as Partial<Pick<typeof zlib, 'crc32'>>;

export const NODE_TOOLS: DecompressTools = { gunzip, ...(crc32 === undefined ? {} : { crc32 }) };

/** Without `arriving` what is there at the end is all that there is to tell. */
export async function unpackForOthers(
  { unpack: kernel, arriving, keep }: UnpackingData,
  done: (image: UnpackedImage | undefined) => void,
): Promise<void> {
  if (arriving === undefined) {
    done(await unpackHere(kernel, NODE_TOOLS));
    return;
  }
  let right = false;
  try {
    const image = await unpackHere(kernel, {
      ...NODE_TOOLS,
      allocate: (bytes) =>
        bytes === arriving.bytes.length ? arriving.bytes : new Uint8Array(new SharedArrayBuffer(bytes)),
      arrived: (end) => {
        tellArrived(arriving, end);
      },
    });
    right = image?.bytes.buffer === arriving.bytes.buffer;
    done(right ? image : undefined);
  } finally {
    tellComplete(arriving, right);
  }
  // Nobody waits for this any more.
  if (right && keep !== undefined) keepKernel(keep, arriving.bytes);
}
