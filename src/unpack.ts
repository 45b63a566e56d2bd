// A thread that unpacks a kernel for others, and ends. Wiring only.
import { parentPort, workerData } from 'node:worker_threads';
import { unpackForOthers } from './host/unpacking-thread';
import type { UnpackingData } from './host/unpacking';

const port = parentPort;
if (port === null) throw new Error('dist/unpack.js is started as a worker thread');
void unpackForOthers(workerData as UnpackingData, (image) => {
  port.postMessage(image);
});
