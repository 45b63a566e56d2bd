// A thread beside the adapter that is one embedded machine. Wiring only.
import { parentPort, workerData } from 'node:worker_threads';
import { serveMachine } from './host/machine-thread';

const port = parentPort;
if (port === null) throw new Error('dist/worker.js is started by the adapter as a worker thread');
serveMachine(port, (workerData as { readonly sent: Int32Array }).sent);
