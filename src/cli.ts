// `hyperstep …`: the command line, wired to Node. Wiring only.
import { main } from './cli/index';
import { adapterHost } from './host/adapter';
import { launchFiles, version } from './host/node';
import { inspectSavedFile } from './host/saved-file';
import { openTraceFile } from './host/trace-file';

main(process.argv.slice(2), {
  version: version(),
  createTarget: async (config, paced) => (await import('./host/machine')).inProcessTarget(config, paced),
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
