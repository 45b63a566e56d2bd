// A thread beside the adapter: one embedded machine, or a kernel unpacked; what the other needs is not set up. Wiring only.
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import type { UnpackingData } from './host/unpacking';

const port = parentPort;
if (port === null) throw new Error('dist/worker.js is started by the adapter as a worker thread');

async function serve(port: MessagePort): Promise<void> {
  const data = workerData as { readonly sent: Int32Array } | UnpackingData;
  if ('sent' in data) {
    const { serveMachine } = await import('./host/machine-thread');
    serveMachine(port, data.sent);
  } else {
    const { unpackForOthers } = await import('./host/unpacking-thread');
    port.postMessage(await unpackForOthers(data.unpack));
  }
}

void serve(port);
