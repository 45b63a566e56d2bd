/**
 * Boots a guest in each tier of the CPU and compares their states on the way:
 * `npx tsx scripts/tiers.ts [options] [KERNEL]`; without KERNEL Debian's, with busybox and a small workload.
 *   --to N       instructions (default 3,500,000,000)
 *   --every N    instructions between two looks at the vCPUs' state (default 1,000,003)
 *   --full N     looks between two at all of memory (default 250)
 *   --tier T     this tier only, for its times; repeatable
 *   --heat N     entries of a block before it is hot
 *   --memory M   MiB of the guest (default 256)
 * Exit status 1 at the first difference.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { assembleMachine } from '../src/machine/assemble';
import { createHasher } from '../src/machine/hash';
import type { Machine } from '../src/machine/machine';
import { findGuest } from './fetch-guests';
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
    memory: { type: 'string', default: '256' },
  },
});
const WORKLOAD = 'for i in 1 2 3 4 5; do sh -c "echo $i; head -2 /proc/meminfo"; done; md5sum /bin/busybox';
const say = (line: string): void => void process.stdout.write(`${line}\n`);
/** Milliseconds of processor time, of all threads. */
const spent = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

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
          cmdline: 'console=hvc0',
          memory: Number(values.memory) * 2 ** 20,
          vcpus: 1,
          ...(given === undefined ? { ramdisk: { name: 'initrd', bytes: makeInitramfs(WORKLOAD) } } : {}),
        },
      ],
    },
    {
      interpreter,
      log: () => undefined,
      compile: { clock: spent, ...(values.heat === undefined ? {} : { heat: Number(values.heat) }) },
    },
  );
}

/** Runs to `at`; false when the guest ended before. */
function runTo(machine: Machine, run: ReturnType<Machine['run']>, at: bigint): boolean {
  while (machine.clock.retired() < at)
    if (run.slice(at - machine.clock.retired(), true).kind !== 'slice') return machine.clock.retired() >= at;
  return true;
}

function stateOf(machine: Machine, withMemory: boolean): string {
  const h = createHasher();
  for (const v of machine.vcpus()) h.bytes(v.cpu.saveState());
  h.text(`${machine.clock.retired()} ${machine.clock.now()}`);
  const { mem } = machine.cpu;
  if (withMemory) h.words(new Uint32Array(mem.memory.buffer, mem.framesBase, mem.frameCount * 1024));
  return h.digest();
}

async function main(): Promise<void> {
  const interpreter = new WebAssembly.Module(interpreterBytes());
  const reference: string[] = [];
  for (const tier of values.tier) {
    if (tier !== 'interpret' && tier !== 'compile') throw new Error(`--tier ${tier}: interpret or compile`);
    const compare = reference.length > 0;
    const machine = await boot(tier, interpreter);
    const run = machine.run({});
    const began = spent();
    let hashing = 0;
    let looks = 0;
    const every = BigInt(values.every);
    for (let at = every, more = true; more && at <= BigInt(values.to); at += every) {
      more = runTo(machine, run, at);
      const before = spent();
      looks++;
      const state = stateOf(machine, !more || looks % Number(values.full) === 0);
      hashing += spent() - before;
      if (!compare) reference.push(state);
      else if (reference[looks - 1] !== state) {
        say(`${tier} DIFFERS at ${machine.clock.retired()} instructions (look ${looks})`);
        process.exitCode = 1;
        return;
      }
    }
    const seconds = ((spent() - began - hashing) / 1000).toFixed(2);
    const { statistics } = machine.cpu.regions ?? {};
    say(
      `${tier}: ${machine.clock.retired()} instructions, ${looks} states${compare ? ', all equal' : ''}; ${seconds} s of processor time${statistics ? ` ${JSON.stringify(statistics)}` : ''}`,
    );
    machine.disks.dispose();
  }
}
void main();
