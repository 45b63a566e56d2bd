import type { PlainSymbol, SymbolIndex } from '../../src/debugger/symbols';
import { indexSymbols } from '../../src/debugger/symbols';

// The program that the fake target runs: real x86-64 bytes, so that the disassembler, the unwinder and stepping
// see what they would see in a guest. Each row is a label, a source line, or one instruction.

type Row =
  | { readonly label: string }
  | { readonly line: number }
  | { readonly code: readonly number[]; readonly to?: string };
const label = (name: string): Row => ({ label: name });
const line = (number: number): Row => ({ line: number });
const code = (...bytes: number[]): Row => ({ code: bytes });
/** `call`, `jmp` or `jcc` whose displacement fills the rest: 4 bytes after E8/E9, 1 after 7x/EB. */
const to = (name: string, ...bytes: number[]): Row => ({ code: bytes, to: name });

const NOP = code(0x90);
const PUSH_RBP = code(0x55);
const MOV_RBP_RSP = code(0x48, 0x89, 0xe5);
const POP_RBP = code(0x5d);
const RET = code(0xc3);
const SYSCALL = code(0x0f, 0x05);
const movEax = (n: number): Row => code(0xb8, n & 0xff, (n >> 8) & 0xff, 0, 0);
const movEcx = (n: number): Row => code(0xb9, n, 0, 0, 0);
const movEdi = (n: number): Row => code(0xbf, n, 0, 0, 0);
const movEsi = (n: number): Row => code(0xbe, n, 0, 0, 0);

export const CODE = 0xffffffff80001000n;
export const STACK = 0xffffffff80010000n;
export const FILE = 'fake.c';

/** Hypercall numbers in eax, as xen.h has them. */
export const NR = {
  mmu_update: 1,
  memory_op: 12,
  console_io: 18,
  sched_op: 29,
  event_channel_op: 32,
} as const;

const rows: readonly Row[] = [
  label('start'),
  line(10),
  to('setup', 0xe8),
  line(11),
  movEcx(3),
  label('again'),
  line(12),
  to('work', 0xe8),
  line(13),
  code(0x48, 0xff, 0xc9),
  to('again', 0x75),
  line(14),
  movEdi(1),
  movEax(NR.console_io),
  SYSCALL,
  line(15),
  movEdi(2),
  movEsi(1),
  movEax(NR.mmu_update),
  SYSCALL,
  line(16),
  movEdi(6),
  movEax(NR.memory_op),
  SYSCALL,
  line(17),
  code(0x40, 0x84, 0xff), // test dil, dil: clears ZF, as the program never sets it to zero here
  line(18),
  movEdi(2),
  movEax(NR.sched_op),
  SYSCALL,
  label('spin'),
  line(19),
  to('spin', 0xeb),
  label('setup'),
  line(30),
  PUSH_RBP,
  MOV_RBP_RSP,
  line(31),
  NOP,
  line(32),
  POP_RBP,
  RET,
  label('work'),
  line(40),
  PUSH_RBP,
  MOV_RBP_RSP,
  line(41),
  code(0x48, 0xff, 0xc0), // inc rax
  to('leaf', 0xe8),
  line(42),
  code(0xf3, 0xa4), // rep movsb
  line(43),
  POP_RBP,
  RET,
  label('leaf'),
  line(50),
  NOP,
  RET,
  label('crash'),
  line(60),
  code(0x0f, 0x0b), // ud2
];

interface LineRow {
  readonly address: bigint;
  readonly line: number;
}
export interface FakeProgram {
  readonly bytes: Uint8Array;
  readonly labels: ReadonlyMap<string, bigint>;
  readonly symbols: SymbolIndex;
}

function assemble(): FakeProgram {
  const labels = new Map<string, bigint>();
  const lines: LineRow[] = [];
  const size = (row: Extract<Row, { code: readonly number[] }>): number =>
    row.code.length + (row.to === undefined ? 0 : row.code[0] === 0xe8 ? 4 : 1);
  let at = CODE;
  for (const row of rows) {
    if ('label' in row) labels.set(row.label, at);
    else if ('line' in row) lines.push({ address: at, line: row.line });
    else at += BigInt(size(row));
  }
  const end = at;
  const bytes: number[] = [];
  for (const row of rows) {
    if (!('code' in row)) continue;
    bytes.push(...row.code);
    if (row.to === undefined) continue;
    const width = size(row) - row.code.length;
    const displacement = Number((labels.get(row.to) ?? 0n) - (CODE + BigInt(bytes.length + width)));
    for (let i = 0; i < width; i++) bytes.push((displacement >> (8 * i)) & 0xff);
  }
  const functions = ['start', 'setup', 'work', 'leaf', 'crash'];
  const starts = functions.map((name) => labels.get(name) ?? 0n);
  const plain: PlainSymbol[] = functions.map((name, index) => {
    const address = starts[index] ?? 0n;
    return { name, address, size: (starts[index + 1] ?? end) - address };
  });
  const row = (index: number): LineRow | undefined => lines[index];
  const symbols: SymbolIndex = {
    ...indexSymbols(plain),
    files: [FILE],
    filesNamed: (name) => (name === FILE ? [FILE] : []),
    hasLines: true,
    line: (address) => {
      const index = lines.filter((one) => one.address <= address).length - 1;
      const found = row(index);
      const high = row(index + 1)?.address ?? end;
      return found === undefined || address >= high
        ? undefined
        : { file: FILE, line: found.line, low: found.address, high };
    },
    code: (file, wanted) => {
      if (file !== FILE) return undefined;
      const line = Math.min(...lines.map((one) => one.line).filter((one) => one >= wanted));
      if (!Number.isFinite(line)) return undefined;
      return { line, addresses: lines.filter((one) => one.line === line).map((one) => one.address) };
    },
  };
  return { bytes: Uint8Array.from(bytes), labels, symbols };
}

export const program = assemble();
