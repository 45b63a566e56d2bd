// Unpacking a distribution's kernel takes more than a second: beside the thread that an editor waits for.
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { isPacked } from '../debugger/unpacked';
import type { UnpackedImage } from '../guest/image';
import type { KernelFile } from '../machine/target';
import { bundleFolder } from './node';

/** Of a thread of dist/worker.js that is to unpack a kernel, rather than to be a machine. */
export interface UnpackingData {
  readonly unpack: KernelFile;
}

/** As `unpackHere`, in a thread that ends with it. */
export function unpackInThread(kernel: KernelFile): Promise<UnpackedImage | undefined> {
  if (!isPacked(kernel)) return Promise.resolve(undefined);
  const { name, bytes } = kernel;
  const workerData: UnpackingData = { unpack: { name, bytes } };
  const worker = new Worker(join(bundleFolder, 'worker.js'), { workerData });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => {
      reject(new Error(`the thread that unpacks ${name} ended (${code.toString()})`));
    });
  });
}
