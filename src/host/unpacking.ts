// Unpacking a distribution's kernel takes about a second: beside the thread that an editor waits for, told while it
// comes, and once: what came is kept on disk for the next launch.
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { isPacked, type Unpacking } from '../debugger/unpacked';
import { newArriving, tellComplete, type Arriving } from '../guest/arriving';
import { announceImage, type UnpackedImage } from '../guest/image';
import type { KernelFile } from '../machine/target';
import { keptKernel, placeOf } from './kept-kernels';
import { bundleFolder } from './node';

/** Of the thread of dist/unpack.js. */
export interface UnpackingData {
  readonly unpack: KernelFile;
  /** Where what it is unpacked to is told while it comes, when that says in advance how much it is. */
  readonly arriving?: Arriving;
  /** The file that it is to be kept in. */
  readonly keep?: string;
}

/** As `unpackHere`, in a thread that ends with it, or from the disk. */
export async function unpackBeside(kernel: KernelFile): Promise<Unpacking> {
  if (!isPacked(kernel)) return { whole: Promise.resolve(undefined) };
  const { name, bytes } = kernel;
  const announced = announceImage(bytes, name);
  if (announced === undefined) return { whole: inThread({ unpack: { name, bytes } }) };
  const { size, ...about } = announced;
  const keep = kernel.unkept === true ? undefined : placeOf(bytes);
  const kept = keep === undefined ? undefined : await keptKernel(keep, size);
  if (kept !== undefined) {
    const image: UnpackedImage = { ...about, bytes: kept };
    return { coming: image, whole: Promise.resolve(image) };
  }
  const arriving = newArriving(size);
  return {
    coming: { ...about, ...arriving },
    whole: inThread({ unpack: { name, bytes }, arriving, ...(keep === undefined ? {} : { keep }) }).catch(
      (error: unknown) => {
        tellComplete(arriving, false);
        throw error;
      },
    ),
  };
}

function inThread(workerData: UnpackingData): Promise<UnpackedImage | undefined> {
  const worker = new Worker(join(bundleFolder, 'unpack.js'), { workerData });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => {
      reject(new Error(`the thread that unpacks ${workerData.unpack.name} ended (${code.toString()})`));
    });
  });
}

/** What is on the disk of it, for a machine that needs a kernel again. */
export async function unpackedOnDisk(kernel: KernelFile): Promise<UnpackedImage | undefined> {
  if (!isPacked(kernel) || kernel.unkept === true) return undefined;
  const announced = announceImage(kernel.bytes, kernel.name);
  const place = announced === undefined ? undefined : placeOf(kernel.bytes);
  if (announced === undefined || place === undefined) return undefined;
  const { size, ...about } = announced;
  const bytes = await keptKernel(place, size);
  return bytes === undefined ? undefined : { ...about, bytes };
}
