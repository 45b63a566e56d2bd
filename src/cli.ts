// `hyperstep …`: the command line, wired to Node. Wiring only.
import { main } from './cli/index';
import { unpackedApart } from './debugger/unpacked';
import { adapterHost } from './host/adapter';
import { launchFiles, version } from './host/node';
import { inspectSavedFile } from './host/saved-file';
import { openTraceFile } from './host/trace-file';
import { unpackInThread } from './host/unpacking';

main(process.argv.slice(2), {
  version: version(),
  async createTarget(config, paced) {
    // Kernels are unpacked while the processor is set up.
    const unpacked = unpackedApart(config, unpackInThread);
    const [{ inProcessTarget }, ready] = await Promise.all([import('./host/machine'), unpacked]);
    return inProcessTarget(ready, paced);
  },
  ...launchFiles,
  inspectSaved: inspectSavedFile,
  openTrace: openTraceFile,
  dapHost: adapterHost,
}).then(
  (status) => {
    process.exitCode = status;
  },
  (error: unknown) => {
    process.stderr.write(
      `hyperstep: internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    process.exitCode = 70;
  },
);
