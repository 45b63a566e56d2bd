// `hyperstep …`: the command line, wired to Node. Wiring only.
import { main } from './cli/index';
import { forgetUnpacked, isPacked, withUnpacked } from './debugger/unpacked';
import { adapterHost } from './host/adapter';
import { launchFiles, version } from './host/node';
import { inspectSavedFile } from './host/saved-file';
import { openTraceFile } from './host/trace-file';
import { unpackBeside } from './host/unpacking';

main(process.argv.slice(2), {
  version: version(),
  createTarget: async (config, paced) => {
    // The kernel comes while the processor is set up.
    const coming = withUnpacked(config, unpackBeside);
    const { inProcessTarget, letGo } = await import('./host/machine');
    const target = await inProcessTarget(await coming, paced);
    forgetUnpacked(config);
    if (config.domains.some(({ kernel }) => isPacked(kernel))) letGo();
    return target;
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
