// A thread beside the adapter: one embedded machine behind a message port, or a kernel unpacked. Wiring only.
import { join } from 'node:path';
import { parentPort, receiveMessageOnPort, workerData, type MessagePort } from 'node:worker_threads';
import { unpackHere } from './debugger/unpacked';
import { machineHost } from './host/node';
import { bundleProbes } from './host/probes';
import type { UnpackingData } from './host/unpacking';
import { createEmbeddedTarget } from './machine/embedded';
import { serveTarget } from './machine/rpc';

const port = parentPort;
if (port === null) throw new Error('dist/worker.js is started by the adapter as a worker thread');

/** @param sent counts the messages that were sent here, for waiting while the thread cannot return to its event loop */
function serveMachine(port: MessagePort, sent: Int32Array): void {
  const probes = bundleProbes(__filename, join(__dirname, 'probes.json'));
  const receive = (): unknown => {
    for (;;) {
      const seen = Atomics.load(sent, 0);
      const got = receiveMessageOnPort(port) as { readonly message: unknown } | undefined;
      if (got !== undefined) return got.message;
      Atomics.wait(sent, 0, seen);
    }
  };
  serveTarget(
    {
      post: (message) => {
        port.postMessage(message);
      },
      onMessage: (listener) => port.on('message', listener),
      close: () => {
        port.close();
      },
      receive,
    },
    (config, hold) =>
      createEmbeddedTarget(config, { ...machineHost({ paced: true }), statements: { probes, hold } }),
  );
}

const data = workerData as { readonly sent: Int32Array } | UnpackingData;
if ('sent' in data) serveMachine(port, data.sent);
else
  void unpackHere(data.unpack).then((unpacked) => {
    port.postMessage(unpacked);
  });
