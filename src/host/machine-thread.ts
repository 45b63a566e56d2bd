// A thread beside the adapter that is one embedded machine, behind its message port.
import { join } from 'node:path';
import { receiveMessageOnPort, type MessagePort } from 'node:worker_threads';
import { createEmbeddedTarget } from '../machine/embedded';
import { serveTarget } from '../machine/rpc';
import { interpreterModule, machineHost } from './machine';
import { bundleFolder } from './node';
import { bundleProbes } from './probes';

/** @param sent counts the messages that were sent here, for waiting while the thread cannot return to its event loop */
export function serveMachine(port: MessagePort, sent: Int32Array): void {
  const probes = bundleProbes(join(bundleFolder, 'worker.js'), join(bundleFolder, 'probes.json'));
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
  // What to run is still on its way: a kernel is unpacked meanwhile.
  interpreterModule();
}
