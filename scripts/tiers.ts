/**
 * Boots a guest in each tier of the CPU and compares their states on the way:
 * `npx tsx scripts/tiers.ts [options] [KERNEL]`; without KERNEL Debian's, with busybox and a small workload.
 *   --to N       instructions (default 3,500,000,000)
 *   --every N    instructions between two looks at the vCPUs' state (default 1,000,003)
 *   --full N     looks between two at all of memory (default 250)
 *   --tier T     this tier only, for its times; repeatable
 *   --heat N     entries of a block before it is hot
 *   --here       regions are compiled in the machine's thread, not beside it (dist/compile.js)
 *   --memory M   MiB of the guest (default 256)
 *   --vcpus N    (default 1)
 *   --cmdline T  (default console=hvc0)
 * Exit status 1 at the first difference.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { threadedCompiler } from '../src/host/compiler';
import { assembleMachine } from '../src/machine/assemble';
import type { Machine } from '../src/machine/machine';
import { findGuest } from './fetch-guests';
import { look, spent, type Looked } from './lockstep';
import { interpreterBytes } from './generate-interpreter';
import { makeInitramfs } from './make-initramfs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    to: { type: 'string', default: '3500000000' },
    every: { type: 'string', default: '1000003' },
    full: { type: 'string', default: '250' },
    tier: { type: 'string', multiple: true, default: ['interpret', 'compile'] },
    heat: { type: 'string' },
    here: { type: 'boolean', default: false },
    memory: { type: 'string', default: '256' },
    vcpus: { type: 'string', default: '1' },
    cmdline: { type: 'string', default: 'console=hvc0' },
  },
});
const WORKLOAD = 'for i in 1 2 3 4 5; do sh -c "echo $i; head -2 /proc/meminfo"; done; md5sum /bin/busybox';
const say = (line: string): void => void process.stdout.write(`${line}\n`);

async function boot(tier: 'interpret' | 'compile', interpreter: WebAssembly.Module): Promise<Machine> {
  const [given] = positionals;
  const path = given ?? findGuest('linux');
  if (path === undefined)
    throw new Error('no kernel given and none fetched: npx tsx scripts/fetch-guests.ts');
  return assembleMachine(
    {
      tier,
      domains: [
        {
          name: 'guest',
          kernel: { name: path, bytes: readFileSync(path) },
          cmdline: values.cmdline,
          memory: Number(values.memory) * 2 ** 20,
          vcpus: Number(values.vcpus),
          ...(given === undefined ? { ramdisk: { name: 'initrd', bytes: makeInitramfs(WORKLOAD) } } : {}),
        },
      ],
    },
    {
      interpreter,
      log: () => undefined,
      // The interpreter's run leaves every exit to the hypervisor, too.
      fastPath: tier === 'compile',
      compile: {
        clock: spent,
        ...(values.here ? {} : { compiler: threadedCompiler() }),
        ...(values.heat === undefined ? {} : { heat: Number(values.heat) }),
      },
    },
  );
}

async function main(): Promise<void> {
  const interpreter = new WebAssembly.Module(interpreterBytes());
  const looks = { every: BigInt(values.every), to: BigInt(values.to), full: Number(values.full) };
  let reference: Looked | undefined;
  for (const tier of values.tier) {
    if (tier !== 'interpret' && tier !== 'compile') throw new Error(`--tier ${tier}: interpret or compile`);
    const machine = await boot(tier, interpreter);
    const looked = look(machine, looks, reference?.states);
    if (looked.differs !== undefined) {
      say(`${tier} DIFFERS at ${looked.differs} instructions (look ${looked.states.length})`);
      process.exitCode = 1;
      return;
    }
    const { statistics } = machine.cpu.regions ?? {};
    say(
      `${tier}: ${looked.retired} instructions, ${looked.states.length} states${reference ? ', all equal' : ''}; ${(looked.spent / 1000).toFixed(2)} s of processor time${statistics ? ` ${JSON.stringify(statistics)}` : ''}`,
    );
    reference ??= looked;
    machine.disks.dispose();
  }
}
void main();
