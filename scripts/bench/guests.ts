// Guests of a few instructions, for timing one thing each. They run for ever; the bench counts.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { guestCache } from '../fetch-guests';
import { noteSegment, pvKernel, pvNotes, VIRT_BASE, xenNote } from '../../test/support/elf-builder';
import type { Report } from './report';

/** From the bundle as from the sources: the cache lies in the checkout. */
const BENCH_FOLDER = join(guestCache, '..', '..', 'scripts', 'bench');

const hex = (text: string): Uint8Array => Uint8Array.from(text.match(/../g) ?? [], (b) => parseInt(b, 16));

/** A page-aligned entry, and room above it for data. */
const ENTRY = VIRT_BASE + 0x10_0000n;
const SPACE = 0x4_0000;
/** XEN_ELFNOTE_VIRT_BASE, elfnote.h */
const NOTE_VIRT_BASE = 3;

const guest = (code: Uint8Array): Uint8Array => {
  const data = new Uint8Array(Math.max(SPACE, Math.ceil(code.length / 0x1000) * 0x1000));
  data.set(code);
  return pvKernel({
    entry: ENTRY,
    segments: [
      { vaddr: ENTRY, paddr: 0x10_0000n, flags: 7, memsz: BigInt(data.length), data },
      noteSegment(pvNotes(xenNote(NOTE_VIRT_BASE, VIRT_BASE))),
    ],
  });
};

/*
 *     lea rbx, [rip + 0f]
 * 0:  and rbx, -4096
 *     add rbx, 0x10000
 *     mov rcx, 0x7fffffffffff
 *     xor esi, esi
 * 1:  mov rax, [rbx + rsi]
 *     add rax, rcx
 *     mov [rbx + rsi + 8], rax
 *     test al, 3
 *     jz  2f
 *     xor rdx, rax
 *     shr rdx, 1
 * 2:  add esi, 24
 *     and esi, 0x7ff8
 *     call 3f
 *     dec rcx
 *     jnz 1b
 * 3:  ret
 */
export const memoryAndBranches = (): Uint8Array =>
  guest(
    hex(
      '488d1d000000004881e300f0ffff4881c30000010048b9ffffffffff7f000031f6' +
        '488b04334801c84889443308a80374064831c248d1ea83c61881e6f87f0000e80500000048ffc975d7c3',
    ),
  );

/*
 *     xor ecx, ecx
 * 1:  inc rcx
 *     jmp 1b
 */
export const countingLoop = (): Uint8Array => guest(hex('31c948ffc1ebfb'));
/** counter.c, which counts in C's variables. Undefined where there is no gcc to make it. */
export function countingInC(
  folder: string,
): { readonly kernel: string; readonly source: string } | undefined {
  const source = join(BENCH_FOLDER, 'counter.c');
  const kernel = join(folder, 'counter.elf');
  const flags = '-g -O2 -mcmodel=kernel -mno-red-zone -ffreestanding -fno-pic -no-pie -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -nostdlib -static -Wl,--build-id=none'; // prettier-ignore
  const script = join(BENCH_FOLDER, '..', '..', 'media', 'samples', 'first-hypercall', 'guest.lds');
  const made = spawnSync('gcc', [...flags.split(' '), `-Wl,-T,${script}`, '-o', kernel, source], { encoding: 'utf8' }); // prettier-ignore
  return made.status === 0 ? { kernel, source } : undefined;
}
/** Of the `inc`. */
export const COUNTING_AT = ENTRY + 2n;

/** A loop of loops.S. */
export interface Loop {
  readonly name: string;
  /** What makes it of loops.S. */
  readonly define: string;
  /** Instructions of one round, as the machine counts them. */
  readonly instructions: bigint;
  /** What one round does so many times. */
  readonly times: number;
  /** Whether to measure it with the trace off, too. */
  readonly traceToo?: true;
  /** Whether to measure what the hypervisor's probes cost it (crossing.ts). */
  readonly probed?: true;
}

const MMU_BATCH = 32;
export const LOOPS: readonly Loop[] = [
  {
    name: 'null hypercall',
    define: 'NULL',
    instructions: 5n,
    times: 1,
    traceToo: true,
  },
  { name: 'IN from a port', define: 'PORTS', instructions: 2n, times: 1, probed: true },
  { name: 'CLI', define: 'CLI', instructions: 2n, times: 1 },
  { name: 'CPUID (forced emulation)', define: 'CPUID', instructions: 2n, times: 1 },
  { name: 'RDMSR', define: 'RDMSR', instructions: 3n, times: 1 },
  { name: 'page fault to the guest and iret', define: 'FAULT', instructions: 12n, times: 1 },
  {
    name: 'event to itself: send, upcall and iret',
    define: 'EVENT',
    instructions: 16n,
    times: 1,
    probed: true,
  },
  { name: 'update_va_mapping', define: 'UPDATE_VA', instructions: 6n, times: 1, probed: true },
  { name: 'mmu_update of one entry', define: 'MMU_UPDATE=1', instructions: 7n, times: 1, probed: true },
  {
    name: `mmu_update of ${MMU_BATCH.toString()} entries, an entry`,
    define: `MMU_UPDATE=${MMU_BATCH.toString()}`,
    instructions: 7n,
    times: MMU_BATCH,
    probed: true,
  },
];

/** Whether the sources beside this file can be assembled here; says what is missing. */
export function canAssemble(report: Report, what: string): boolean {
  const tools = ['gcc', 'objcopy'];
  const all = tools.every((tool) => spawnSync(tool, ['--version'], { stdio: 'ignore' }).status === 0);
  if (!all) report.missing(`${what}: there is no gcc or no objcopy (Debian packages gcc, binutils)`);
  return all;
}

/** What gcc makes of one of the sources beside this file. */
function assembled(source: string, define: string): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), 'bench-loop-'));
  try {
    const object = join(folder, 'loop.o');
    const image = join(folder, 'loop.bin');
    for (const [tool, ...args] of [
      ['gcc', '-c', `-D${define}`, '-o', object, join(BENCH_FOLDER, source)],
      ['objcopy', '-O', 'binary', '-j', '.text', object, image],
    ] as const) {
      const { status, stderr } = spawnSync(tool, args, { encoding: 'utf8' });
      if (status !== 0) throw new Error(`${tool}: ${stderr}`);
    }
    return guest(readFileSync(image));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export const loopGuest = ({ define }: Loop): Uint8Array => assembled('loops.S', define);

const ROUTINES = 6000;
/** Of cold.S: all of a routine but the two that it may branch over. */
const ROUTINE_INSTRUCTIONS = 18;

/** Code that runs once, and how many instructions of it there are at least. */
export const coldGuest = (): { readonly kernel: Uint8Array; readonly instructions: number } => ({
  kernel: assembled('cold.S', `ROUTINES=${ROUTINES.toString()}`),
  instructions: ROUTINES * ROUTINE_INSTRUCTIONS,
});
