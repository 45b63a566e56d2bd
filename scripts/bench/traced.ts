/**
 * A process of its own: Debian's kernel with a ramdisk to its /init and through kernels.c, the trace on or off. Milliseconds
 * of processor time of each part, and records in the trace, as JSON: `bench-traced.js RAMDISK on|off MARK…`.
 */
import { readFileSync } from 'node:fs';
import { interpreterModule } from '../../src/host/machine';
import { assembleMachine } from '../../src/machine/assemble';
import { findGuest } from '../fetch-guests';
import { MEMORY } from './boot';

/** A mark is seen so many instructions late at most: some ms. */
const LOOK = 300_000n;

void (async () => {
  const [ramdisk = '', trace = '', ...marks] = process.argv.slice(2);
  const linux = findGuest('linux');
  if (linux === undefined) throw new Error('there is no kernel');
  const image = (name: string, path: string): { name: string; bytes: Uint8Array } => ({
    name,
    bytes: readFileSync(path),
  });
  const machine = await assembleMachine(
    {
      domains: [
        {
          name: 'linux',
          kernel: image('vmlinuz', linux),
          ramdisk: image('initrd', ramdisk),
          cmdline: 'console=hvc0 quiet',
          memory: MEMORY * 2 ** 20,
          vcpus: 1,
        },
      ],
    },
    { interpreter: interpreterModule(), log: () => undefined },
  );
  machine.trace.enabled = trace === 'on';
  let shown = '';
  machine.devices.console.onOutput((_domain, data) => (shown += Buffer.from(data).toString('latin1')));
  const session = machine.run({});
  const spent: number[] = [];
  const records: number[] = [];
  for (const mark of marks) {
    const from = process.cpuUsage();
    const before = machine.trace.next();
    for (let at = -1; at < 0; at = shown.indexOf(mark)) {
      const end = session.slice(LOOK, true);
      if (end.kind === 'stop') throw new Error(`the guest ended before ${mark}: ${end.stop.reason.kind}`);
    }
    shown = shown.slice(shown.indexOf(mark) + mark.length);
    const { user, system } = process.cpuUsage(from);
    spent.push((user + system) / 1000);
    records.push(machine.trace.next() - before);
  }
  process.stdout.write(JSON.stringify({ spent, records }));
})().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
