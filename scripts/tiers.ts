/**
 * Boots a guest in both tiers of the CPU and compares the states on the way:
 * `npx tsx scripts/tiers.ts [--to N] [--every N] [--full N] [--tier T] [--until TEXT] [KERNEL]`. Without KERNEL Debian's,
 * with a busybox. Exit status 1 at the first difference.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { createHasher } from '../src/machine/hash';
import { assembleMachine } from '../src/machine/assemble';
import { interpreterBytes } from './generate-interpreter';
import { findGuest } from './fetch-guests';
import { makeInitramfs } from './make-initramfs';
import { loadImage } from '../src/guest/image';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    to: { type: 'string', default: '3500000000' },
    every: { type: 'string', default: '1000000' },
    full: { type: 'string', default: '200' },
    tier: { type: 'string', multiple: true },
    until: { type: 'string', default: '# ' },
    memory: { type: 'string', default: '256' },
    slice: { type: 'string' },
    heat: { type: 'string', default: '4000' },
    progress: { type: 'boolean' },
    show: { type: 'boolean' },
  },
});
if (process.env['LIM']) (globalThis as { LIM?: number }).LIM = Number(process.env['LIM']);
void loadImage;
const say = (s: string): void => void process.stdout.write(`${s}\n`);

async function main(): Promise<void> {
  const path = positionals[0] ?? findGuest('linux');
  if (path === undefined) throw new Error('no kernel');
  const interpreter = new WebAssembly.Module(
    process.env['INTERP'] ? readFileSync(process.env['INTERP']) : interpreterBytes(),
  );
  const ramdisk =
    positionals[0] === undefined || positionals[0].includes('vmlinux')
      ? {
          name: 'initrd',
          bytes: makeInitramfs(
            'echo ready\nuname -a\nps | head -5\nls -l / | head\nfor i in 1 2 3 4 5; do sh -c "echo $i; cat /proc/meminfo | head -2"; done\nmd5sum /bin/busybox\necho all done\npoweroff -f\n',
          ),
        }
      : undefined;
  const known = process.env['REF'];
  const reference: string[] =
    known !== undefined && existsSync(known) ? readFileSync(known, 'utf8').split('\n') : [];
  for (const tier of (values.tier as ('interpret' | 'compile')[] | undefined) ??
    (['interpret', 'compile'] as const)) {
    const first = reference.length === 0;
    const machine = await assembleMachine(
      {
        tier,
        domains: [
          {
            name: 'guest',
            kernel: { name: 'k', bytes: readFileSync(path) },
            cmdline: 'console=hvc0',
            memory: Number(values.memory) << 20,
            vcpus: 1,
            ...(ramdisk ? { ramdisk } : {}),
          },
        ],
      },
      {
        interpreter,
        log: () => undefined,
        compile: {
          clock: () => {
            const u = process.cpuUsage();
            return (u.user + u.system) / 1000;
          },
          heat: Number(values.heat),
        },
      },
    );
    let text = '';
    machine.devices.console.onOutput((_d, data) => {
      const t = Buffer.from(data).toString('latin1');
      text += t;
      if (values.show) process.stdout.write(t);
    });
    const started = performance.now();
    const cpu0 = process.cpuUsage();
    const every = BigInt(values.every);
    const run = machine.run({});
    let k = 0;
    let end = '';
    let hashing = 0;
    for (let at = every; at <= BigInt(values.to); at += every) {
      while (machine.clock.retired() < at) {
        if (process.env['DBG'] && machine.clock.retired() >= BigInt(process.env['DBG'])) {
          const v = machine.vcpus()[0];
          process.stdout.write(`${machine.clock.retired()} ${v?.cpu.get('rip').toString(16) ?? ''}\n`);
        }
        const s = run.slice(
          process.env['DBG'] && machine.clock.retired() >= BigInt(process.env['DBG'])
            ? 1000n
            : at - machine.clock.retired(),
          true,
        );
        if (s.kind === 'stop') {
          end = JSON.stringify(s.stop.reason, (_k, v: unknown) => (typeof v === 'bigint' ? v.toString() : v));
          break;
        }
        if (s.kind === 'idle') {
          end = 'idle';
          break;
        }
      }
      const h0 = performance.now();
      const h = createHasher();
      for (const v of machine.vcpus()) h.bytes(v.cpu.saveState());
      h.text(`${machine.clock.retired()} ${machine.clock.now()}`);
      if (++k % Number(values.full) === 0 || end !== '') {
        const { mem } = machine.cpu;
        h.words(new Uint32Array(mem.memory.buffer, mem.framesBase, mem.frameCount * 1024));
      }
      const digest = h.digest();
      hashing += performance.now() - h0;
      if (first) reference.push(digest);
      else if (reference[k - 1] !== digest) {
        say(`DIFFERENT at ${machine.clock.retired()} (check ${k}, ${tier})`);
        process.exitCode = 1;
        const v = machine.vcpus()[0];
        say(`rip ${v?.cpu.get('rip').toString(16) ?? ''}`);
        return;
      }
      if (values.progress && (k % 100 === 0 || k > Number(process.env['FINE'] ?? 1e9)))
        say(
          `${((performance.now() - started) / 1000).toFixed(1)} s: ${machine.clock.retired()} ${JSON.stringify((machine.cpu as { regions?: { statistics: object } }).regions?.statistics ?? {})}`,
        );
      if (end !== '' || text.includes('all done')) break;
    }
    const used = process.cpuUsage(cpu0);
    const regions = (machine.cpu as { regions?: { statistics: object } }).regions;
    say(
      `${tier}: ${machine.clock.retired()} instructions, ${k} states, ${((performance.now() - started - hashing) / 1000).toFixed(2)} s wall (hashing ${(hashing / 1000).toFixed(1)} s apart), ${((used.user + used.system) / 1e6).toFixed(2)} s processor time ${end} ${JSON.stringify(regions?.statistics ?? {})}`,
    );
    say(text.slice(-200));
    if (first && known !== undefined) writeFileSync(known, reference.join('\n'));
  }
}
void main();
