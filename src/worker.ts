// The machine's worker: one embedded machine behind a message port. Wiring only.
import { join } from 'node:path';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { machineHost } from './host/node';
import { bundleProbes } from './host/probes';
import { createEmbeddedTarget } from './machine/embedded';
import { serveTarget } from './machine/rpc';

const port = parentPort;
if (port === null) throw new Error('dist/worker.js is started by the adapter as a worker thread');
/** Counts the messages that were sent here, for waiting while the thread cannot return to its event loop. */
const { sent } = workerData as { readonly sent: Int32Array };
const probes = bundleProbes(__filename, join(__dirname, 'probes.json'));

function receive(from: NonNullable<typeof port>): unknown {
  for (;;) {
    const seen = Atomics.load(sent, 0);
    const got = receiveMessageOnPort(from) as { readonly message: unknown } | undefined;
    if (got !== undefined) return got.message;
    Atomics.wait(sent, 0, seen);
  }
}

serveTarget(
  {
    post: (message) => {
      port.postMessage(message);
    },
    onMessage: (listener) => port.on('message', listener),
    close: () => {
      port.close();
    },
    receive: () => receive(port),
  },
  (config, hold) =>
    createEmbeddedTarget(config, { ...machineHost({ paced: true }), statements: { probes, hold } }),
);
