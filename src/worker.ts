// The machine's worker: one embedded machine behind a message port. Wiring only.
import { parentPort } from 'node:worker_threads';
import { createEmbeddedTarget } from './machine/embedded';
import { serveTarget } from './machine/rpc';
import { machineHost } from './host/node';

const port = parentPort;
if (port === null) throw new Error('dist/worker.js is started by the adapter as a worker thread');
serveTarget(
  {
    post: (message) => {
      port.postMessage(message);
    },
    onMessage: (listener) => port.on('message', listener),
    close: () => {
      port.close();
    },
  },
  (config) => createEmbeddedTarget(config, machineHost({ paced: true })),
);
